"""What the benchmark of a consumer group computes from its measurements, and what it prints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.latency.alerts import FAULT_EVERY, WARMING_TICKS, Stream
from benchmarks.scaling.__main__ import cost_tables, groups_table, rebalances_table, takeover_table
from benchmarks.scaling.capacity import Capacity
from benchmarks.scaling.figures import Cost, Sample, gaps, needs, table, unfairness
from benchmarks.scaling.group import NUM_PARTITIONS, NUM_SERIES, rows
from benchmarks.scaling.rebalances import Rebalanced
from benchmarks.scaling.takeover import Takeover
from tests.faults.expected import Comparison


@pytest.mark.parametrize(("partitions", "expected"), [([16], 0), ([5, 5, 6], 1), ([2, 14], 12)])
def test_unfairness_is_the_largest_share_less_the_smallest(partitions: list[int], expected: int) -> None:
    assert unfairness(partitions) == expected


def samples(*values: tuple[float, int, int]) -> list[Sample]:
    return [Sample(*one) for one in values]


def test_a_gap_is_time_in_which_rows_wait_and_nothing_is_committed() -> None:
    waits = samples((0, 0, 9), (1, 5, 9), (2, 5, 9), (4, 5, 9), (5, 6, 9), (6, 6, 9))
    assert gaps(waits) == [4, 1]


def test_nothing_that_waits_is_no_gap() -> None:
    assert gaps(samples((0, 5, 5), (3, 5, 5), (4, 5, 8), (6, 8, 8), (9, 8, 8))) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_gaps_are_never_longer_than_the_time_they_are_part_of(steps: list[tuple[int, int]]) -> None:
    committed = np.cumsum([more for more, _ in steps])
    sent = committed + [ahead for _, ahead in steps]
    found = gaps(
        [Sample(float(at), int(c), int(s)) for at, (c, s) in enumerate(zip(committed, sent, strict=True))]
    )
    assert all(one > 0 for one in found)
    assert sum(found) <= len(steps) - 1


def test_a_rate_needs_its_processor_time_at_the_given_load() -> None:
    need = needs(Cost(5.0, 25.0, 1.0, 40.0, 220.0, 40.0), rows_per_second=1e6, load=0.5)
    assert (need.cores, need.partitions) == (80, 160)
    assert (need.mb_in, need.mb_out) == pytest.approx((220.0, 40.0))


def test_a_table_is_markdown() -> None:
    assert table(("what", "n"), [("a", 1234), ("b", 0.12345), ("c", 12345.6)]).splitlines() == [
        "| what | n |",
        "| --- | ---: |",
        "| a | 1,234 |",
        "| b | 0.123 |",
        "| c | 12,346 |",
    ]


def test_groups_are_compared_with_one_member() -> None:
    found = [Capacity(1, 0, 5.0, 20_000.0, 40.0), Capacity(2, 0, 6.0, 30_000.0, 42.0)]
    assert groups_table(found).splitlines()[-1] == "| 2 | 0 | 6 | 30,000 | 42 | 1.05 |"


def test_the_rest_of_a_row_is_what_no_step_spent() -> None:
    text = cost_tables(Cost(5.0, 25.0, 1.0, 40.0, 220.0, 40.0))
    assert "| client and service | 9 |" in text
    assert "| cores, one a member | 67 |" in text


def test_takeovers_have_median_and_longest() -> None:
    assert takeover_table([Takeover("SIGKILL", [10.0, 21.0, 12.0])]).endswith("| SIGKILL | 3 | 12 | 21 |")


def test_rebalances_are_right_only_if_every_output_is() -> None:
    right = Rebalanced(50, 100.0, [1.0, 3.0], {"verdicts": Comparison(10, 0, 0, 0)}, [])
    assert right.is_right
    assert "| longest of these waits, s | 3 |" in rebalances_table(right)
    lost = Rebalanced(50, 100.0, [], {"verdicts": Comparison(10, 1, 0, 0)}, [])
    assert not lost.is_right
    assert "| verdicts | 10 | 1 | 0 | 0 | 0 |" in rebalances_table(lost)
    assert not Rebalanced(50, 100.0, [], {}, ["went back"]).is_right


def test_rows_go_on_where_they_ended_and_fill_each_partition_alike() -> None:
    first, second = rows(0, NUM_SERIES), rows(NUM_SERIES, NUM_SERIES)
    assert (second.timestamp_ns - first.timestamp_ns == 10**9).all()
    assert np.bincount(np.arange(NUM_SERIES) % NUM_PARTITIONS).tolist() == [10] * NUM_PARTITIONS


def test_each_series_has_a_fault_of_one_row_in_its_period() -> None:
    stream = Stream(7)
    faults = np.array([stream.is_faulty(WARMING_TICKS + at) for at in range(FAULT_EVERY)])
    assert (faults.sum(axis=0) == 1).all()
    assert not any(stream.is_faulty(at).any() for at in range(WARMING_TICKS))
