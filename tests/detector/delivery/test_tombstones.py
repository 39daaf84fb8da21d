"""Forgetting through saved state: whenever a process is killed, a forgotten series never comes back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Readings
from detector.delivery.marks import MARK, decode_mark
from detector.delivery.recovery import Recovery
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.rules import IncidentRules, WatchdogRules
from tests.detector.delivery.test_recovery import TOPIC, Row, Topics, rows_of
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS

SECOND = 10**9
LIMIT = 100 * SECOND
A, B = "pump-a", "pump-b"


def engine_of(threshold: float) -> Engine:
    rules = IncidentRules(
        for_rows=2, of_rows=3, quiet_rows=3, watchdog=WatchdogRules(series_after_ns=50 * SECOND)
    )
    return Engine(
        make_artifact(interval_ns=INTERVAL_NS, threshold=threshold),
        EngineOptions(forget_after_ns=LIMIT, rules=rules),
    )


@dataclass
class Plant:
    """One partition of two series: B sends for `lively` rows, then not for `pause` rows, then again.

    Each row of A takes ten seconds by the service's clock.
    """

    lively: int
    pause: int
    num: int
    threshold: float = 1e6
    topics: Topics = field(default_factory=Topics)
    rows: list[Row] = field(default_factory=list)
    events: list[tuple[str, str, str, str]] = field(default_factory=list)

    def messages(self) -> list[tuple[str, int]]:
        found = []
        for row in range(self.num):
            found.append((A, row))
            if row < self.lively or row >= self.lively + self.pause:
                found.append((B, row))
        return found

    def readings(self, first: int, stop: int) -> Readings:
        mine = self.messages()[first:stop]
        names = tuple(dict.fromkeys(name for name, _ in mine))
        rows = np.array([row for _, row in mine], np.int64)
        series = np.array([names.index(name) for name, _ in mine], np.int32)
        shift = np.array([7 * (name == B) for name, _ in mine])
        values = 2 * np.sin(np.outer(rows + shift, [1.0, 1.7])) if len(rows) else np.empty((0, 2))
        return Readings(
            names, series, 1_000 + rows * INTERVAL_NS, values,
            np.zeros(len(rows), np.int32), np.arange(first, first + len(rows)),
        )  # fmt: skip

    def run(self, until: int, size: int, max_replay: int, loses_commit: bool) -> None:
        """A process that reads up to the message `until` and is killed, maybe in its last commit."""
        engine, recovery = (
            engine_of(self.threshold),
            Recovery(self.topics.read_state, "state", PartitionNumbers(TOPIC), max_replay),
        )
        messages = self.messages()
        done = self.topics.offsets.get(0, 0)
        assigned = Batch(Readings.empty(2), tick_ns=self.clock(done), assigned=frozenset({0}))
        recovery.prepare(self.topics, engine, assigned)
        at = self.topics.starts.get(0, 0)
        while at < until:
            stop = min(at + size, until, len(messages))
            found = self.readings(at, stop)
            batch = Batch(found, position={(TOPIC, 0): stop}, tick_ns=self.clock(stop))
            live = recovery.prepare(self.topics, engine, batch)
            result = engine.step(live.readings, live.tick_ns)
            position = live.position or {}
            state = recovery.save(engine, position)
            if loses_commit and stop == until:
                return
            at = stop
            self.topics.commit({**recovery.standing(), **position}, state)
            self.rows += rows_of(result)
            self.events += [
                (e.incident.series, e.incident.id, e.kind, e.incident.ending) for e in result.incidents
            ]

    def clock(self, offset: int) -> int:
        messages = self.messages()
        row = messages[min(offset, len(messages)) - 1][1] if offset else 0
        return 1_800_000_000 * SECOND + row * 10 * SECOND


NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example is slow."""
KILLS = st.lists(st.tuples(st.integers(1, 120), st.booleans()), max_size=3)


@settings(max_examples=6, deadline=None, phases=NO_SHRINKING)
@given(
    st.builds(Plant, st.integers(1, 15), st.integers(45, 50), st.just(76), st.sampled_from([0.3, 1e6])),
    KILLS,
    st.integers(1, 4),
    st.sampled_from([4, 30, 10_000]),
)
@example(Plant(15, 45, 76, 1e6), [(55, False), (58, True)], 3, 10_000)
@example(Plant(5, 45, 76, 0.3), [(12, False)], 3, 10_000)  # known by a replay alone, then silent
def test_whenever_it_is_killed_what_was_forgotten_stays_forgotten(
    plant: Plant, kills: list[tuple[int, bool]], size: int, max_replay: int
) -> None:
    """Each series' rows are those of the time before and of a fresh one after; each incident ends once."""
    for until, loses_commit in sorted(kills):
        plant.run(min(until, len(plant.messages())), size, max_replay, loses_commit)
    plant.run(len(plant.messages()), size, max_replay, False)
    assert sorted(plant.rows) == sorted(expected_rows(plant))
    kinds = Counter((one, kind) for _, one, kind, _ in plant.events if kind != "escalated")
    assert set(kinds.values()) <= {1}
    ended = [(series, ending) for series, _, kind, ending in plant.events if kind == "resolved"]
    assert (B, "retired") in ended  # its silence, at least
    assert (A, "retired") not in ended


