"""Calibration: levels and threshold come from the engine's results for rows that trained no weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from connectors.parquet.reader import Chunk
from connectors.records import Readings
from detector import Detector
from detector.artifact.spec import Artifact, PageLimit, Scoring, Threshold
from detector.calibration.alarm_budget import rows_per_event
from detector.engine.engine import Engine
from detector.scoring.ensemble_error import EnsembleError, level_of, log_statistics
from tests.support.artifacts import make_artifact
from trainer import fit
from trainer.calibrate import (
    QUANTILES,
    HeldOut,
    Residuals,
    calibrate,
    calibrated,
    describe_channels,
    held_out_residuals,
    held_out_statistics,
    residual_columns,
    unfitted_threshold,
    with_initial_levels,
)
from trainer.config import FitOptions, ModelOptions, ScoringOptions, TrainConfig, override
from trainer.data.channel_statistics import channel_statistics
from trainer.data.history import History, Segment, Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TooLittleDataError
from trainer.model_card import _lasting, model_card

SECOND = 10**9
LIMIT = PageLimit(alarms_a_row=0.01)
LENGTHS = {"a": 400, "b": 300, "c": 9, "d": 5}


def values_of(num_rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(num_rows)[:, None] * 0.3 + [0.0, 1.0]) + rng.normal(0, 0.1, (num_rows, 2))
    values[rng.random(values.shape) < 0.02] = np.nan
    return values


@pytest.fixture
def history() -> Iterator[History]:
    """Four series of different lengths; the longest has a gap of 40 rows in its last fifth."""
    chunks = []
    for seed, (name, num_rows) in enumerate(LENGTHS.items()):
        values, row = values_of(num_rows, seed), np.arange(num_rows)
        row[350:] += 40
        chunks.append(Chunk(row * SECOND, (name,), np.zeros(num_rows, np.int32), values, None, None))
    with build_history(lambda: iter(chunks), ("flow", "pressure"), SECOND, 3) as found:
        yield found


@pytest.fixture
def segments(history: History) -> tuple[Segment, ...]:
    return history.part("calibration", Shares(0.15, 0.2))


def artifact_of(delay: int = 0) -> Artifact:
    """Two members; the levels are those before calibration."""
    artifact = make_artifact(interval_ns=SECOND, more=[("linear", 4)], scoring=Scoring(delay))
    spec = replace(artifact.spec, members=with_initial_levels(artifact.spec.members, 2))
    return replace(artifact, spec=replace(spec, threshold=unfitted_threshold("1/week")))


@pytest.fixture
def artifact() -> Artifact:
    return artifact_of()


# Statistics of held-out rows


def engine_scores(artifact: Artifact, history: History, series: str) -> dict[int, float]:
    """Final scores of all rows of one series by row, of an engine that saw the whole of it."""
    engine, found = Engine(artifact), {}
    for whole in history.segments:
        if whole.series == series:
            values = history.read(whole.position, whole.stop)
            kept = ~np.isnan(values).all(axis=1)
            row = (whole.row + np.arange(whole.length))[kept]
            zeros = np.zeros(len(row), np.int32)
            result = engine.step(Readings((series,), zeros, row * SECOND, values[kept], zeros, row))
            found |= dict(zip(result.verdicts.timestamp_ns // SECOND, result.verdicts.score, strict=True))
    last = engine.flush().verdicts
    return found | dict(zip(last.timestamp_ns // SECOND, last.score, strict=True))


@pytest.mark.parametrize("at_once", [7, 100, 1 << 14])
@pytest.mark.parametrize("delay", [0, 3])
def test_held_out_statistics_are_those_of_an_engine_that_saw_it_all(
    at_once: int, delay: int, history: History, segments: tuple[Segment, ...]
) -> None:
    """But for the rows without any value, which have no verdict; the threshold stays at 1."""
    artifact = artifact_of(delay)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.calibrate._FEED_ROWS", at_once)
        held_out = held_out_statistics(artifact, history, segments)
    members = artifact.spec.members
    errors = EnsembleError(members, [member.settled for member in members]).errors(held_out.final)
    expected, numbers = [], []
    for number, segment in enumerate(segments):
        scores = engine_scores(artifact, history, segment.series)
        rows = range(segment.row, segment.row + segment.length)
        values = history.read(segment.position, segment.stop)
        empty = np.isnan(values).all(axis=1)
        expected += [scores[row] for row, is_empty in zip(rows, empty, strict=True) if not is_empty]
        numbers += [number] * int((~empty).sum())
    np.testing.assert_array_equal(errors, expected)
    np.testing.assert_array_equal(held_out.segment, numbers)
    assert np.isfinite(errors).sum() > 100


def test_fresh_statistics_are_those_of_an_engine_that_waits_for_nothing(
    history: History, segments: tuple[Segment, ...]
) -> None:
    waiting, causal = (held_out_statistics(artifact_of(delay), history, segments) for delay in (3, 0))
    np.testing.assert_array_equal(waiting.provisional, causal.final)
    np.testing.assert_array_equal(causal.provisional, causal.final)
    assert (waiting.final != waiting.provisional).any()


# Levels and threshold


def calibrated_on(
    history: History, artifact: Artifact, budget: str = "1/week", adaptive: bool = False
) -> Artifact:
    spec = replace(artifact.spec, threshold=unfitted_threshold(budget))
    return calibrate(spec, artifact.module, history, history.segments, adaptive)


def test_levels_are_those_of_each_member_s_statistics(history: History) -> None:
    artifact = artifact_of(delay=3)
    held_out = held_out_statistics(artifact, history, history.segments)
    found = calibrated_on(history, artifact).spec.members
    for kind, statistics in (("settled", held_out.final), ("fresh", held_out.provisional)):
        expected = [level_of(column) for column in log_statistics(statistics).T]
        assert [level for member in found for level in getattr(member, kind)] == expected
    assert found[0].settled != found[0].fresh


def test_errors_of_held_out_rows_lie_around_the_same_place_whatever_the_member_s_unit(
    history: History, artifact: Artifact
) -> None:
    """Their statistics differ a thousandfold; a hundredth of the rows of each exceeds the error 1."""
    held_out = held_out_statistics(artifact, history, history.segments)
    scaled = replace(held_out, final=held_out.final * [1.0, 1000.0, 1e-3, 1.0])
    for one in (held_out, scaled):
        found = calibrated(artifact.spec, artifact.module, one, adaptive=False)
        for at, member in enumerate(found.spec.members):
            alone = EnsembleError((member,), [member.settled])
            errors = alone.errors(one.final[:, 2 * at : 2 * at + 2])
            assert 0.002 <= (errors[np.isfinite(errors)] > 1).mean() <= 0.03


def test_a_causal_model_has_no_threshold_of_provisional_verdicts(history: History) -> None:
    causal, waiting = (calibrated_on(history, artifact_of(delay), "20/hour") for delay in (0, 3))
    assert causal.spec.threshold.fresh is None
    assert list(causal.held_out) == ["segment", "error"]
    assert list(waiting.held_out) == ["segment", "error", "fresh"]
    members = waiting.spec.members
    held_out = held_out_statistics(artifact_of(3), history, history.segments)
    first = EnsembleError(members, [member.fresh for member in members]).errors(held_out.provisional)
    np.testing.assert_array_equal(waiting.held_out["fresh"], first)
    assert waiting.spec.threshold.fresh is not None
    assert np.nanquantile(first, 0.9) < waiting.spec.threshold.fresh < 2 * np.nanmax(first)


def test_the_errors_kept_are_those_behind_the_threshold(history: History, artifact: Artifact) -> None:
    found = calibrated_on(history, artifact, "20/hour")
    errors = found.held_out["error"]
    known = errors[np.isfinite(errors)]
    assert len(known) == found.spec.threshold.parameters["rows"]
    assert known.max() == found.spec.threshold.parameters["largest"]
    np.testing.assert_array_equal(found.calibration["error"], np.quantile(known, QUANTILES))


def test_a_larger_budget_gives_a_lower_threshold(history: History, artifact: Artifact) -> None:
    thresholds = [calibrated_on(history, artifact, f"{n}/hour").spec.threshold for n in (1, 20, 100)]
    values = [threshold.value for threshold in thresholds]
    assert values[0] > values[1] > values[2] > 0
    assert {threshold.method for threshold in thresholds} == {"peaks_over_threshold"}
    assert [threshold.alarm_budget for threshold in thresholds] == ["1/hour", "20/hour", "100/hour"]
    assert {threshold.limit for threshold in thresholds} == {None}


def test_an_adapting_threshold_starts_lower_and_knows_its_budget(
    history: History, artifact: Artifact
) -> None:
    still, adapting = (
        calibrated_on(history, artifact, "1/hour", adaptive).spec.threshold for adaptive in (0, 1)
    )
    assert adapting.value < still.value
    assert adapting.limit is not None
    assert adapting.limit.alarms_a_row == 0.5 / rows_per_event("1/hour", SECOND)


def test_the_threshold_keeps_the_budget_on_the_calibration_rows(history: History, artifact: Artifact) -> None:
    found = calibrated_on(history, artifact, "60/hour")
    errors = found.held_out["error"]
    known = errors[np.isfinite(errors)] > found.spec.threshold.value
    num_events = np.count_nonzero(np.diff(known.astype(int)) == 1)
    allowed = len(known) / rows_per_event("60/hour", SECOND)
    assert 0 < num_events <= 2 * allowed


def test_the_calibration_table_has_the_quantiles_of_errors_and_residuals(
    history: History, artifact: Artifact
) -> None:
    everything = TrainingWindows(history, history.segments, np.zeros(2), np.ones(2), artifact.spec.window)
    residuals = held_out_residuals(artifact.module[0].autoencoder, everything)
    table = calibrated_on(history, artifact).calibration | residual_columns(artifact.spec, residuals)
    assert list(table) == ["quantile", "error", "residual:flow", "residual:pressure"]
    np.testing.assert_array_equal(table["quantile"], QUANTILES)
    for name in ("error", "residual:flow", "residual:pressure"):
        assert (np.diff(table[name]) >= 0).all()
        assert table[name][0] >= 0


def test_no_full_window_in_the_calibration_rows_is_too_little(history: History) -> None:
    artifact = make_artifact(interval_ns=SECOND, window=64)
    short = tuple(segment for segment in history.segments if segment.series in "cd")
    with pytest.raises(
        TooLittleDataError, match=r"^the calibration part has no full window of 64 rows: give more history"
    ):
        calibrate(artifact.spec, artifact.module, history, short, adaptive=False)


def test_rows_with_windows_of_the_short_member_alone_are_not_enough(artifact: Artifact) -> None:
    statistics = np.full((50, 4), 1.0)
    statistics[:, :2] = np.nan
    with pytest.raises(TooLittleDataError, match="no full window of 8 rows"):
        calibrated(
            artifact.spec,
            artifact.module,
            HeldOut(np.zeros(50, int), np.arange(50), statistics, statistics),
            adaptive=True,
        )


# Of a whole training

LINEAR = TrainConfig(
    model=ModelOptions(family="linear", window=8),
    fit=FitOptions(refit=False),
    scoring=ScoringOptions(alarm_budget="1/hour"),
)


def frame_of(noise: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Two sines a second; noise float64 [rows], its standard deviation."""
    rng = np.random.default_rng(seed)
    angle = np.arange(len(noise))[:, None] * 0.3 + [0.0, 1.0]
    values = np.sin(angle) + noise[:, None] * rng.standard_normal(angle.shape)
    index = pd.date_range("2026-01-01", periods=len(noise), freq="s", tz="UTC")
    return pd.DataFrame(values, index=index, columns=["flow", "pressure"])


