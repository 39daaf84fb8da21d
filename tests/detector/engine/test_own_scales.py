"""Series with their own scales are scored as if all had the same, wherever the state comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Artifact, OwnScale
from detector.engine.engine import Engine, StepResult
from detector.engine.snapshot import decode_state, encode_state
from detector.scoring.verdicts import Verdicts
from tests.support.artifacts import make_artifact

CHANNELS = ("flow", "pressure")


def with_own(artifact: Artifact, **scales: tuple[float, float]) -> Artifact:
    """The artifact with this centre and scale of every channel in each series."""
    names = artifact.spec.channel_names
    own = {name: tuple(OwnScale(one, *of) for one in names) for name, of in scales.items()}
    return replace(artifact, spec=replace(artifact.spec, own_scales=own))


def rows_of(num: int, num_channels: int, seed: int = 0) -> np.ndarray:
    """Noise around 0 with holes and one spike."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((num, num_channels))
    values[rng.random(values.shape) < 0.05] = np.nan
    values[-5, 0] = 40.0
    return values


def readings_of(series: dict[str, np.ndarray], start: int = 0) -> Readings:
    parts = list(series.values())
    names = np.repeat(np.arange(len(parts), dtype=np.int32), list(map(len, parts)))
    times = np.concatenate([(start + np.arange(len(one))) * 10**9 for one in parts])
    num = len(times)
    return Readings(
        tuple(series), names, times, np.concatenate(parts), np.zeros(num, np.int32), np.arange(num)
    )


def of(result: StepResult | Verdicts, name: str) -> Verdicts:
    verdicts = result.verdicts if isinstance(result, StepResult) else result
    return verdicts.take(verdicts.series == verdicts.names.index(name))


@pytest.mark.parametrize("family", ["linear", "conv", "gru"])
@settings(max_examples=8)
@given(
    power=st.integers(-20, 20), num_channels=st.integers(1, 3), seed=st.integers(0, 99), delay=st.booleans()
)
def test_the_units_of_a_series_do_not_matter_in_any_bit(
    family: str, power: int, num_channels: int, seed: int, delay: bool
) -> None:
    """A scale that is a power of two changes no digit, so that nothing may differ."""
    scale = 2.0**power
    channels = tuple(f"c{at}" for at in range(num_channels))
    more = [("linear", 4)] if delay else []
    artifact = with_own(make_artifact(channels, family=family, more=more), small=(0.0, scale))
    values = rows_of(40, num_channels, seed)
    verdicts = Engine(artifact).step(readings_of({"large": values, "small": values * scale}))
    large, small = of(verdicts, "large"), of(verdicts, "small")
    np.testing.assert_array_equal(small.score, large.score)
    np.testing.assert_array_equal(small.state, large.state)
    np.testing.assert_array_equal(small.contribution, large.contribution)
    np.testing.assert_array_equal(small.expected, large.expected * scale)
    assert np.nanmax(large.score) > 1


def test_incidents_have_the_band_of_their_series() -> None:
    artifact = with_own(make_artifact(threshold=0.5), small=(0.0, 0.25))
    values = rows_of(40, 2)
    values[20:] += 30.0
    events = Engine(artifact).step(readings_of({"large": values, "small": values * 0.25})).incidents
    opened = {event.incident.series: event.incident for event in events if event.kind == "opened"}
    for large, small in zip(opened["large"].channels, opened["small"].channels, strict=True):
        assert small.contribution == large.contribution
        assert (small.upper - small.lower) == pytest.approx(0.25 * (large.upper - large.lower))
        assert small.expected == pytest.approx(0.25 * large.expected)


def test_rows_of_an_unknown_series_are_judged_by_the_common_scale_and_counted() -> None:
    plain = make_artifact()
    artifact = with_own(plain, known=(5.0, 3.0))
    values = rows_of(30, 2)
    engine, other = Engine(artifact), Engine(plain)
    found = engine.step(readings_of({"known": values, "new": values}))
    np.testing.assert_array_equal(
        of(found, "new").score, other.step(readings_of({"new": values})).verdicts.score
    )
    assert engine.counters.common_scale_rows == 29  # the last row is still open
    assert other.counters.common_scale_rows == 0


def test_a_number_that_is_used_again_has_the_scale_of_its_new_series() -> None:
    artifact = with_own(make_artifact(), small=(0.0, 0.25))
    values = rows_of(30, 2)
    engine, fresh = Engine(artifact), Engine(artifact)
    engine.step(readings_of({"small": values * 0.25}))
    engine.drop([0])
    reused = engine.step(readings_of({"new": values}))
    np.testing.assert_array_equal(
        reused.verdicts.score, fresh.step(readings_of({"new": values})).verdicts.score
    )


def through_bytes(engine: Engine, into: Engine) -> Engine:
    states = engine.save(engine.changed().slot)
    decoded = [decode_state(one.name, encode_state(one, 0)) for one in states]
    into.restore([one[0] for one in decoded if one is not None], 0, None)
    return into


@settings(max_examples=8)
@given(cut=st.integers(1, 39), center=st.floats(-1e6, 1e6), power=st.floats(-6, 6))
def test_a_restart_goes_on_bit_by_bit(cut: int, center: float, power: float) -> None:
    artifact = with_own(make_artifact(more=[("linear", 4)]), small=(center, 10.0**power))
    values = {"large": rows_of(40, 2), "small": rows_of(40, 2) * 10.0**power + center}
    undisturbed, first = Engine(artifact), Engine(artifact)
    for engine in (undisturbed, first):
        engine.step(readings_of({name: rows[:cut] for name, rows in values.items()}))
    rest = readings_of({name: rows[cut:] for name, rows in values.items()}, cut)
    one, other = (
        engine.step(rest).verdicts for engine in (undisturbed, through_bytes(first, Engine(artifact)))
    )
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.expected, other.expected)


@pytest.mark.parametrize("reload", ["in the process", "after a restart"])
@pytest.mark.parametrize("others", [{}, {"small": (0.0, 4.0)}, {"large": (1.0, 8.0), "small": (0.5, 0.5)}])
def test_a_model_with_other_scales_takes_the_windows_over(
    others: dict[str, tuple[float, float]], reload: str
) -> None:
    """Windows are rows of the old model in its units; the next rows must fit them."""
    plain = make_artifact()
    old, new = Engine(with_own(plain, small=(0.0, 0.25))), Engine(with_own(plain, **others))
    values = {"large": rows_of(40, 2), "small": rows_of(40, 2, seed=1) * 0.25}
    before = readings_of({name: rows[:20] for name, rows in values.items()})
    rest = readings_of({name: rows[20:] for name, rows in values.items()}, 20)
    old.step(before)
    if reload == "in the process":
        old.take_over(new)
        running = old
    else:
        running = through_bytes(old, new)
    always = Engine(with_own(plain, **others))
    always.step(before)
    np.testing.assert_allclose(
        running.step(rest).verdicts.score, always.step(rest).verdicts.score, rtol=1e-4, atol=1e-6
    )
