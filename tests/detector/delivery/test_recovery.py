"""Recovery without a broker: any kill at any commit, and every result is published exactly once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Message, Position, Readings, Reject
from detector.delivery.deleted_input import Deletions
from detector.delivery.marks import MARK, Mark, decode_mark, oldest_unsaved, published_until, series_due
from detector.delivery.recovery import Recovery
from detector.engine.engine import Changed, Engine, StepResult
from tests.detector.engine.test_snapshot import engine_of
from tests.support.strategies import NAMES, cuts_of, streams

TOPIC = "readings"
Row = tuple[str, int, int, bytes]


class Topics:
    """An input topic and a state topic, committed together as in a transaction."""

    def __init__(self) -> None:
        self.topic_id = "first"
        self.offsets: dict[int, int] = {}
        self.state: dict[int, dict[bytes, bytes | None]] = {}
        self.oldest: dict[int, int] = {}
        self.starts: dict[int, int] = {}

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        return {number: self.offsets.get(number) for number in partitions}

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {number: self.oldest.get(number, 0) for number in partitions}

    def identity_of(self, partition: int) -> str:
        return self.topic_id

    def read_from(self, starts: Mapping[int, int]) -> None:
        self.starts = dict(starts)

    def read_state(self, partitions: Iterable[int]) -> Mapping[int, Mapping[bytes, bytes]]:
        found = {number: self.state.get(number, {}) for number in partitions}
        return {number: {key: v for key, v in of.items() if v is not None} for number, of in found.items()}

    def commit(self, position: Position, state: Iterable[Message]) -> None:
        self.offsets |= {number: at for (_, number), at in position.items()}
        for message in state:
            assert message.partition is not None
            assert message.key is not None
            self.state.setdefault(message.partition, {})[message.key] = message.value


NUMBERS = PartitionNumbers(TOPIC)


def partitioned(readings: Readings) -> Readings:
    """The readings with offsets that count within each partition; each series has a partition of its own."""
    offset = np.zeros(len(readings), np.int64)
    for number in range(len(NAMES)):
        mine = readings.partition == number
        offset[mine] = np.arange(mine.sum())
    return Readings(
        readings.names, readings.series, readings.timestamp_ns, readings.values, readings.partition, offset
    )


def part(readings: Readings, rows: np.ndarray) -> Readings:
    names = tuple(np.array(NAMES)[np.unique(readings.partition[rows])].tolist())
    series = np.array([names.index(NAMES[number]) for number in readings.partition[rows]], np.int32)
    return Readings(
        names,
        series,
        readings.timestamp_ns[rows],
        readings.values[rows],
        readings.partition[rows],
        readings.offset[rows],
    )


def batch_of(readings: Readings, rows: np.ndarray, assigned: bool = False) -> Batch:
    found = part(readings, rows)
    position = {
        (TOPIC, number): int(found.offset[found.partition == number].max()) + 1
        for number in np.unique(found.partition).tolist()
    }
    return Batch(found, position=position, assigned=frozenset(range(len(NAMES)) if assigned else ()))


def rows_of(result: StepResult) -> list[Row]:
    verdicts = result.verdicts
    return [
        (
            verdicts.names[verdicts.series[at]],
            int(verdicts.timestamp_ns[at]),
            int(verdicts.state[at]),
            verdicts.score[at].tobytes(),
        )
        for at in range(len(verdicts))
    ]


def follow(
    topics: Topics, readings: Readings, cuts: list[int], stop: int, max_replay: int
) -> tuple[list[Row], Engine]:
    """Run a process on the first `stop` readings, as far as they are not committed yet.

    Returns what it has published, and its engine. A process whose engine is forgotten was killed.
    """
    engine, recovery = (
        engine_of({}),
        Recovery(topics.read_state, "state", NUMBERS, max_replay),
    )
    recovery.prepare(topics, engine, Batch(Readings.empty(2), assigned=frozenset(range(len(NAMES)))))
    start = np.array([topics.starts.get(number, 0) for number in range(len(NAMES))])
    published: list[Row] = []
    unread = readings.offset >= start[readings.partition]
    for first, last in pairwise(cuts):
        rows = np.flatnonzero(unread)
        rows = rows[(rows >= first) & (rows < min(last, stop))]
        if len(rows) == 0:
            continue
        live = recovery.prepare(topics, engine, batch_of(readings, rows))
        published += rows_of(engine.step(live.readings))
        position = live.position or {}
        topics.commit({**recovery.standing(), **position}, recovery.save(engine, position))
    return published, engine


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_after_any_kill_every_row_is_published_once_as_if_nothing_had_happened(data: st.DataObject) -> None:
    readings = partitioned(data.draw(streams(max_rows=60)))
    stops = sorted(data.draw(st.lists(st.integers(0, len(readings)), max_size=3)))
    max_replay = data.draw(st.sampled_from([2, 20, 10_000]))
    undisturbed = engine_of({})
    expected = sorted(rows_of(undisturbed.step(readings)) + rows_of(undisturbed.flush()))
    topics, published = Topics(), []
    for stop in [*stops, len(readings)]:
        cuts = data.draw(cuts_of(len(readings)))
        rows, engine = follow(topics, readings, cuts, stop, max_replay)
        published += rows
    assert sorted(published + rows_of(engine.flush())) == expected


def test_a_replay_is_counted_and_leaves_out_its_rejects() -> None:
    topics = Topics()
    rows = np.arange(40)
    values = np.random.default_rng(1).standard_normal((40, 2))
    zeros = np.zeros(40, np.int32)
    readings = Readings(("pump-1",), zeros, 1_000 + rows * 10, values, zeros, rows)
    follow(topics, readings, [0, 5, 10, 15, 20, 25, 30], 30, 40)
    recovery = Recovery(topics.read_state, "state", NUMBERS, 20)
    engine = engine_of({})
    recovery.prepare(topics, engine, Batch(Readings.empty(2), assigned=frozenset([0])))
    assert topics.offsets == {0: 30}
    start = topics.starts[0]
    assert start < 30
    assert (recovery.num_replaying, recovery.is_replaying, recovery.standing()) == (1, True, {})
    rejects = tuple(Reject("not_json", "", TOPIC, 0, offset, None, b"") for offset in (29, 31))
    found = batch_of(readings, np.arange(start, 35))
    batch = Batch(found.readings, rejects, found.position)
    live = recovery.prepare(topics, engine, batch)
    assert live.readings.offset.tolist() == [30, 31, 32, 33, 34]
    assert [one.offset for one in live.rejects] == [31]
    assert (recovery.num_replaying, recovery.standing()) == (0, {(TOPIC, 0): 35})
    assert 0 <= recovery.replayed <= 30 - start


def test_offsets_that_were_set_back_start_without_saved_state() -> None:
    topics = Topics()
    topics.state = {0: {MARK: b'{"next": 50, "before": 40, "replay_from": 10}'}}
    topics.offsets = {0: 5}
    recovery = Recovery(topics.read_state, "state", NUMBERS, 20)
    assert recovery.restore(engine_of({}), topics, [0, 1], None) == {0: 5}
    assert recovery.standing() == {(TOPIC, 0): 5}


def test_deleted_input_is_counted_where_it_was_not_read_before() -> None:
    topics, deletions = Topics(), Deletions()
    topics.state = {0: {MARK: b'{"next": 50, "before": 40, "replay_from": 10}'}}
    topics.offsets, topics.oldest = {0: 50}, {0: 60}
    recovery = Recovery(topics.read_state, "state", NUMBERS, 20, deletions)
    assert recovery.restore(engine_of({}), topics, [0], None) == {0: 60}
    assert deletions.messages == 10
    assert not recovery.is_replaying


@pytest.mark.parametrize(
    ("mark", "committed", "expected"),
    [
        (None, None, None),
        (None, 7, 7),
        (Mark(30, 20, 5), None, 30),
        (Mark(30, 20, 5), 19, 19),
        (Mark(30, 20, 5), 20, 30),
        (Mark(30, 20, 5), 29, 30),
        (Mark(30, 20, 5), 30, 30),
        (Mark(30, 20, 5), 31, 31),
    ],
)
def test_the_mark_counts_where_only_the_commit_of_its_batch_is_missing(
    mark: Mark | None, committed: int | None, expected: int | None
) -> None:
    assert published_until(mark, committed) == expected


def changed_of(since: list[int], urgent: list[bool]) -> Changed:
    num = len(since)
    zeros = np.zeros(num, np.int32)
    return Changed(np.arange(num, dtype=np.int32), zeros, np.array(since), np.array(urgent))


def test_old_series_are_saved_in_shares_and_very_old_or_urgent_ones_at_once() -> None:
    since = [100 - age for age in range(100)]
    changed = changed_of(since, [age == 3 for age in range(100)])
    due = series_due(changed, {0: 100}, moved=1, stride=40)
    assert set(np.flatnonzero(due)) == {3, *range(60, 100)}  # 1.5 strides; the share is among the oldest
    assert oldest_unsaved(changed, ~due) == {0: 100 - 59}


def test_marks_that_cannot_be_read_are_none() -> None:
    assert decode_mark(None) is decode_mark(b"nonsense") is None
    assert decode_mark(b'{"next": 3, "before": 2, "replay_from": 1}') == Mark(3, 2, 1)


def test_another_topic_of_the_same_name_starts_without_saved_state() -> None:
    """Offsets belong to a topic: those of the deleted one say nothing of its successor, committed or not."""
    topics = Topics()
    mark = b'{"next": 50, "before": 40, "replay_from": 10, "topic": "first"}'
    topics.state = {0: {MARK: mark}, 1: {MARK: mark}}
    topics.topic_id, topics.offsets, topics.oldest = "second", {1: 3}, {0: 2}
    recovery = Recovery(topics.read_state, "state", NUMBERS, 20)
    assert recovery.restore(engine_of({}), topics, [0, 1], None) == {0: 2, 1: 0}
    assert not recovery.is_replaying
    topics.topic_id = ""  # a broker without ids: nothing can be told
    assert Recovery(topics.read_state, "state", NUMBERS, 20).restore(engine_of({}), topics, [0], None) == {
        0: 10
    }


def test_what_a_deleted_topic_still_held_is_counted() -> None:
    topics, deletions = Topics(), Deletions()
    recovery = Recovery(topics.read_state, "state", NUMBERS, 20, deletions)
    recovery.prepare(topics, engine_of({}), Batch(Readings.empty(2), recreated={0: 7, 1: 0}))
    assert deletions.messages == 7


@given(num_old=st.integers(1, 40), num_new=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_a_series_that_moved_to_another_partition_goes_on_from_its_newest_state(
    num_old: int, num_new: int, seed: int
) -> None:
    """Partitions were added: the older state, in the partition that it left, is not taken."""
    num = num_old + num_new
    moved = (np.arange(num) >= num_old).astype(np.int32)
    offset = np.concatenate([np.arange(num_old), np.arange(num_new)])
    values = np.random.default_rng(seed).standard_normal((num, 2))
    readings = Readings(
        ("pump-1",), np.zeros(num, np.int32), 1_000 + np.arange(num) * 10, values, moved, offset
    )
    topics, engine = Topics(), engine_of({})
    recovery = Recovery(topics.read_state, "state", NUMBERS, 20)
    for number, rows in ((0, np.arange(num_old)), (1, np.arange(num_old, num))):
        assigned = Batch(Readings.empty(2), assigned=frozenset([number]))
        recovery.prepare(topics, engine, assigned)
        at = {(TOPIC, number): len(rows)}
        live = recovery.prepare(topics, engine, Batch(readings.take(np.isin(np.arange(num), rows)), (), at))
        engine.step(live.readings)
        topics.commit(at, recovery.save(engine, at))
    heir = engine_of({})
    Recovery(topics.read_state, "state", NUMBERS, 20).prepare(
        topics, heir, Batch(Readings.empty(2), assigned=frozenset([0, 1]))
    )
    assert heir.latest.names == ("pump-1",)
    assert heir.latest.timestamp_ns.tolist() == engine.latest.timestamp_ns.tolist()
    np.testing.assert_array_equal(heir.latest.score, engine.latest.score)
    slots, others = heir.slots_of(["pump-1"]), engine.slots_of(["pump-1"])
    np.testing.assert_array_equal(heir.channels_at(slots), engine.channels_at(others))