def test_levels_and_threshold_come_from_held_out_rows_alone() -> None:
    """The last fifth: as it is, or noisier by far. The weights of the rows before stay the same."""
    noise = np.full(1_000, 0.05)
    noisy = np.where(np.arange(1_000) < 800, noise, 0.5)
    calm, loud = (fit(frame_of(one), config=LINEAR) for one in (noise, noisy))
    weights, other = calm.module.state_dict(), loud.module.state_dict()
    assert all(torch.equal(weights[name], other[name]) for name in weights)
    for before, after in zip(calm.spec.members[0].settled, loud.spec.members[0].settled, strict=True):
        assert after.high > before.high + 1.0
    assert loud.spec.channels[0].band > 3 * calm.spec.channels[0].band
    assert calm.spec.threshold.parameters["rows"] == 200  # the first window begins before the part
    assert len(calm.held_out["error"]) == 200


@pytest.mark.parametrize("family", ["linear", "conv"])
def test_a_calibrated_model_learns_from_the_held_out_rows_and_its_threshold_does_not(family: str) -> None:
    noise = np.where(np.arange(1_000) < 800, 0.05, 0.5)
    changes = {"model": {"family": family}, "fit": {"max_epochs": 1, "min_steps_per_epoch": 2}}
    config = override(LINEAR, None, changes)
    before = fit(frame_of(noise), config=config)
    after = fit(frame_of(noise), config=override(config, None, {"fit": {"refit": True}}))
    assert after.spec.threshold == before.spec.threshold
    assert after.spec.members == before.spec.members
    assert after.spec.channels == before.spec.channels
    np.testing.assert_array_equal(after.held_out["error"], before.held_out["error"])
    weights, newer = before.module.state_dict(), after.module.state_dict()
    taught = [name for name in weights if "autoencoder" in name or name.endswith(("joint", "alone"))]
    assert not any(torch.equal(weights[name], newer[name]) for name in taught)
    # What was far from normal is now known.
    frame = frame_of(noise).iloc[800:]
    scores = [np.nanmedian(Detector(one).score(frame)["score"]) for one in (before, after)]
    assert scores[1] < scores[0]