def expected_rows(plant: Plant) -> list[Row]:
    """Of A without a break; of B by one engine until it vanishes, and by another one from then on."""
    messages = plant.messages()
    parts = [
        [name == A for name, _ in messages],
        [name == B and row < plant.lively for name, row in messages],
        [name == B and row >= plant.lively for name, row in messages],
    ]
    found = []
    everything = plant.readings(0, len(messages))
    for at, part in enumerate(parts):
        engine = engine_of(plant.threshold)
        rows = rows_of(engine.step(named(everything, np.array(part), B if at else A)))
        found += rows + (rows_of(engine.flush()) if at == 1 else [])
    return found


def named(readings: Readings, mask: np.ndarray, name: str) -> Readings:
    some = readings.take(mask)
    return Readings(
        (name,), np.zeros(len(some), np.int32), some.timestamp_ns, some.values, some.partition, some.offset
    )


@pytest.mark.parametrize("max_replay", [10, 10_000])
def test_the_tombstone_is_in_the_state_topic_and_no_mark_waits_for_the_series(max_replay: int) -> None:
    plant = Plant(lively=10, pause=40, num=50)
    plant.run(len(plant.messages()), 1, max_replay, False)
    state = plant.topics.state[0]
    assert state[B.encode()] is None
    mark = decode_mark(state[MARK])
    assert mark is not None
    if max_replay == 10:
        assert mark.forgotten == {}
        assert mark.replay_from >= mark.next - max_replay
    else:
        assert mark.forgotten == {B: 20}


def test_an_older_copy_in_a_partition_that_the_series_has_left_goes_too() -> None:
    """Partitions were added, and B has moved from partition 0 to 1."""
    topics = Topics()
    for restarts in (False, True):
        topics.state.clear()
        topics.offsets.clear()
        topics.starts.clear()
        engine, recovery = process(topics)
        now = 1_800_000_000 * SECOND
        for row in range(60):
            if restarts and row == 30:
                engine, recovery = process(topics)
                for again in range(row):
                    turn(topics, engine, recovery, again, now)
            now += 5 * SECOND
            turn(topics, engine, recovery, row, now)
            if row in (5, 15):
                engine.save_all_soon()
        assert topics.state[0][B.encode()] is None
        assert topics.state[1][B.encode()] is None


def process(topics: Topics) -> tuple[Engine, Recovery]:
    engine, recovery = engine_of(1e6), Recovery(topics.read_state, "state", PartitionNumbers(TOPIC), 10)
    recovery.prepare(topics, engine, Batch(Readings.empty(2), assigned=frozenset({0, 1})))
    return engine, recovery


def turn(topics: Topics, engine: Engine, recovery: Recovery, row: int, now: int) -> None:
    """A sends in partition 0; B sends in partition 0 up to row 10, and in partition 1 up to row 20."""
    names = (A, B) if row < 20 else (A,)
    partition = np.array([0, int(row >= 10)][: len(names)], np.int32)
    offset = np.array([row + min(row, 10), max(0, row - 10) if row >= 10 else 2 * row + 1][: len(names)])
    readings = Readings(
        names,
        np.arange(len(names), dtype=np.int32),
        np.full(len(names), 1_000 + row * INTERVAL_NS),
        np.ones((len(names), 2)),
        partition,
        offset,
    )
    unread = offset >= [topics.starts.get(number, 0) for number in partition.tolist()]
    if not unread.any():
        return
    if not unread.all():
        readings = named(readings, unread, names[int(unread.argmax())])
    position = {
        (TOPIC, number): int(readings.offset[readings.partition == number].max()) + 1
        for number in set(readings.partition.tolist())
    }
    live = recovery.prepare(topics, engine, Batch(readings, position=position, tick_ns=now))
    engine.step(live.readings, now)
    topics.commit(
        {**recovery.standing(), **(live.position or {})}, recovery.save(engine, live.position or {})
    )
