"""Which seasons a history shows: found where they are, not where they are not."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.context.fit_season import slot_seconds_of
from trainer.context.fit_usual_error import _chosen, _Peaks, _upper, _usual_error
from trainer.context.seasons import find_seasons
from trainer.context.slot_means import SlotMeans
from trainer.data.history import History, Segment
from trainer.data.series_rate import Rate

SLOTS = 48


def means_of(values: NDArray[np.float64], first_day: int = 4) -> SlotMeans:
    """Days of one series and channel, float64 [days, SLOTS]; day 4 since the epoch is a Monday."""
    day = first_day + np.arange(len(values))
    spread = np.full((*values.shape, 1), 0.01)
    return SlotMeans(("m",), np.zeros(len(day), np.int64), day, (day + 3) % 7, values[:, :, None], spread)


def noise(days: int, seed: int, memory: float) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=days * SLOTS) * np.sqrt(1 - memory**2)
    found = np.empty_like(steps)
    last = rng.normal()
    for at, step in enumerate(steps):
        last = found[at] = memory * last + step
    return found.reshape(days, SLOTS)


@pytest.mark.parametrize("days", [4, 10, 21, 60])
@pytest.mark.parametrize("memory", [0.0, 0.9, 0.98])
def test_noise_has_no_season(days: int, memory: float) -> None:
    found = [find_seasons(means_of(noise(days, seed, memory))) for seed in range(6)]
    assert sum(one is not None and one.kind[0] >= 0 for one in found) <= 1


@pytest.mark.parametrize("days", [5, 10, 21, 60])
@pytest.mark.parametrize("size", [2.0, 4.0])
def test_a_day_that_repeats_is_found(days: int, size: float) -> None:
    wave = size * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    found = find_seasons(means_of(wave + 0.5 * noise(days, 1, 0.8)))
    assert found is not None
    assert found.kind[0] == 0
    assert found.explains[0] > 0.4
    level = found.level[0, :, 0]
    assert np.abs(level - level.mean() - wave).max() < 1.2


def test_one_faulty_day_of_ten_moves_no_level() -> None:
    wave = 2.0 * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    values = wave + 0.1 * noise(10, 2, 0.5)
    values[6] = 8.0
    found = find_seasons(means_of(values))
    assert found is not None
    assert np.abs(found.level[0, :, 0] - wave).max() < 0.5


def test_weekends_need_three_weeks() -> None:
    day = np.arange(28) + 4
    wave = np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS)
    values = np.where((day % 7 >= 2)[:, None] & (day % 7 <= 3)[:, None], 0.1, 1.0) * wave
    values = values + 0.1 * noise(28, 3, 0.5)
    four_weeks, two_weeks = find_seasons(means_of(values)), find_seasons(means_of(values[:14]))
    assert four_weeks is not None
    assert two_weeks is not None
    assert (four_weeks.kind[0], two_weeks.kind[0]) == (1, 0)


@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_few_days_are_too_few(days: int) -> None:
    assert find_seasons(means_of(np.tile(np.arange(SLOTS, dtype=float), (days, 1)))) is None


@pytest.mark.parametrize("seconds", [1, 10, 300, 901, 3600, 10_000, 90_000])
def test_a_slot_divides_a_day(seconds: int) -> None:
    length = slot_seconds_of(seconds * 10**9)
    assert 86_400 % length == 0
    assert length >= min(seconds, 86_400)


def peaks(weeks: int, seed: int) -> _Peaks:
    rng = np.random.default_rng(seed)
    day = np.arange(7 * weeks)
    return _Peaks(np.log(0.3) + 0.2 * rng.normal(size=(7 * weeks, SLOTS)), day % 7, day)


def test_a_weekly_job_and_a_shift_change_are_usual_and_one_fault_is_not() -> None:
    made = peaks(6, 1)
    made.largest[made.weekday == 2, 20] = np.log(4.0)
    made.largest[:, 12] += np.log(2.5)
    made.largest[17, 30:36] = np.log(50.0)
    upper = _upper(made)
    assert upper is not None
    is_raised = upper > 0.0
    assert is_raised[2, 20]
    assert upper[2, 20] < np.log(16.0)
    assert upper[:, 12].min() > np.log(0.75)
    assert not is_raised[:, 30:36].any()
    assert is_raised[:, [at for at in range(SLOTS) if at not in (12, 20)]].sum() == 0


def test_a_job_of_three_weeks_is_not_usual_yet() -> None:
    made = peaks(3, 2)
    made.largest[made.weekday == 2, 20] = np.log(4.0)
    upper = _upper(made)
    assert upper is not None
    assert not np.isfinite(upper[:, 20]).any()


@pytest.mark.parametrize(("series", "days"), [(40, 5), (300, 1), (12, 28)])
@pytest.mark.parametrize("size", [1.0, 6.0])
def test_one_event_of_a_whole_plant_is_not_usual(series: int, days: int, size: float) -> None:
    rng = np.random.default_rng(series)
    day = np.tile(np.arange(days), series)
    largest = rng.normal(0.0, 0.3, (len(day), SLOTS))
    largest[day == 0, 20] += size
    upper = _upper(_Peaks(largest, day % 7, day))
    assert upper is not None
    assert not np.isfinite(upper).any()


@pytest.mark.parametrize("weeks", [4, 5, 6, 8])
@pytest.mark.parametrize("fault", [4.0, 6.0, 12.0, 40.0])
def test_one_fault_at_the_time_of_a_job_raises_its_factor_little(weeks: int, fault: float) -> None:
    made = peaks(weeks, 3)
    job = np.flatnonzero(made.weekday == 0)
    made.largest[job, 20] = 3.0 + 0.1 * np.random.default_rng(weeks).normal(size=weeks)
    clean = _upper(made)
    made.largest[job[2], 20] = fault
    faulty = _upper(made)
    assert clean is not None
    assert faulty is not None
    assert 3.0 < clean[0, 20] < 4.0
    assert 3.0 < faulty[0, 20] < 4.0


def test_no_factor_is_above_100() -> None:
    found = _usual_error(np.full((7, SLOTS), 12.0), 1.0)
    assert set(found.factors) == {100.0}


def test_a_weekly_job_of_many_series_is_usual() -> None:
    rng = np.random.default_rng(1)
    day = np.tile(np.arange(28), 10)
    largest = rng.normal(0.0, 0.3, (len(day), SLOTS))
    largest[day % 7 == 2, 20] += 3.0
    upper = _upper(_Peaks(largest, day % 7, day))
    assert upper is not None
    assert np.argwhere(np.isfinite(upper)).tolist() == [[2, 20]]


@pytest.mark.parametrize("num_series", [1, 5, 40, 300])
@pytest.mark.parametrize("minutes", [1, 10, 60])
def test_few_series_with_weeks_each_are_looked_at(num_series: int, minutes: int) -> None:
    a_day = 1440 // minutes
    days = [50 if at % 3 == 0 else 10 for at in range(num_series)]
    ends = np.cumsum(days) * a_day
    segments = tuple(
        Segment(f"s{at:03d}", 0, int(end) - own * a_day, own * a_day)
        for at, (own, end) in enumerate(zip(days, ends, strict=True))
    )
    rate = Rate(minutes * 60 * 10**9, {})
    with tempfile.TemporaryFile() as file:
        chosen = _chosen(History(file, ("x",), rate, segments, ""))
    assert chosen
    assert chosen <= {one.series for one in segments if one.length == 50 * a_day}
    assert len(chosen) == 1 or 300_000 // len(chosen) >= 28 * a_day
    assert len(chosen) == min((num_series + 2) // 3, 300_000 // (35 * a_day))