def test_a_threshold_that_training_rows_say_nothing_of() -> None:
    """Wild rows in the training part leave no trace in the errors behind the threshold."""
    noise = np.full(1_000, 0.05)
    noise[300:310] = 3.0
    artifact = fit(frame_of(noise), config=LINEAR)
    assert artifact.held_out["error"].max() == artifact.spec.threshold.parameters["largest"] < 3.0


def test_errors_that_grow_raise_the_threshold() -> None:
    """The same errors, in their order of time or shuffled."""
    artifact = artifact_of()
    rng = np.random.default_rng(0)
    statistics = np.exp(np.linspace(0.0, 3.0, 2_000)[:, None] + 0.3 * rng.standard_normal((2_000, 4)))
    number = np.zeros(2_000, np.int64)
    shuffled = statistics[rng.permutation(2_000)]
    growing, steady = (
        calibrated(
            artifact.spec, artifact.module, HeldOut(number, np.arange(len(one)), one, one), adaptive=False
        ).spec.threshold
        for one in (statistics, shuffled)
    )
    assert steady.parameters["drift"] < 1.1
    assert growing.parameters["drift"] > 1.3
    assert growing.value > 1.2 * steady.value


def test_delay_gives_provisional_verdicts_levels_of_their_own() -> None:
    noise = np.full(1_000, 0.05)
    causal, delayed = (
        fit(frame_of(noise), config=LINEAR.model_copy(update={"scoring": ScoringOptions(delay=delay)}))
        for delay in (0, 5)
    )
    (one,), (other,) = causal.spec.members, delayed.spec.members
    assert one.settled == one.fresh
    assert other.settled != other.fresh
    # Means over six windows vary less than one window.
    assert all(a.spread < b.spread for a, b in zip(other.settled, other.fresh, strict=True))
    assert causal.spec.threshold.fresh is None
    assert delayed.spec.threshold.fresh is not None


