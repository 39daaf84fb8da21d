"""What every StreamSource promises: assignment, commits, resuming, starting over."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from connectors.records import Batch, Readings, StreamSource
from connectors.wide_json.decoder import JsonWideCodec
from tests.contracts.conftest import BATCH, CHANNELS, NUM, StreamKit, history

WAIT_SECONDS = 60.0


def read(source: StreamSource, until: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Poll as the daemon does: an assigned partition begins at its committed offset."""
    batches: list[Batch] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while not until(batches):
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s: {batches}"
        batch = source.poll(0.2)
        if batch is None:
            assert until(batches), "the input has ended too early"
            break
        batches.append(batch)
        if batch.assigned:
            known = source.committed(batch.assigned)
            source.read_from({number: at for number, at in known.items() if at is not None})
    return batches


def read_num(source: StreamSource, num: int) -> list[Batch]:
    return read(source, lambda batches: sum(len(batch.readings) for batch in batches) >= num)


def as_rows(batches: list[Batch]) -> list[tuple[object, ...]]:
    """Everything that a reading is."""
    return [row for batch in batches for row in rows_of(batch.readings)]


def rows_of(readings: Readings) -> list[tuple[object, ...]]:
    names = [readings.names[code] for code in readings.series]
    columns = (readings.timestamp_ns, readings.values, readings.partition, readings.offset)
    return list(zip(names, *(column.tolist() for column in columns), strict=True))


def test_partitions_are_assigned_first_and_read_from_where_they_are_told(stream_kit: StreamKit) -> None:
    source = stream_kit.start()
    assert not source.is_assigned
    deadline = time.monotonic() + WAIT_SECONDS
    while not (batch := source.poll(0.2)) or not batch.assigned:
        assert time.monotonic() < deadline
    assert batch.assigned == {0}
    assert batch.lost == frozenset()
    assert len(batch.readings) == 0
    if stream_kit.awaits_start:
        assert not source.is_assigned, "its state is not restored yet"
        waiting = [source.poll(0.1) for _ in range(2)]
        assert all(one is None or len(one.readings) == 0 for one in waiting)
        begin = 7 if stream_kit.seeks else 0
        source.read_from({0: begin})
        rest = read_num(source, NUM - begin)
        assert [offset for one in rest for offset in one.readings.offset] == list(range(begin, NUM))
    assert source.is_assigned
    assert source.num_rebalances == 1


def test_without_a_commit_everything_is_read_again(stream_kit: StreamKit) -> None:
    first = stream_kit.start()
    before = read_num(first, NUM)
    assert first.committed([0]) == {0: None}
    first.close()
    assert as_rows(read_num(stream_kit.start(), NUM)) == as_rows(before)


def test_a_restart_resumes_behind_the_commit_with_the_same_readings(stream_kit: StreamKit) -> None:
    first = stream_kit.start()
    batches = [batch for batch in read_num(first, NUM) if len(batch.readings)]
    first.commit(batches[1].position or {})
    (at,) = (batches[1].position or {}).values()
    assert first.committed([0]) == {0: at}
    first.close()
    second = stream_kit.start()
    assert as_rows(read_num(second, NUM - at)) == as_rows(batches[2:])
    second.commit({})
    assert second.committed([0]) == {0: at}, "an empty commit moves nothing"


def test_the_oldest_offset_does_not_depend_on_commits(stream_kit: StreamKit) -> None:
    source = stream_kit.start()
    read_num(source, NUM)
    source.commit(stream_kit.position(15))
    assert source.earliest([0]) == {0: 0 if stream_kit.seeks else 15}


def test_a_stream_that_starts_over_comes_again_from_its_commit(stream_kit: StreamKit) -> None:
    source = stream_kit.start()
    read_num(source, NUM)
    source.commit(stream_kit.position(BATCH))
    assert not source.has_lost
    source.start_over()
    assert source.has_lost
    again = read_num(source, NUM - BATCH)
    assert not source.has_lost
    (reported,) = [batch for batch in again if batch.lost]
    assert (reported.lost, reported.assigned, len(reported.readings)) == ({0}, {0}, 0)
    assert as_rows(again) == rows_of(history())[BATCH:]


def test_a_stream_that_was_read_has_no_lag(stream_kit: StreamKit) -> None:
    source = stream_kit.start()
    read_num(source, NUM)
    read(source, lambda _: dict(source.lag) == {0: 0})
    assert source.lag_seconds == {0: 0.0}


def test_another_codec_takes_effect_with_the_next_batch(stream_kit: StreamKit) -> None:
    source = stream_kit.start()
    read_num(source, BATCH)
    source.use_codec(JsonWideCodec(CHANNELS[::-1]))
    rest = read_num(source, NUM - BATCH)
    values = np.concatenate([batch.readings.values for batch in rest])
    assert values.tolist() == history().values[BATCH:, ::-1].tolist()
