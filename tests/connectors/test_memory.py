"""Sources and sinks in memory: markers, offsets, restarts, assignment."""

from __future__ import annotations

import numpy as np
import pytest

from connectors.memory import (
    CRASH,
    END,
    PAUSE,
    MemorySink,
    MemorySource,
    SimulatedCrashError,
    readings_of,
)
from connectors.records import Batch, Readings, Reject
from connectors.wide_json.decoder import JsonWideCodec


def rows(start: int, num: int, partition: int = 0) -> Readings:
    """Readings whose value is their number."""
    found = [(f"pump-{partition}", n * 1_000_000_000, [float(n)]) for n in range(start, start + num)]
    return readings_of(found, partition)


def reject(partition: int = 0) -> Reject:
    return Reject("not_json", "", "memory", partition, 0, None, b"")


def drain(source: MemorySource) -> list[Batch]:
    batches = []
    while (batch := source.poll(0.0)) is not None:
        batches.append(batch)
    return batches


def values(batches: list[Batch]) -> list[float]:
    return [value for batch in batches for value in batch.readings.values[:, 0].tolist()]


def test_readings_are_numbered_by_partition_and_rejects_after_them() -> None:
    source = MemorySource([rows(0, 2), rows(0, 1, 3), Batch(rows(2, 2), (reject(),)), rows(5, 1)])
    assert source.lag == {}
    batches = drain(source)
    assert batches[0].assigned == {0, 3}
    assert [batch.readings.offset.tolist() for batch in batches] == [[], [0, 1], [0], [2, 3], [5]]
    assert [one.offset for batch in batches for one in batch.rejects] == [4]
    assert [batch.position for batch in batches[1:]] == [
        {("memory", 0): 2},
        {("memory", 3): 1},
        {("memory", 0): 5},
        {("memory", 0): 6},
    ]
    assert source.lag == {0: 0, 3: 0}
    assert source.lag_seconds == {0: 0.0, 3: 0.0}


def test_markers_happen_once_and_a_restart_goes_on_behind_them() -> None:
    source = MemorySource([rows(0, 1), PAUSE, CRASH, rows(1, 1), END, rows(2, 1)])
    batches = [source.poll(0.0) for _ in range(3)]
    assert [len(batch.readings) for batch in batches if batch] == [0, 1, 0]
    with pytest.raises(SimulatedCrashError):
        source.poll(0.0)
    second = source.restarted()
    assert values(drain(second)) == [0, 1], "nothing was committed"
    assert second.poll(0.0) is None
    second.commit({("memory", 0): 2})
    assert values(drain(second.restarted())) == [2]


def test_a_source_that_awaits_its_start_reads_nothing_before() -> None:
    source = MemorySource([rows(0, 3)], awaits_start=True)
    first = source.poll(0.0)
    assert first is not None
    assert first.assigned == {0}
    source.read_from({0: 1})
    assert values(drain(source)) == [1, 2]


def test_a_source_that_starts_over_goes_back_to_the_commit() -> None:
    source = MemorySource([rows(0, 2), rows(2, 2), rows(4, 1)])
    for _ in range(3):
        source.poll(0.0)
    source.commit({("memory", 0): 3})
    source.start_over()
    assert source.has_lost
    first, *rest = drain(source)
    assert (first.lost, first.assigned) == ({0}, {0})
    assert values(rest) == [3, 4]
    assert source.num_rebalances == 2


def test_a_list_can_script_a_rebalance() -> None:
    taken = Batch(Readings.empty(1), lost=frozenset({1}))
    back = Batch(Readings.empty(1), assigned=frozenset({1}))
    source = MemorySource([rows(0, 1), rows(0, 1, 1), taken, rows(1, 1), rows(1, 1, 1), back])
    assert values(drain(source)) == [0, 0, 1, 0, 1], "nothing of it was committed: it comes again"


def test_another_codec_selects_columns_by_name() -> None:
    pair = readings_of([("a", 0, [1.0, 2.0])])
    source = MemorySource([pair, pair], channels=("x", "y"))
    source.poll(0.0)
    source.poll(0.0)
    source.use_codec(JsonWideCodec(("y", "z")))
    batch = source.poll(0.0)
    assert batch is not None
    assert np.array_equal(batch.readings.values, [[2.0, np.nan]], equal_nan=True)


def test_a_sink_keeps_what_was_committed_and_discards_the_rest() -> None:
    source = MemorySource([rows(0, 1)])
    sink = MemorySink[str](source)
    sink.write("one", Batch(rows(0, 1)))
    assert (sink.results, sink.pending) == ([], ["one"])
    sink.commit({("memory", 0): 1})
    sink.write("two", Batch(rows(0, 1)))
    sink.close()
    sink.close()
    assert (sink.results, sink.pending, sink.commits) == (["one"], [], [{("memory", 0): 1}])
    assert source.committed([0, 1]) == {0: 1, 1: None}
