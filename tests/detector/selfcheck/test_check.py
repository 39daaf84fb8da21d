"""The self-check: a healthy model passes, and every way of being deaf is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from detector.api import Detector
from detector.artifact.cold.cold_start import ColdStart
from detector.artifact.spec import Artifact
from detector.engine.values import EngineOptions
from detector.incidents.rules import ChannelRule, IncidentRules
from detector.models.ensemble import Ensemble
from detector.selfcheck.check import Sense, Situation, self_check
from detector.selfcheck.detectability import measured_again
from detector.selfcheck.recent_rows import RecentRows
from tests.support.sines import CHANNELS, WINDOW, frame_of
from trainer import fit
from trainer.config import ModelOptions, TrainConfig

MODEL = fit(frame_of(), config=TrainConfig(model=ModelOptions(family="linear", window=WINDOW, latent=4)))


def sense_of(
    artifact: Artifact, recent: pd.DataFrame | None = None, thresholds: tuple[float, ...] = ()
) -> Sense:
    """Return the outcome for a detector that has scored `recent` and has these thresholds in force."""
    rows = RecentRows(artifact.spec)
    if recent is not None:
        for verdicts in Detector(MODEL).replay(recent).verdicts:
            rows.add(verdicts)
    names = tuple(f"pump-{number}" for number in range(len(thresholds)))
    situation = Situation(artifact, EngineOptions(), rows.stretches(), names, np.array(thresholds))
    *_, outcome = self_check(situation)
    assert outcome is not None
    return outcome


def with_channel(artifact: Artifact, at: int, **changes: float) -> Artifact:
    channels = list(artifact.spec.channels)
    channels[at] = replace(channels[at], **changes)
    return replace(artifact, spec=replace(artifact.spec, channels=tuple(channels)))


def with_nan_weights(artifact: Artifact) -> Artifact:
    from detector.artifact.modules import build_members

    module = build_members(artifact.spec.members, len(artifact.spec.channels))
    weights = {name: value.clone() for name, value in artifact.module.state_dict().items()}
    module.load_state_dict({name: value * float("nan") for name, value in weights.items()})
    assert isinstance(module, Ensemble)
    return replace(artifact, module=module.eval())


@pytest.mark.parametrize("seed", range(12))
def test_a_healthy_model_finds_all_promised_faults_in_clean_rows(seed: int) -> None:
    outcome = sense_of(MODEL, frame_of(400, seed=100 + seed, start=1200), (1.0, 1.2))
    assert outcome == Sense("ok", dict.fromkeys(CHANNELS, 1.0))


def test_before_any_rows_the_sample_of_the_artifact_is_used() -> None:
    assert sense_of(MODEL).ratios == dict.fromkeys(CHANNELS, 1.0)


@pytest.mark.parametrize(
    "broken",
    [
        lambda model: with_channel(model, 1, scale=1e6 * model.spec.channels[1].scale),
        lambda model: replace(
            model, spec=replace(model.spec, threshold=replace(model.spec.threshold, value=1e3))
        ),
        with_nan_weights,
    ],
    ids=["scale", "threshold", "weights"],
)
def test_a_deaf_model_is_caught_with_the_reason(broken: Callable[[Artifact], Artifact]) -> None:
    outcome = sense_of(broken(MODEL))
    assert outcome.outcome == "deaf"
    assert outcome.ratios["pressure"] <= 0.5
    assert "promised to be found" in outcome.reasons["pressure"]


def test_a_threshold_in_force_of_a_hundred_times_makes_every_channel_deaf_and_names_the_series() -> None:
    outcome = sense_of(MODEL, thresholds=(1e4,))
    assert outcome.outcome == "deaf"
    assert set(outcome.reasons) == set(CHANNELS)
    assert "page levels have risen" in outcome.reasons["flow"]
    assert outcome.deaf_series == ("pump-0",)


def test_one_deaf_series_of_a_hundred_is_named_though_the_channels_are_well() -> None:
    outcome = sense_of(MODEL, thresholds=(*[1.0] * 99, 1e4))
    assert outcome.outcome == "deaf"
    assert outcome.reasons == {}
    assert (outcome.num_deaf, outcome.deaf_series) == (1, ("pump-99",))


def test_a_channel_without_values_is_deaf_and_the_others_are_not() -> None:
    recent = frame_of(400, seed=3, start=1200)
    rows = RecentRows(MODEL.spec)
    for verdicts in Detector(MODEL).replay(recent).verdicts:
        rows.add(verdicts)
    stretch = rows.stretches()[0]
    masked = stretch.copy()
    masked[:, 2] = np.nan
    *_, outcome = self_check(Situation(MODEL, EngineOptions(), [masked]))
    assert outcome is not None
    assert outcome.reasons == {"speed": "the channel has no values in recent rows"}
    assert outcome.ratios["speed"] == 0.0
    assert outcome.ratios["flow"] == 1.0


def test_the_rules_in_force_are_those_of_the_detector() -> None:
    narrow = IncidentRules(channels={"speed": ChannelRule(valid_max=1e-9)})
    *_, outcome = self_check(Situation(MODEL, EngineOptions(rules=narrow)))
    assert outcome is not None
    assert outcome.outcome == "ok"


def test_rows_that_alarm_by_themselves_are_not_taken_as_normal() -> None:
    noisy = np.random.default_rng(0).normal(size=MODEL.sample[0].shape) * 1e3
    *_, outcome = self_check(Situation(MODEL, EngineOptions(), [noisy]))
    assert outcome == sense_of(MODEL)


def test_a_model_without_a_table_is_unknown() -> None:
    old = replace(MODEL, spec=replace(MODEL.spec, detectable=()), sample=())
    assert sense_of(old) == Sense("unknown")


def test_a_self_check_is_deterministic() -> None:
    frame = frame_of(400, seed=8, start=1200)
    assert sense_of(MODEL, frame, (1.0,)) == sense_of(MODEL, frame, (1.0,))


def test_no_slice_scores_more_than_about_two_batches() -> None:
    slices = list(self_check(Situation(MODEL, EngineOptions())))
    assert len(slices) >= 4


def test_another_alarm_budget_measures_again() -> None:
    spec = MODEL.spec
    tighter = replace(
        MODEL, spec=replace(spec, threshold=replace(spec.threshold, value=spec.threshold.value * 3))
    )
    again = measured_again(tighter)
    before = {(one.channel, one.kind, one.rows): one.smallest for one in spec.detectable}
    after = {(one.channel, one.kind, one.rows): one.smallest for one in again.spec.detectable}
    assert after["flow", "spike", 1] > 2 * before["flow", "spike", 1]
    assert sense_of(again).outcome == "ok"


def test_rows_of_a_series_that_learnt_its_own_scales_are_not_taken() -> None:
    """Copies of rows are judged by the scales of the model, which are not those of a new series."""
    spec = replace(MODEL.spec, cold=ColdStart(("known", "another"), 64))
    rows = RecentRows(spec)
    for verdicts in Detector(MODEL).replay(frame_of(400, seed=3, start=1200)).verdicts:
        rows.add(verdicts)
        rows.add(replace(verdicts, names=("known",)))
    assert rows.series() == ("known",)
