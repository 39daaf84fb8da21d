"""The size of batches follows how long they take."""

from __future__ import annotations

import pytest

from connectors.kafka.batch_size import BatchSizer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sizes_at(each: float, fixed: float, num: int = 30, interval: float = 300.0) -> list[int]:
    """The sizes of so many batches where there is always enough to read."""
    clock = Clock()
    pace = BatchSizer(20_000, interval, clock)
    found = []
    for _ in range(num):
        found.append(pace.limit)
        pace.taken(pace.limit)
        clock.now += fixed + each * pace.limit
        pace.back()
    return found


def test_a_fast_model_gets_the_largest_batches() -> None:
    assert sizes_at(1e-5, 0.05)[-1] == 20_000


@pytest.mark.parametrize("each", [0.01, 0.1, 1.0])
def test_a_slow_model_gets_what_it_judges_in_two_seconds(each: float) -> None:
    assert sizes_at(each, 0.0)[-1] == pytest.approx(2.0 / each, abs=1)


def test_the_first_batch_is_small_enough_for_a_model_that_takes_a_second_a_message() -> None:
    assert max(sizes_at(1.0, 0.0)) * 1.0 < 300.0


def test_a_batch_takes_a_small_share_of_the_interval() -> None:
    assert sizes_at(0.002, 0.0, interval=6.0)[-1] == pytest.approx(100, abs=1)


def test_what_each_batch_costs_does_not_make_batches_smaller_and_smaller() -> None:
    assert sizes_at(1e-4, 5.0)[-1] >= 10_000
    assert sizes_at(1e-4, 1.0, interval=6.0)[-1] >= 1_000


def test_a_model_that_becomes_a_hundred_times_slower_is_noticed_with_the_next_batch() -> None:
    clock = Clock()
    pace = BatchSizer(20_000, 300.0, clock)
    for each in (*[1e-4] * 20, 1e-2):
        pace.taken(pace.limit)
        took = 0.1 + each * pace.limit
        clock.now += took
        pace.back()
    assert took < 300.0
    assert pace.limit == pytest.approx(200, rel=0.05)


def test_small_batches_for_want_of_messages_change_nothing() -> None:
    clock = Clock()
    pace = BatchSizer(20_000, 300.0, clock)
    before = pace.limit
    for _ in range(10):
        pace.taken(1)
        clock.now += 0.1
        pace.back()
    assert pace.limit == pytest.approx(before, abs=before)
    assert pace.limit >= 20
