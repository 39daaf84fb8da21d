"""The thread that reads the notes of a group: how it goes on after failures."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from kafka import TopicPartition, errors

from connectors.kafka.admin import group_notes
from connectors.kafka.admin.group_notes import GroupNotes
from connectors.kafka.connection import Connection

EVERY = 5.0


class Broker:
    """A broker that answers by a script: how often it fails, then how often it answers, and so on."""

    def __init__(self, *script: int) -> None:
        self._answers = [bool(at % 2) for at, times in enumerate(script) for _ in range(times)]

    @contextlib.contextmanager
    def admin(self, _: Connection) -> Iterator[Broker]:
        yield self

    def list_group_offsets(self, group: str) -> dict[str, dict[TopicPartition, SimpleNamespace]]:
        if not self._answers.pop(0):
            raise errors.GroupCoordinatorNotAvailableError
        return {group: {TopicPartition("t", 0): SimpleNamespace(offset=7, metadata="note")}}

    @property
    def is_over(self) -> bool:
        return not self._answers


class Stop(threading.Event):
    """Ends the thread with the script, and takes no time to wait."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker, self.waits = broker, list[float]()

    def is_set(self) -> bool:
        return self._broker.is_over

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        return self.is_set()


def test_a_good_look_ends_the_pauses_and_the_next_failure_is_logged_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(8, 2, 2, 1)
    monkeypatch.setattr(group_notes, "admin_client", broker.admin)
    notes = GroupNotes(Connection(("localhost:9",)), "g", EVERY)
    stop = Stop(broker)
    monkeypatch.setattr(notes, "_stop", stop)
    with caplog.at_level(logging.WARNING):
        notes._follow()
    assert stop.waits[:8] == [2, 4, 8, 16, 32, 60, 60, 60]
    assert stop.waits[8:13] == [EVERY, EVERY, 2, 4, EVERY]
    assert [one.getMessage().split(":")[0] for one in caplog.records] == [
        "cannot look at the other members of g"
    ] * 2
    assert notes._latest is not None
    assert notes._latest.notes == {("t", 0): (7, "note")}
