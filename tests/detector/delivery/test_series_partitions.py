"""Series that come from several partitions are found within seconds, and series that move are not."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Readings
from detector.delivery.series_partitions import MEMORY_NS, SeriesPartitions

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def batch(
    series: np.ndarray,
    seconds: np.ndarray,
    partitions: np.ndarray,
    now: int = NOW,
    lost: tuple[int, ...] = (),
) -> Batch:
    """Readings of numbered series, at times in seconds."""
    codes, index = np.unique(np.asarray(series, np.int64), return_inverse=True)
    num = len(index)
    readings = Readings(
        tuple(f"pump-{code}" for code in codes),
        index.astype(np.int32),
        (np.asarray(seconds, float) * SECOND).astype(np.int64),
        np.zeros((num, 1)),
        np.asarray(partitions, np.int32),
        np.arange(num),
    )
    return Batch(readings, tick_ns=now, lost=frozenset(lost))


def one(seconds: np.ndarray, partitions: np.ndarray, now: int = NOW) -> Batch:
    return batch(np.zeros(len(seconds)), seconds, partitions, now)


def watch(interval: int = 1, lateness: int = 0) -> SeriesPartitions:
    return SeriesPartitions((interval + lateness) * SECOND, interval * SECOND)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_partitions=st.integers(2, 12),
    interval=st.sampled_from([1, 10, 60]),
    rows_a_batch=st.integers(1, 40),
)
def test_a_series_without_a_key_is_found_within_40_readings(
    seed: int, num_partitions: int, interval: int, rows_a_batch: int
) -> None:
    """Each batch has its readings partition after partition, as a client of Kafka returns them."""
    rng, found = np.random.default_rng(seed), watch(interval)
    partitions = rng.integers(0, num_partitions, 40)
    times = np.arange(40) * interval
    for start in range(0, 40, rows_a_batch):
        rows = slice(start, start + rows_a_batch)
        order = np.argsort(partitions[rows], kind="stable")
        found.notice(one(times[rows][order], partitions[rows][order], NOW + start * interval * SECOND))
        if found.split.num:
            break
    assert found.split.names == ("pump-0",)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_series=st.integers(1, 6),
    rows_a_batch=st.integers(1, 60),
    jitter=st.integers(0, 5),
)
def test_a_move_to_another_partition_is_no_split_in_whatever_order_the_partitions_are_read(
    seed: int, num_series: int, rows_a_batch: int, jitter: int
) -> None:
    """Partitions grow from 2 to 5: most series move once. Times are out of order by up to the lateness."""
    rng, found = np.random.default_rng(seed), watch(lateness=jitter)
    rows = [(second, series) for second in range(60) for series in range(num_series)]
    moment = rng.integers(1, 60, num_series)
    before, after = rng.integers(0, 2, num_series), rng.integers(0, 5, num_series)
    where = np.array([before[s] if second < moment[s] else after[s] for second, s in rows])
    logs = {number: [row for row, at in zip(rows, where, strict=True) if at == number] for number in range(5)}
    delays = {number: rng.permuted(np.arange(len(log)) % (jitter + 1)) for number, log in logs.items()}
    queues = {
        number: [log[at] for at in np.argsort([row[0] for row in log] + delays[number], kind="stable")]
        for number, log in logs.items()
    }
    while any(queues.values()):
        number = int(rng.choice([number for number, queue in queues.items() if queue]))
        taken, queues[number] = queues[number][:rows_a_batch], queues[number][rows_a_batch:]
        seconds, series = np.array(taken).T
        found.notice(batch(series, seconds, np.full(len(taken), number)))
    assert not found.split.num


def test_a_clock_ahead_costs_one_warning_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    found = watch()
    found.notice(one(np.append(np.arange(10), 72_000), np.zeros(11)))
    for minute in range(30):  # then it moves
        times = 10 + np.arange(60) + minute * 60
        found.notice(one(times, np.ones(60), NOW + minute * 60 * SECOND))
    assert not found.split.num
    assert sum("several partitions" in record.message for record in caplog.records) <= 1


def test_a_key_that_is_set_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = watch()
    found.notice(one(np.arange(90), np.arange(90) % 3))
    assert found.split.num == 1
    for late in (1, MEMORY_NS - 1):
        found.notice(one(np.arange(90, 100), np.ones(10), NOW + late))
        assert found.split.num == 1
    found.notice(one(np.arange(100, 110), np.ones(10), NOW + 2 * MEMORY_NS))
    assert not found.split.num
    assert [record.message for record in caplog.records][-1] == "every series comes from one partition again"


def test_it_lasts_while_the_readings_alternate_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    found = watch()
    for minute in range(60):
        found.notice(one(minute * 60 + np.arange(60), np.arange(60) % 2, NOW + minute * 60 * SECOND))
    assert found.split.num == 1
    assert len(caplog.records) == 1


def test_thousands_of_series_without_keys_are_told_in_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    found, rng = watch(), np.random.default_rng(0)
    series = np.tile(np.arange(3_000), 2)
    for second in range(20):
        seconds = 2 * second + np.repeat([0, 1], 3_000)
        found.notice(batch(series, seconds, rng.integers(0, 12, 6_000), NOW + second * SECOND))
    assert found.split.num > 2_900
    assert 0 < len(caplog.records) <= 20
    assert all(len(record.keys["series"]) <= 10 for record in caplog.records)  # type: ignore[attr-defined]


def test_lost_partitions_are_forgotten() -> None:
    found = watch()
    found.notice(one(np.arange(10), np.zeros(10)))
    found.notice(batch(np.zeros(10), np.arange(10, 20), np.ones(10), lost=(0,)))
    found.notice(batch(np.zeros(10), np.arange(20, 30), np.zeros(10), lost=(1,)))
    assert not found.split.num


def test_it_costs_little_with_many_series() -> None:
    """10,000 series and 30,000 rows: less than a tenth of a second of the loop, where all is well."""
    found = watch()
    series = np.tile(np.arange(10_000), 3)
    full = batch(series, np.repeat([0, 1, 2], 10_000), series % 12)
    found.notice(full)
    began = time.process_time()
    for _ in range(5):
        found.notice(full)
    assert (time.process_time() - began) / 5 < 0.1


def test_a_series_of_two_topics_is_split_with_its_first_reading_of_the_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = PartitionNumbers()
    places = [numbers.number("pumps", 0), numbers.number("pumps", 1), numbers.number("presses", 0)]
    found = SeriesPartitions(SECOND, SECOND, numbers)
    found.notice(one(np.arange(10), np.full(10, places[0])))
    found.notice(one(np.arange(10, 20), np.full(10, places[1]), NOW + SECOND))
    assert not found.split.num, "it moved within its topic"
    found.notice(one(np.arange(20, 21), np.full(1, places[2]), NOW + 2 * SECOND))
    assert found.split.num == 1
    (told,) = [record.__dict__["keys"] for record in caplog.records]
    assert 'series = ["topic", "$.series"]' in told["remedy"]
