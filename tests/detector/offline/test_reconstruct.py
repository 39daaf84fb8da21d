"""Reconstruction: less noise, better filled gaps, every window counted, what was observed kept on demand."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from detector import Detector
from detector.errors import DetectorError
from detector.offline.reconstruct import ReconstructOptions, reconstruct_parquet
from tests.support.artifacts import make_artifact
from tests.support.sines import CHANNELS, WINDOW, clean, frame_of, linear_artifact, write


def error(frame: pd.DataFrame, cells: np.ndarray | None = None) -> float:
    """Root mean square distance to the clean sines, each in units of its amplitude."""
    distance = (frame[CHANNELS].to_numpy() - clean(len(frame))) / [3.0, 0.2, 50.0]
    return float(np.sqrt(np.square(distance if cells is None else distance[cells]).mean()))


def holed(num_rows: int = 600) -> tuple[pd.DataFrame, np.ndarray]:
    """Noisy sines with runs of up to 8 missing values, and where they are."""
    frame, rng = frame_of(num_rows, seed=5), np.random.default_rng(2)
    missing = np.zeros(frame.shape, bool)
    for at in range(10, num_rows - 20, 15):
        missing[at : at + rng.integers(1, 9), rng.integers(3)] = True
    return frame.mask(missing), missing


def test_noise_is_left_out() -> None:
    frame = frame_of(600, seed=5)
    assert error(Detector(linear_artifact()).reconstruct(frame)) < 0.5 * error(frame)


def test_gaps_are_filled_better_than_by_the_last_value_and_better_the_more_rounds() -> None:
    frame, missing = holed()
    detector = Detector(linear_artifact())
    once, default, often = (
        error(detector.reconstruct(frame, rounds=rounds), missing) for rounds in (0, 3, 10)
    )
    assert default < 0.5 * error(frame.ffill(), missing)
    assert default < 0.8 * once
    assert often < 1.1 * default  # nothing diverges


def test_only_gaps_keeps_every_value_that_was_observed() -> None:
    frame, missing = holed()
    filled = Detector(linear_artifact()).reconstruct(frame, only_gaps=True)[CHANNELS].to_numpy()
    np.testing.assert_array_equal(filled[~missing], frame.to_numpy()[~missing])
    assert np.isfinite(filled).all()
    whole = Detector(linear_artifact()).reconstruct(frame)[CHANNELS].to_numpy()
    np.testing.assert_array_equal(filled[missing], whole[missing])


def test_a_row_is_the_mean_over_all_windows_that_hold_it() -> None:
    artifact = make_artifact(window=8)
    module = artifact.module[0].autoencoder
    values = np.random.default_rng(0).standard_normal((50, 2))
    index = pd.date_range("2026-01-01", periods=50, freq="s", tz="UTC")
    found = Detector(artifact).reconstruct(pd.DataFrame(values, columns=["flow", "pressure"], index=index))
    total, count = np.zeros((50, 2)), np.zeros((50, 1))
    for at in range(50 - 8 + 1):
        with torch.inference_mode():
            window = module(torch.from_numpy(values[None, at : at + 8].astype(np.float32)))
        total[at : at + 8] += window[0].numpy()
        count[at : at + 8] += 1
    np.testing.assert_allclose(found[["flow", "pressure"]], total / count, atol=1e-5)


def test_the_file_has_the_frames_rows_whatever_the_order_of_the_inputs(tmp_path: Path) -> None:
    one, two = frame_of(500).assign(series="one"), frame_of(300, seed=1).assign(series="two")
    frame = pd.concat([one, two]).sample(frac=1, random_state=0)
    data = write(tmp_path / "data.parquet", frame, row_group_size=64)
    outcome = reconstruct_parquet(linear_artifact(), data, tmp_path / "clean.parquet")
    written = pd.read_parquet(tmp_path / "clean.parquet")
    assert list(written.columns) == ["timestamp", "series", *CHANNELS]
    written = written.sort_values(["series", "timestamp"])
    expected = Detector(linear_artifact()).reconstruct(frame)
    assert outcome.rows == len(written) == 800
    assert outcome.windows == 800 - 2 * (WINDOW - 1)
    assert list(written["series"]) == list(expected["series"])
    assert list(written["timestamp"]) == list(expected.index)
    np.testing.assert_allclose(written[CHANNELS], expected[CHANNELS], rtol=1e-6)


def test_short_gaps_get_rows_and_long_ones_none(tmp_path: Path) -> None:
    frame = frame_of(120)
    frame = frame.drop(frame.index[[*range(30, 35), *range(60, 66)]])  # max_gap is 5
    frame.iloc[3, 0] = np.nan
    data = write(tmp_path / "data.parquet", frame)
    options = ReconstructOptions(only_gaps=True)
    outcome = reconstruct_parquet(linear_artifact(), data, tmp_path / "filled.parquet", options)
    written = pd.read_parquet(tmp_path / "filled.parquet").set_index("timestamp")
    assert list(written.index) == list(frame_of(120).index.delete(range(60, 66)))
    assert np.isfinite(written[CHANNELS]).all(axis=None)
    assert (outcome.filled, outcome.missing, outcome.long_gaps, outcome.uncovered) == (5 * 3 + 1, 0, 1, 0)


def test_rows_of_a_stretch_that_is_too_short_stay_unknown(tmp_path: Path) -> None:
    frame = frame_of(60).drop(frame_of(60).index[40:50])  # 40 rows, and 10 that hold no window
    data = write(tmp_path / "data.parquet", frame)
    outcome = reconstruct_parquet(linear_artifact(), data, tmp_path / "clean.parquet")
    written = pd.read_parquet(tmp_path / "clean.parquet")
    assert (outcome.rows, outcome.uncovered, outcome.missing) == (50, 10, 30)
    assert written[CHANNELS].isna().all(axis=1).tolist() == [False] * 40 + [True] * 10
    kept = Detector(linear_artifact()).reconstruct(frame, only_gaps=True)
    np.testing.assert_array_equal(kept[CHANNELS], frame)


def test_the_difference_to_what_was_observed_is_told(tmp_path: Path) -> None:
    frame, missing = holed()
    data = write(tmp_path / "data.parquet", frame)
    outcome = reconstruct_parquet(linear_artifact(), data, tmp_path / "clean.parquet")
    written = pd.read_parquet(tmp_path / "clean.parquet")[CHANNELS].to_numpy()
    squares = np.square(np.where(missing, np.nan, written - frame.to_numpy()))
    np.testing.assert_allclose(outcome.fidelity.rmse, np.sqrt(np.nanmean(squares, axis=0)))
    assert outcome.filled == missing.sum()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for num_rows in (60_000, 240_000):
        data = write(tmp_path / f"{num_rows}.parquet", frame_of(num_rows))
        tracemalloc.start()
        outcome = reconstruct_parquet(linear_artifact(), data, tmp_path / "clean.parquet")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert outcome.rows == num_rows
    assert peaks[1] < 1.2 * peaks[0]


def test_negative_rounds_are_refused() -> None:
    with pytest.raises(DetectorError, match="rounds is -1"):
        Detector(linear_artifact()).reconstruct(frame_of(100), rounds=-1)
