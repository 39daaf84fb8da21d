"""The reference: a channel by the others alone, the same whatever the cut, and frozen."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import trainer
from connectors.records import Readings
from detector.artifact.reference import Reference, check_reference, reference_from
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.scoring.lasting.reference import BLOCK_ROWS, ReferenceResiduals, RunningMeans
from trainer.config import TrainConfig

NAMES = ("speed", "flow", "pressure", "noise")
ROWS = 6_000


def machine(num: int, seed: int) -> NDArray[np.float64]:
    """A pump: flow follows speed, pressure the square of speed; one channel has nothing to do with it."""
    rng = np.random.default_rng(seed)
    speed = np.repeat(rng.uniform(0.5, 1.0, num // 60 + 1), 60)[:num] + rng.normal(0, 0.02, num)
    flow = 60 * speed + rng.normal(0, 0.5, num)
    return np.stack([speed, flow, 6 * speed**2 + rng.normal(0, 0.05, num), rng.normal(0, 1, num)], axis=1)


def fitted(rows: NDArray[np.float64]) -> Artifact:
    index = pd.date_range("2026-01-01", periods=len(rows), freq="1min")
    frame = pd.DataFrame(rows, columns=list(NAMES), index=index)
    config = TrainConfig.model_validate({"fit": {"refit": False}})
    return trainer.fit(frame.assign(series="p"), model="linear", window=8, config=config)


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return fitted(machine(ROWS, 1))


def reference(artifact: Artifact) -> Reference:
    assert artifact.spec.reference is not None
    return artifact.spec.reference


def departures(artifact: Artifact, rows: NDArray[np.float64], sizes: list[int]) -> NDArray[np.float64]:
    residuals = ReferenceResiduals(reference(artifact))
    residuals.name(np.zeros(1, np.int32), ["p"])
    center, scale = artifact.spec.scales_of("p")
    scaled = ((rows - center) / scale).astype(np.float32)
    found, at = [], 0
    for size in sizes:
        row = np.arange(at, at + size)
        found.append(residuals.add(np.zeros(size, np.int32), row, scaled[at : at + size])[0])
        at += size
    return np.concatenate(found)


def test_healthy_rows_depart_by_one_spread_around_zero(artifact: Artifact) -> None:
    found = departures(artifact, machine(2_000, 7), [2_000])[64:]
    assert (np.abs(np.mean(found, axis=0)) < 0.25).all()
    assert (np.abs(np.std(found, axis=0) - 1.0) < 0.25).all()


@pytest.mark.parametrize("channel", range(4))
@pytest.mark.parametrize("size", [-2.0, 2.0])
def test_a_lasting_fault_departs_as_much_at_its_end_as_at_its_start(
    artifact: Artifact, channel: int, size: float
) -> None:
    rows = machine(4_000, 8)
    rows[500:, channel] += size * rows[:, channel].std()
    found = departures(artifact, rows, [4_000])[:, channel]
    assert np.sign(size) * found[500:600].mean() > 1.5
    assert np.sign(size) * found[3_900:].mean() > 1.5


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=2, max_size=8))
def test_departures_do_not_depend_on_the_cut(artifact: Artifact, sizes: list[int]) -> None:
    rows = machine(sum(sizes), 3)
    rows[::7, 1] = np.nan
    whole = departures(artifact, rows, [sum(sizes)])
    np.testing.assert_array_equal(departures(artifact, rows, sizes), whole)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_running_means_are_those_of_the_blocks_before(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = sum(sizes)
    steps = np.where(rng.random(num) < 0.1, rng.integers(1, 120, num), rng.integers(1, 3, num))
    row = np.cumsum(steps) + int(rng.integers(0, 100))
    values = rng.normal(0, 1, (num, 2)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    means = RunningMeans(2)
    cuts = np.cumsum(sizes)[:-1]
    pairs = zip(np.split(row, cuts), np.split(values, cuts), strict=True)
    found = np.concatenate([means.follow(np.zeros(len(r), np.int32), r, v) for r, v in pairs])
    for at in range(num):
        before = row[at] // BLOCK_ROWS - row[:at] // BLOCK_ROWS
        for place, span in enumerate((1, 4)):
            chosen = values[:at][(before >= 1) & (before <= span)]
            for channel in range(2):
                known = chosen[:, channel][~np.isnan(chosen[:, channel])]
                expected = known.astype(np.float64).mean() if len(known) else np.nan
                np.testing.assert_allclose(found[at, place, channel], expected, atol=1e-5)


def test_a_channel_whose_predictors_are_missing_is_unknown(artifact: Artifact) -> None:
    rows = machine(400, 5)
    rows[200:, 0] = np.nan
    rows[200:, 1] = np.nan
    found = departures(artifact, rows, [400])
    assert np.isnan(found[200:, 2]).all()
    assert not np.isnan(found[200:, 3]).any()


def test_what_was_before_a_gap_says_nothing_about_the_rows_after_it(artifact: Artifact) -> None:
    """A machine that stood before a gap of hours and runs after it departs in no channel."""
    rows = machine(400, 6)
    rows[:200, :3] = 0.0
    residuals = ReferenceResiduals(reference(artifact))
    residuals.name(np.zeros(1, np.int32), ["p"])
    center, scale = artifact.spec.scales_of("p")
    scaled = ((rows - center) / scale).astype(np.float32)
    row = np.where(np.arange(400) < 200, np.arange(400), np.arange(400) + 500)
    found = residuals.add(np.zeros(400, np.int32), row, scaled)[0][200:]
    assert np.isnan(found[: BLOCK_ROWS - row[200] % BLOCK_ROWS]).all()
    assert (np.abs(np.nanmean(found, axis=0)) < 0.5).all()


def test_rows_without_a_channel_do_not_set_the_spread_of_the_others() -> None:
    """A flow that is not judged while the machine stands: departures of running rows are of one spread."""
    rows = machine(ROWS, 1)
    stands = (np.arange(ROWS) // 150) % 3 == 0
    rows[stands, :3] = machine(ROWS, 2)[stands, 3:] * (0.01, 0.5, 0.01)
    rows[stands, 1] = np.nan
    model = fitted(rows)
    found = departures(model, rows, [ROWS])[~stands]
    assert (np.abs(np.nanmean(found, axis=0)) < 0.1).all()
    assert (np.abs(np.nanstd(found, axis=0) - 1.0) < 0.1).all()


@pytest.mark.parametrize("share", [0.002, 0.02])
def test_holes_in_the_history_hardly_raise_the_limits_of_large_departures(
    artifact: Artifact, share: float
) -> None:
    """Where a channel is missing, its mean stands in, and others seem to depart by many spreads."""
    rows = machine(ROWS, 1)
    rows[np.random.default_rng(3).random(rows.shape) < share] = np.nan
    whole, holed = reference(artifact), reference(fitted(rows))
    assert np.max(np.divide(holed.large_threshold, whole.large_threshold)) < 1.4


def test_a_short_history_has_no_reference_and_the_engine_counts_no_channel(artifact: Artifact) -> None:
    index = pd.date_range("2026-01-01", periods=1_400, freq="1min")
    frame = pd.DataFrame(machine(1_400, 1), columns=list(NAMES), index=index)
    short = trainer.fit(frame.assign(series="p"), model="linear", window=8)
    num = np.arange(1_600)
    none = np.zeros(1_600, np.int32)
    readings = Readings(("p",), none, num * 60 * 10**9 + 10**18, machine(1_600, 6), none, num)
    counted = []
    for model in (short, artifact):
        engine = Engine(model)
        engine.step(readings)
        counted.append((model.spec.reference is None, engine.cumulative_channels))
    assert counted == [(True, (0, 4)), (False, (4, 4))]


def test_the_description_is_read_back_and_checked(artifact: Artifact) -> None:
    raw = asdict(reference(artifact))
    assert reference_from(raw) == reference(artifact)
    check_reference(raw, 4)
    with pytest.raises(ValueError, match=r"reference\.spread"):
        check_reference(raw | {"spread": (1.0,)}, 4)
    with pytest.raises(ValueError, match=r"reference\.baseline"):
        check_reference(raw | {"baseline": (float("nan"),) * 4}, 4)


def test_an_older_description_without_large_departures_is_read_and_judges_as_before(
    artifact: Artifact,
) -> None:
    new = ("large_threshold", "large_tails", "change_usual", "change_knots", "change_factors")
    raw = {name: value for name, value in asdict(reference(artifact)).items() if name not in new}
    check_reference(raw, 4)
    old = reference_from(raw)
    assert old is not None
    assert old.large_threshold == ()
    spec = replace(artifact.spec, reference=old)
    engine = Engine(replace(artifact, spec=spec))
    num, none = np.arange(600), np.zeros(600, np.int32)
    rows = machine(600, 6)
    rows[500, 3] = 30.0
    found = engine.step(Readings(("p",), none, num * 60 * 10**9 + 10**18, rows, none, num)).verdicts
    assert np.nanmax(found.cumulative) < 0.9
