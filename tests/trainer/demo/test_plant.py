"""The simulated plant: the same values whatever the cut, and faults that are what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.demo.plant import CHANNELS, NOISE, Fault, Plant, faults_of_a_day

MINUTE_NS = 60_000_000_000
START_NS = 1_760_000_400_000_000_000
HOUR_NS = 60 * MINUTE_NS


def rows_of(plant: Plant, hours: float = 6) -> np.ndarray:
    first = START_NS // plant.interval_ns
    return np.arange(first, first + round(hours * HOUR_NS / plant.interval_ns))


def broken(kind: str, channel: str, magnitude: float = 0.0) -> tuple[np.ndarray, np.ndarray, slice]:
    """The channel of one pump healthy and with a fault from hour 2 to hour 4, and the rows of the fault."""
    fault = Fault(kind, "pump-01", channel, START_NS + 2 * HOUR_NS, START_NS + 4 * HOUR_NS, magnitude)
    healthy, faulty = Plant(num_pumps=1), Plant(num_pumps=1, faults=(fault,))
    at = CHANNELS.index(channel)
    rows = rows_of(healthy)
    per_hour = HOUR_NS // healthy.interval_ns
    part = slice(2 * per_hour, 4 * per_hour)
    np.testing.assert_array_equal(faulty.label(0, rows)[part], 1)
    assert faulty.label(0, rows).sum() == 2 * per_hour
    return healthy.values(0, rows)[:, at], faulty.values(0, rows)[:, at], part


def test_any_cut_of_time_has_the_same_readings() -> None:
    plant = Plant(num_pumps=3)
    whole = plant.readings(START_NS, START_NS + 6 * HOUR_NS)
    middle = START_NS + 2 * HOUR_NS + 17
    parts = [plant.readings(START_NS, middle), plant.readings(middle, START_NS + 6 * HOUR_NS)]
    for name in ("series", "timestamp_ns", "values"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_seeds_differ_and_repeat() -> None:
    rows = rows_of(Plant())
    first, again, other = (Plant(seed=seed).values(0, rows) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, equal_nan=True)


def test_readings_drop_out_rarely_and_times_lie_on_the_grid() -> None:
    plant = Plant(num_pumps=4)
    readings = plant.readings(START_NS, START_NS + 24 * HOUR_NS)
    expected = 4 * 24 * HOUR_NS // plant.interval_ns
    assert 0.99 * expected < len(readings) < expected
    assert (readings.timestamp_ns % plant.interval_ns == 0).all()
    assert 0.0005 < np.isnan(readings.values).mean() < 0.005


def test_channels_are_correlated_through_the_load() -> None:
    values = Plant().values(0, rows_of(Plant(), 48))
    values = values[~np.isnan(values).any(axis=1)]
    correlation = np.corrcoef(values.T)
    flow, current, speed, valve = (CHANNELS.index(name) for name in ("flow", "current", "speed", "valve"))
    assert min(correlation[flow, current], correlation[flow, speed], correlation[flow, valve]) > 0.95


def test_a_fault_touches_its_channel_and_its_time_alone() -> None:
    healthy, faulty, part = broken("drift", "bearing_temp", 10.0)
    outside = np.ones(len(healthy), bool)
    outside[part] = False
    np.testing.assert_array_equal(faulty[outside], healthy[outside])


def test_a_drift_grows_to_its_magnitude() -> None:
    healthy, faulty, part = broken("drift", "bearing_temp", 10.0)
    grown = faulty[part] - healthy[part]
    assert grown[0] == 0
    assert np.nanmax(grown) == pytest.approx(10, abs=0.1)
    assert (np.diff(grown[~np.isnan(grown)]) > 0).all()


def test_a_stuck_sensor_shows_one_value() -> None:
    _, faulty, part = broken("stuck", "flow")
    shown = faulty[part]
    assert len(np.unique(shown[~np.isnan(shown)])) == 1


def test_a_lost_correlation_keeps_the_range_but_not_the_course() -> None:
    healthy, faulty, part = broken("lost correlation", "current")
    both = ~np.isnan(healthy[part]) & ~np.isnan(faulty[part])
    assert np.std(faulty[part][both] - healthy[part][both]) > 5 * NOISE[CHANNELS.index("current")]
    assert 5 < np.nanmin(faulty) < np.nanmax(faulty) < 50


def test_an_oscillation_has_its_amplitude_around_the_healthy_course() -> None:
    healthy, faulty, part = broken("oscillation", "pressure", 0.5)
    added = (faulty - healthy)[part]
    assert np.nanmax(added) == pytest.approx(-np.nanmin(added), abs=0.02)
    assert abs(np.nanmean(added)) < 0.02


def test_the_days_plan_has_two_faults_of_each_kind() -> None:
    plant = Plant()
    faults = faults_of_a_day(plant, START_NS)
    kinds = [fault.kind for fault in faults]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(kinds, 2)
    assert len(set(kinds)) == 5
    assert all(START_NS <= f.start_ns < f.end_ns <= START_NS + 24 * HOUR_NS for f in faults)
    assert {f.series for f in faults} <= set(plant.series)
