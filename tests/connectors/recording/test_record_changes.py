"""A recording whose topics change while it runs: created again with rows held, and not fit to be recorded.

The source is a list of batches, with offsets, ids and assignments as the consumer of Kafka states them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest

from connectors.errors import ConnectorError, KafkaError
from connectors.parquet.dataset import discover
from connectors.parquet.recorded_names import Stretch, stretch_of
from connectors.partition_numbers import PartitionNumbers
from connectors.recording.directory import RecordingDirectory
from connectors.recording.record import Recording
from connectors.recording.recorder import Rolling
from connectors.recording.tidying import Tidying
from connectors.recording.topics import RecordedTopics
from connectors.records import Batch, Codec, Position, Readings
from connectors.wide_json.decoder import JsonWideCodec
from tests.connectors.test_transfer import START_NS


class Scripted:
    """A source that returns these batches and then ends the recording; the broker's ids change on the way.

    ids  batch -> the ids of topics, from the poll of this batch on
    """

    def __init__(
        self, numbers: PartitionNumbers, batches: list[Batch], ids: dict[int, dict[str, str]] | None = None
    ) -> None:
        self._numbers, self._batches, self._ids = numbers, batches, ids or {}
        self._at, self._over, self._assigned = -1, False, frozenset[int]()
        self._identities: dict[str, str] = {}
        self.stop = threading.Event()
        self.starts: list[dict[int, int]] = []
        self.commits: dict[tuple[str, int], int] = {}

    def poll(self, timeout_seconds: float) -> Batch:
        if self._over:
            self._over = False
            return Batch(rows_at({}), lost=self._assigned, assigned=self._assigned)
        self._at += 1
        self._identities |= self._ids.get(self._at, {})
        if self._at >= len(self._batches):
            self.stop.set()
            return Batch(rows_at({}))
        self._assigned |= self._batches[self._at].assigned
        return self._batches[self._at]

    def read_from(self, starts: Mapping[int, int]) -> None:
        self.starts.append(dict(starts))

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        return {number: self.commits.get(self._numbers.place(number)) for number in partitions}

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, 0)

    def commit(self, position: Position) -> None:
        self.commits |= position

    def end(self) -> Position:
        return {}

    def has_reached(self, position: Position) -> bool:
        return False

    def use_codec(self, codec: Codec) -> None:
        """The batches are decoded already."""

    def start_over(self) -> None:
        self._over = True

    @property
    def has_lost(self) -> bool:
        return self._over

    @property
    def is_assigned(self) -> bool:
        return True

    def identity_of(self, partition: int) -> str:
        return self._identities.get(self._numbers.topic_of(partition), "")


def rows_at(offsets: Mapping[int, range]) -> Readings:
    """Readings of one channel at these offsets of partitions; the value is the offset."""
    offset = np.array([at for span in offsets.values() for at in span], np.int64)
    partition = np.repeat(list(offsets), [len(span) for span in offsets.values()]).astype(np.int32)
    values = offset.astype(float)[:, None]
    return Readings(("s",), np.zeros(len(offset), np.int32), START_NS + offset, values, partition, offset)


def stretches(path: Path) -> list[Stretch]:
    return sorted(one for file in path.glob("*.parquet") if (one := stretch_of(file)))


def record(source: Scripted, topics: RecordedTopics) -> None:
    Recording(source, topics, JsonWideCodec, Tidying(), Rolling(max_seconds=3_600)).run(source.stop)


def test_rows_held_of_a_topic_that_is_created_again_keep_its_label_and_the_new_topic_is_read_from_0(
    tmp_path: Path,
) -> None:
    numbers, place = PartitionNumbers("t"), ("t", 0)
    batches = [
        Batch(rows_at({}), assigned=frozenset({0})),
        Batch(rows_at({0: range(100)}), position={place: 100}),
        Batch(rows_at({}), lost=frozenset({0}), assigned=frozenset({0})),
        Batch(rows_at({0: range(7)}), position={place: 7}),
    ]
    source = Scripted(numbers, batches, {0: {"t": "first"}, 2: {"t": "second"}})
    with RecordedTopics(tmp_path, lambda topic: ("flow",), numbers) as topics:
        assert topics.learn("t")
        record(source, topics)
    assert source.starts == [{0: 0}, {0: 0}]
    assert stretches(tmp_path) == [Stretch("t", 0, 0, 100), Stretch("t~2", 0, 0, 7)]
    assert discover(tmp_path).num_rows == 107
    assert source.commits == {place: 7}
    again = RecordingDirectory(tmp_path, "t")
    assert (again.label, again.ends()) == ("t~2", {0: 7})


def channels_of(topic: str) -> tuple[str, ...]:
    """The channels of the topics below; one of them is deleted while it is looked at."""
    if topic == "deleted":
        raise KafkaError("topic deleted does not exist; create it")
    return {"good": ("flow",), "reserved": ("flow", "label"), "locked": ("flow",), "later": ("flow",)}[topic]


BAD = ("reserved", "locked", "deleted")


@pytest.mark.parametrize("bad", BAD)
def test_a_topic_that_cannot_be_recorded_stops_no_other_and_is_told_once(
    bad: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = PartitionNumbers()
    good, other, later = (numbers.number(topic, 0) for topic in ("good", bad, "later"))
    batches = [
        Batch(rows_at({}), assigned=frozenset({good, other})),
        Batch(rows_at({good: range(10), other: range(5)}), position={("good", 0): 10, (bad, 0): 5}),
        Batch(rows_at({other: range(5, 9)}), position={(bad, 0): 9}),
        Batch(rows_at({}), assigned=frozenset({later})),
        Batch(rows_at({later: range(3)}), position={("later", 0): 3}),
        Batch(rows_at({later: range(3)}), position={("later", 0): 3}),
    ]
    source = Scripted(numbers, batches)
    with (
        caplog.at_level(logging.WARNING),
        RecordingDirectory(tmp_path, "locked").held(),
        RecordedTopics(tmp_path, channels_of, numbers) as topics,
    ):
        assert topics.learn_more(["good", bad])  # as at the start of a process, where all exist
        assert topics.channels == ("flow",)
        record(source, topics)
        assert set(topics.known) == {"good", "later"}
    assert stretches(tmp_path) == [Stretch("good", 0, 0, 10), Stretch("later", 0, 0, 3)]
    assert source.commits == {("good", 0): 10, ("later", 0): 3}  # a lag shows what is not recorded
    told = [one.getMessage() for one in caplog.records if bad in one.getMessage()]
    assert len(told) == 1
    assert f"topic {bad} is not recorded so far: " in told[0]


@pytest.mark.parametrize("bad", BAD)
def test_the_only_topic_of_a_recording_is_an_error_where_it_cannot_be_recorded(
    bad: str, tmp_path: Path
) -> None:
    with (
        RecordingDirectory(tmp_path, "locked").held(),
        RecordedTopics(tmp_path, channels_of, PartitionNumbers(bad)) as topics,
        pytest.raises(ConnectorError, match=r"'label'|another process records locked|deleted does not exist"),
    ):
        topics.learn(bad)


def test_a_topic_is_recorded_from_its_beginning_once_another_process_no_longer_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.recording.topics._LOOK_SECONDS", 0.0)
    numbers = PartitionNumbers()
    number = numbers.number("locked", 0)
    batches = [
        Batch(rows_at({}), assigned=frozenset({number})),
        Batch(rows_at({number: range(4)}), position={("locked", 0): 4}),
        Batch(rows_at({number: range(6)}), position={("locked", 0): 6}),
    ]
    source = Scripted(numbers, batches)
    with RecordedTopics(tmp_path, channels_of, numbers) as topics:
        with RecordingDirectory(tmp_path, "locked").held():
            assert not topics.learn_more(["locked"])
        record(source, topics)
    assert source.starts == [{number: 0}, {number: 0}]
    assert sum(one.next - one.first for one in stretches(tmp_path)) == 6
