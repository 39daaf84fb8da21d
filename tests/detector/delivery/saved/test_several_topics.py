"""State of several topics: kills, other numbers in each process, and a change from one topic to several."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.memory import readings_of
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Message, Position, Readings
from detector.delivery.recovery import Recovery
from detector.engine.engine import Engine
from tests.detector.delivery.test_recovery import Row, engine_of, partitioned, rows_of
from tests.support.strategies import NAMES, cuts_of, streams

Place = tuple[str, int]
OF_SEVERAL: tuple[Place, ...] = tuple((f"topic-{at % 2}", at // 2) for at in range(len(NAMES)))
OF_ONE: tuple[Place, ...] = tuple(("topic-0", at) for at in range(len(NAMES)))


class Cluster:
    """Committed offsets and the state topic, which outlive each process."""

    def __init__(self) -> None:
        self.offsets: dict[Place, int] = {}
        self.state: dict[int, dict[bytes, bytes]] = {}

    def read_state(self, partitions: Iterable[int]) -> Mapping[int, Mapping[bytes, bytes]]:
        return {number: dict(self.state.get(number, {})) for number in partitions}

    def commit(self, position: Position, state: Iterable[Message]) -> None:
        self.offsets |= position
        for message in state:
            assert message.partition is not None
            assert message.key is not None
            records = self.state.setdefault(message.partition, {})
            records.pop(message.key, None)
            if message.value is not None:
                records[message.key] = message.value


class Log:
    """The offsets as one process sees them, by its own numbers."""

    def __init__(self, cluster: Cluster, numbers: PartitionNumbers) -> None:
        self.cluster, self.numbers = cluster, numbers
        self.starts: dict[int, int] = {}

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        return {number: self.cluster.offsets.get(self.numbers.place(number)) for number in partitions}

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, 0)

    def identity_of(self, partition: int) -> str:
        return f"id of {self.numbers.topic_of(partition)}"

    def read_from(self, starts: Mapping[int, int]) -> None:
        self.starts = dict(starts)


def follow(
    cluster: Cluster,
    readings: Readings,
    places: tuple[Place, ...],
    numbers: PartitionNumbers,
    cuts: list[int],
    max_replay: int,
) -> tuple[list[Row], Engine]:
    """Run a process up to the last of `cuts`; `readings.partition` counts `places`."""
    of_place = np.array([numbers.number(*place) for place in places], np.int32)
    readings = replace(readings, partition=of_place[readings.partition])
    engine, log = engine_of({}), Log(cluster, numbers)
    recovery = Recovery(cluster.read_state, "state", numbers, max_replay)
    recovery.prepare(log, engine, Batch(Readings.empty(2), assigned=frozenset(of_place.tolist())))
    start = np.array([log.starts.get(number, 0) for number in range(len(of_place))])
    unread = readings.offset >= start[readings.partition]
    published: list[Row] = []
    for first, last in pairwise(cuts):
        at = np.arange(len(readings))
        found = readings.take(unread & (at >= first) & (at < last))
        if len(found) == 0:
            continue
        behind = {
            number: int(found.offset[found.partition == number].max()) + 1
            for number in np.unique(found.partition).tolist()
        }
        live = recovery.prepare(log, engine, Batch(found, position=numbers.position(behind)))
        published += rows_of(engine.step(live.readings))
        position = live.position or {}
        cluster.commit({**recovery.standing(), **position}, recovery.save(engine, position))
    return published, engine


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_after_any_kill_every_row_is_published_once_whatever_numbers_a_process_gives(
    data: st.DataObject,
) -> None:
    """With one topic, processes that read it as the only one take turns with others that may read several."""
    readings = partitioned(data.draw(streams(max_rows=60)))
    places = data.draw(st.sampled_from([OF_ONE, OF_SEVERAL]))
    stops = sorted(data.draw(st.lists(st.integers(0, len(readings)), max_size=3)))
    max_replay = data.draw(st.sampled_from([2, 20, 10_000]))
    undisturbed = engine_of({})
    expected = sorted(rows_of(undisturbed.step(readings)) + rows_of(undisturbed.flush()))
    cluster, published = Cluster(), []
    for stop in [*stops, len(readings)]:
        is_one = places is OF_ONE and data.draw(st.booleans())
        numbers = PartitionNumbers("topic-0" if is_one else "")
        for place in data.draw(st.permutations(places)):
            numbers.number(*place)
        cuts = [min(at, stop) for at in data.draw(cuts_of(len(readings)))]
        rows, engine = follow(cluster, readings, places, numbers, cuts, max_replay)
        published += rows
    assert sorted(published + rows_of(engine.flush())) == expected


def test_a_mark_of_the_other_form_is_deleted_once_its_state_was_taken_over() -> None:
    """It would be the newer one again after an operator has set the offsets back."""
    rows = [(name, 10**9 * at, [float(at), 1.0]) for at in range(20) for name in NAMES]
    readings = readings_of(rows)
    readings = replace(readings, partition=np.tile(np.arange(len(NAMES), dtype=np.int32), 20))
    offset = np.repeat(np.arange(20), len(NAMES))
    readings = replace(readings, offset=offset)
    cluster, half = Cluster(), len(readings) // 2
    one, many = b"", b"\0topic-0\0"
    for topic, cuts, there, gone in (
        ("topic-0", [0, half // 2, half], one, many),
        ("", [0, half, half + 8], many, one),
        ("topic-0", [0, half + 8, len(readings)], one, many),
    ):
        follow(cluster, readings, OF_ONE, PartitionNumbers(topic), cuts, 10_000)
        for records in cluster.state.values():
            assert there in records
            assert gone not in records
