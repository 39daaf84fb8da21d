"""Calibration: the threshold comes from the engine's own scores of rows that trained nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from connectors.parquet import Chunk
from connectors.records import Readings
from detector.artifact import Artifact
from detector.engine import Engine
from detector.threshold import rows_per_event
from tests.artifacts import make_artifact
from trainer.calibrate import (
    QUANTILES,
    Residuals,
    calibrate,
    describe_channels,
    held_out_errors,
    held_out_residuals,
    unfitted_threshold,
)
from trainer.card import model_card
from trainer.errors import TooLittleDataError
from trainer.history import History, Segment, Shares, build_history
from trainer.sampling import Windows
from trainer.scaling import channel_statistics

SECOND = 10**9
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


@pytest.fixture
def artifact() -> Artifact:
    return make_artifact(interval_ns=SECOND)


def engine_scores(artifact: Artifact, history: History, series: str) -> dict[int, float]:
    """Scores of all rows of one series by row, of an engine that saw the whole of it."""
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
def test_held_out_errors_are_the_scores_of_an_engine_that_saw_it_all(
    at_once: int, history: History, segments: tuple[Segment, ...], artifact: Artifact
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.calibrate._FEED_ROWS", at_once)
        errors, numbers = held_out_errors(artifact, history, segments)
    expected, expected_numbers = [], []
    for number, segment in enumerate(segments):
        scores = engine_scores(artifact, history, segment.series)
        expected += [scores[row] for row in range(segment.row, segment.row + segment.length)]
        expected_numbers += [number] * segment.length
    np.testing.assert_array_equal(errors, expected)
    np.testing.assert_array_equal(numbers, expected_numbers)
    assert np.isfinite(errors).sum() > 100


def calibrated(history: History, artifact: Artifact, budget: str) -> Artifact:
    everything = Windows(history, history.segments, np.zeros(2), np.ones(2), artifact.spec.window)
    residuals = held_out_residuals(artifact.module, everything)
    spec = replace(artifact.spec, threshold=unfitted_threshold(budget))
    return calibrate(spec, artifact.module, history, history.segments, residuals)


def test_a_larger_budget_gives_a_lower_threshold(history: History, artifact: Artifact) -> None:
    thresholds = [calibrated(history, artifact, f"{n}/hour").spec.threshold for n in (1, 20, 100)]
    values = [threshold.value for threshold in thresholds]
    assert values[0] > values[1] > values[2] > 0
    assert {threshold.method for threshold in thresholds} == {"peaks_over_threshold"}
    assert [threshold.alarm_budget for threshold in thresholds] == ["1/hour", "20/hour", "100/hour"]


def test_the_threshold_keeps_the_budget_on_the_rows_it_was_learnt_from(
    history: History, artifact: Artifact
) -> None:
    found = calibrated(history, artifact, "60/hour")
    errors, _ = held_out_errors(found, history, history.segments)
    known = errors[np.isfinite(errors)]
    num_events = np.count_nonzero(np.diff((known > 1.0).astype(int)) == 1)
    allowed = len(known) / rows_per_event("60/hour", SECOND)
    assert 0 < num_events <= 2 * allowed


def test_the_calibration_table_has_the_quantiles_of_errors_and_residuals(
    history: History, artifact: Artifact
) -> None:
    table = calibrated(history, artifact, "1/week").calibration
    assert list(table) == ["quantile", "error", "residual:flow", "residual:pressure"]
    np.testing.assert_array_equal(table["quantile"], QUANTILES)
    for name in ("error", "residual:flow", "residual:pressure"):
        assert (np.diff(table[name]) >= 0).all()
        assert table[name][0] >= 0


def test_no_full_window_in_the_calibration_rows_is_too_little(history: History) -> None:
    artifact = make_artifact(interval_ns=SECOND, window=64)
    short = tuple(segment for segment in history.segments if segment.series in "cd")
    residuals = Residuals(np.zeros((1, 2), np.float32))
    with pytest.raises(
        TooLittleDataError, match=r"^the calibration part has no full window of 64 rows: give more history"
    ):
        calibrate(artifact.spec, artifact.module, history, short, residuals)


# Residuals and channels


class Offset(torch.nn.Module):
    """Reconstructs every value with an error that is the channel's own."""

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        return x_BWC - torch.tensor([0.5, 0.001])


def test_residuals_are_those_of_the_last_row_and_missing_values_stay_missing(history: History) -> None:
    windows = Windows(history, history.segments[:1], np.zeros(2), np.ones(2), 6)
    residuals = held_out_residuals(Offset(), windows)
    last = windows.spread(10**6)[:, -1]
    np.testing.assert_array_equal(np.isnan(residuals.values), np.isnan(last))
    np.testing.assert_allclose(residuals.scale(), [0.5, 0.02], rtol=1e-5)
    np.testing.assert_allclose(residuals.quantile(0.99), [0.5, 0.001], atol=1e-6)


def test_a_channel_never_seen_has_the_smallest_scale_and_no_band() -> None:
    residuals = Residuals(np.array([[1.0, np.nan], [-1.0, np.nan]], np.float32))
    np.testing.assert_allclose(residuals.scale(), [1.0, 0.02])
    np.testing.assert_allclose(residuals.quantile(0.5), [1.0, 0.0])


def test_channels_are_described_in_their_own_units(history: History) -> None:
    statistics = channel_statistics(history, history.segments, 8)
    residuals = Residuals(np.array([[0.5, -0.1], [-0.5, 0.1]], np.float32))
    ranges = {"pressure": (-2.0, 9.0)}
    flow, pressure = describe_channels(("flow", "pressure"), statistics, residuals, ranges, plain=False)
    assert flow.residual_scale == pytest.approx(0.5)
    assert flow.band == pytest.approx(0.5 * statistics.scale[0])
    assert (flow.valid_min, flow.valid_max) == (None, None)
    assert (pressure.valid_min, pressure.valid_max) == (-2.0, 9.0)
    plain = describe_channels(("flow", "pressure"), statistics, residuals, {}, plain=True)
    assert [channel.residual_scale for channel in plain] == [1.0, 1.0]


def test_the_card_says_what_it_is_and_its_limits(artifact: Artifact) -> None:
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
        "A conv autoencoder over windows of 8 rows of 2 channels, one row every\n1 s.",
        "| trained on | 1000 rows of 3 series, fingerprint abc |",
        "| epochs | 7 (early stopping), best 5 |",
        "for 1/week false alarms a series |",
        "## Limits",
    ):
        assert words in card