# Residuals and channels


class Offset(torch.nn.Module):
    """Reconstructs every value with an error that is the channel's own."""

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        return x_BWC - torch.tensor([0.5, 0.001])


def test_residuals_are_those_of_the_last_row_and_missing_values_stay_missing(history: History) -> None:
    windows = TrainingWindows(history, history.segments[:1], np.zeros(2), np.ones(2), 6)
    residuals = held_out_residuals(Offset(), windows)
    last = windows.spread(10**6)[:, -1]
    np.testing.assert_array_equal(np.isnan(residuals.values), np.isnan(last))
    np.testing.assert_allclose(residuals.quantile(0.99), [0.5, 0.001], atol=1e-6)


def test_a_channel_never_seen_has_no_band() -> None:
    residuals = Residuals(np.array([[1.0, np.nan], [-1.0, np.nan]], np.float32))
    np.testing.assert_allclose(residuals.quantile(0.5), [1.0, 0.0])


def test_channels_are_described_in_their_own_units(history: History) -> None:
    statistics = channel_statistics(history, history.segments, 8)
    residuals = Residuals(np.array([[0.5, -0.1], [-0.5, 0.1]], np.float32))
    ranges = {"pressure": (-2.0, 9.0)}
    flow, pressure = describe_channels(("flow", "pressure"), statistics, residuals, ranges, np.array([30, 0]))
    assert (flow.missing_rows, pressure.missing_rows) == (30, 0)
    assert (flow.center, flow.scale) == (statistics.center[0], statistics.scale[0])
    assert flow.band == pytest.approx(0.5 * statistics.scale[0])
    assert (flow.valid_min, flow.valid_max) == (None, None)
    assert (pressure.valid_min, pressure.valid_max) == (-2.0, 9.0)


