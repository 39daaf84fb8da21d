"""The reader of decisions: a topic that is missing, refused, given back, or has several partitions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from connectors.errors import KafkaError, RightMissingError
from connectors.kafka.admin.growth import TopicFacts
from connectors.kafka.connection import Connection
from connectors.records import Message
from detector.delivery.decision_records import encode_decision
from detector.delivery.decisions import decision_topic
from detector.delivery.decisions.decision_topic import DecisionReader, write_decision
from detector.incidents.decision import Decision

TOPIC, CONNECTION = "out.decisions", Connection(("localhost:1",))
MUTES = [Decision(f"m{at}", "mute", "pump-1", at * 10**9, until_ns=10**12) for at in range(4)]


@dataclass
class Broker:
    """A cluster with one topic, as the reader sees it. `num_looks` and `num_opened` count its requests."""

    facts: TopicFacts | None = field(default_factory=lambda: TopicFacts("a", 1))
    may_read: bool = True
    records: list[tuple[int, bytes]] = field(default_factory=list)
    num_looks: int = 0
    num_opened: int = 0

    def add(self, *decisions: Decision) -> None:
        self.records += [(len(self.records) + at, encode_decision(one)) for at, one in enumerate(decisions)]

    def look_up(self, connection: Connection, names: Sequence[str]) -> dict[str, TopicFacts]:
        self.num_looks += 1
        return {} if self.facts is None else {TOPIC: self.facts}


class Tail:
    """Reads the records of a `Broker`."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._at = broker, 0
        broker.num_opened += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def end(self) -> dict[tuple[str, int], int]:
        return {(TOPIC, 0): len(self._broker.records)}

    def position(self) -> dict[tuple[str, int], int]:
        return {(TOPIC, 0): self._at}

    def poll_numbered(self, seconds: float) -> list[tuple[int, Message]]:
        time.sleep(0.001)
        if not self._broker.may_read:
            raise RightMissingError("may not read", "read", f"topic {TOPIC}")
        found = self._broker.records[self._at :]
        self._at += len(found)
        return [(offset, Message(TOPIC, b"pump-1", value)) for offset, value in found]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(decision_topic, "look_up", made.look_up)
    monkeypatch.setattr(decision_topic, "TopicTail", lambda connection, topics: Tail(made))
    for name, seconds in {"_LOOK_SECONDS": 0.01, "_FIRST_PAUSE": 0.002, "_LONGEST_PAUSE": 0.02}.items():
        monkeypatch.setattr(decision_topic, name, seconds)
    return made


@pytest.fixture
def reader(broker: Broker) -> Iterator[DecisionReader]:
    made = DecisionReader(CONNECTION, TOPIC)
    yield made
    made.close()


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage().split(":")[0] for one in caplog.records if one.name == "streamgauge"]


@pytest.fixture(autouse=True)
def _levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamgauge")


def taken(reader: DecisionReader, num: int) -> list[str]:
    found: list[str] = []

    def has_all() -> bool:
        found.extend(one.id for _, one in reader.take()[1])
        return len(found) >= num

    wait_for(has_all)
    return found


def test_it_gives_every_decision_once_and_leaves_out_what_is_none(
    broker: Broker, reader: DecisionReader, caplog: pytest.LogCaptureFixture
) -> None:
    broker.add(*MUTES[:2])
    bad = encode_decision(MUTES[2]).replace(b"1970-01-01T00:16:40.000Z", b"9999-12-31T00:00:00.000Z")
    broker.records.append((2, bad))
    broker.add(MUTES[3])
    reader.start()
    assert reader.wait(threading.Event(), 10)
    assert taken(reader, 3) == ["m0", "m1", "m3"]
    assert reader.is_readable
    assert told(caplog) == ["not a decision"]


@pytest.mark.parametrize("how", ["right to read", "right to describe"])
def test_a_right_that_goes_is_told_of_each_time_and_what_came_meanwhile_takes_effect(
    broker: Broker, reader: DecisionReader, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    def give(is_there: bool) -> None:
        broker.may_read = is_there or how != "right to read"
        broker.facts = TopicFacts("a", 1) if is_there or how == "right to read" else None

    broker.add(MUTES[0])
    reader.start()
    wait_for(lambda: reader.is_readable)
    for _ in range(2):
        give(False)
        wait_for(lambda: told(caplog) and told(caplog)[-1] == "cannot read decisions")
        assert not reader.is_readable
        give(True)
        wait_for(lambda: reader.is_readable)
    assert told(caplog) == ["cannot read decisions", "decisions are read again"] * 2
    reader.take()
    broker.add(*MUTES[1:])
    assert taken(reader, 3)[-3:] == ["m1", "m2", "m3"]


def test_a_topic_that_stays_missing_is_told_of_and_holds_nobody_up(
    broker: Broker, reader: DecisionReader, caplog: pytest.LogCaptureFixture
) -> None:
    broker.facts = None
    reader.start()
    assert reader.wait(threading.Event(), 10)
    wait_for(lambda: broker.num_looks > 5)
    assert told(caplog) == ["cannot read decisions"]
    assert not reader.is_readable
    broker.facts = TopicFacts("b", 1)
    wait_for(lambda: reader.is_readable)


def test_a_topic_that_appears_at_the_second_look_is_no_complaint(
    broker: Broker, reader: DecisionReader, caplog: pytest.LogCaptureFixture
) -> None:
    look_up, broker.facts = broker.look_up, None

    def later(*given: Any) -> dict[str, TopicFacts]:
        found = look_up(*given)
        broker.facts = TopicFacts("a", 1)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decision_topic, "look_up", later)
        reader.start()
        wait_for(lambda: reader.is_readable)
    assert told(caplog) == []


def test_while_it_is_refused_the_pauses_grow(broker: Broker, reader: DecisionReader) -> None:
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return super().wait(timeout)

    reader._stop = Stop()
    broker.may_read = False
    reader.start()
    wait_for(lambda: len(pauses) > 6)
    assert pauses[:6] == [0.002, 0.004, 0.008, 0.016, 0.02, 0.02]
    broker.may_read = True
    wait_for(lambda: reader.is_readable)
    pauses.clear()
    broker.may_read = False
    wait_for(lambda: pauses)
    assert pauses[0] == 0.002


def test_a_topic_that_is_created_again_has_another_number_and_is_read_from_its_beginning(
    broker: Broker, reader: DecisionReader
) -> None:
    broker.add(*MUTES[:2])
    reader.start()
    assert taken(reader, 2) == ["m0", "m1"]
    first, _ = reader.take()
    broker.records = []
    broker.add(MUTES[3])
    broker.facts = TopicFacts("b", 1)
    assert taken(reader, 1) == ["m3"]
    assert reader.take()[0] != first


@pytest.mark.parametrize("num", [2, 3, 12])
def test_several_partitions_are_refused_by_reader_and_command(
    broker: Broker,
    reader: DecisionReader,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    num: int,
) -> None:
    broker.facts = TopicFacts("a", num)
    broker.add(*MUTES)
    reader.start()
    assert reader.wait(threading.Event(), 10)
    wait_for(lambda: broker.num_looks > 3)
    assert told(caplog) == ["cannot read decisions"]
    assert (reader.take()[1], reader.is_readable, broker.num_opened) == ([], False, 0)
    monkeypatch.setattr(decision_topic, "ensure_topics", lambda connection, specs: None)
    with pytest.raises(KafkaError, match=f"has {num} partitions"):
        write_decision(CONNECTION, TOPIC, MUTES[0])
