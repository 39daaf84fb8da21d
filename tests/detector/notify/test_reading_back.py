"""A notifier after a restart: what it knows does not depend on which partition is read first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import pytest

from connectors.kafka.group_reader import Polled, Read
from detector.config.load import Config
from detector.notify.notice import parse
from detector.notify.notifier import Notifier
from detector.notify.notifiers import parts_of
from tests.detector.notify.notices import message
from tests.support.daemon import wait_for
from tests.support.receiver import receiving

NAMES = ("pump-0", "pump-1", "pump-2")


class Partitions:
    """A partition for each series. Each was delivered until it opened, and then it has its end."""

    def __init__(self, order: tuple[int, ...]) -> None:
        old = [Read(at, 0, message("opened", NAMES[at]).value, 1_000 + at, "old") for at in order]
        new = [Read(at, 1, message("resolved", NAMES[at]).value, 9_000, "new") for at in order]
        self._polls = [Polled(is_reassigned=True)]
        self._polls += [Polled(pair, read_back={pair[0].partition: 1}) for pair in zip(old, new, strict=True)]
        self.committed: Mapping[int, int] = {}
        self.is_member, self.lag = True, 0

    @property
    def is_reading_back(self) -> bool:
        return bool(self._polls)

    def poll(self, timeout_seconds: float, room: int) -> Polled:
        return self._polls.pop(0) if self._polls else Polled()

    def commit(self, position: Mapping[int, int], note: str = "") -> None:
        self.committed = position

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_group_is_the_same_in_whatever_order_partitions_are_read(order: tuple[int, ...]) -> None:
    with receiving() as receiver:
        config = Config.model_validate(
            {
                "model": {"path": "x"},
                "kafka": {"topic": "x"},
                "incidents": {"fold_series": 3},
                "notify": [{"name": "n", "kind": "webhook", "url": receiver.url, "fold": True}],
            }
        )
        [(section, folding, poster)] = parts_of(config)
        reader = Partitions(order)
        notifier = Notifier(section, folding, poster, lambda: reader, lambda attempt: 0.05)
        notifier.start()
        try:
            wait_for(lambda: reader.committed == {0: 2, 1: 2, 2: 2}, "all ends")
        finally:
            notifier.stop()
            assert notifier.join(60)
        ids = [parse(message("opened", name).value).id for name in NAMES]
        assert {got.json["id"] for got in receiver.taken} == {ids[0], ids[1], f"{ids[2]}-group"}
        assert {got.json["event"] for got in receiver.taken} == {"resolved"}