def test_the_card_describes_the_model_and_its_limits(artifact: Artifact) -> None:
    training = {
        "rows": 1000,
        "num_series": 3,
        "fingerprint": "abc",
        "train": 65,
        "validation": 15,
        "calibration": 20,
        "epochs": 7,
        "stopped": "early stopping",
        "best_epoch": 5,
        "train_loss": 0.1234,
        "validation_loss": 0.2,
        "seed": 0,
    }
    card = model_card(replace(artifact.spec, training=training))
    for words in (
        "# pump\n",
        "An ensemble of autoencoders, conv (8 rows), linear (4 rows), over 2 channels, one row every 1 s.",
        "| trained on | 1000 rows of 3 series, fingerprint abc |",
        "| epochs | 7 (early stopping), best 5 |",
        "for 1/week false alarms per series |",
        "## Limits",
        "- The threshold is static: ",
        "- A series has its first score after 4 rows, full accuracy after 8 rows. It starts again after",
    ):
        assert words in card
    solved = model_card(replace(artifact.spec, training={**training, "epochs": 0, "stopped": "closed form"}))
    assert "| epochs | solved directly, no epochs |\n| threshold |" in solved
    only = replace(artifact.spec, members=artifact.spec.members[:1], training=training)
    adapting = replace(only, threshold=Threshold(1.0, "fixed", "1/week", limit=LIMIT))
    assert "A conv autoencoder of 8 rows over 2 channels, one row every 1 s." in model_card(only)
    assert "- The threshold stands still; many short, small alarms" in model_card(adapting)


_LARGER = "They must be larger than half the usual size"
_USUAL = "Departures of half the usual size add up while they last."


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, _USUAL),
        ({"flow": (9.0, 1.0)}, f"{_USUAL} Those of flow must be larger: it wanders."),
        (
            {"flow": (9.0, 1.0), "pressure": (9.0, 1.0)},
            f"Departures of flow, pressure add up while they last. {_LARGER}: they wander.",
        ),
        (
            {"flow": (0.0, 3.0)},
            f"{_USUAL} Small departures of flow do not add up: it wanders too much.",
        ),
        (
            {"flow": (0.0, 3.0), "pressure": (0.0, 3.0)},
            "Small departures of flow, pressure do not add up: they wander too much.",
        ),
    ],
)
def test_the_card_says_which_small_departures_add_up(
    artifact: Artifact, limits: dict[str, tuple[float, float]], words: str
) -> None:
    names = artifact.spec.channel_names
    chosen = [limits.get(name, (9.0, 0.25)) for name in names]
    limited = SimpleNamespace(threshold=[one for one, _ in chosen], allowance=[one for _, one in chosen])
    assert _lasting(SimpleNamespace(reference=limited, channel_names=names)) == f"- {words}\n"  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_channels", "least"), [(2, "1,500"), (13, "1,500"), (100, "1,600")])
def test_the_card_of_a_short_history_has_the_rows_that_are_needed(num_channels: int, least: str) -> None:
    spec = SimpleNamespace(reference=None, channels=range(num_channels))
    assert f"It needs {least} usable rows." in _lasting(spec)  # type: ignore[arg-type]
