"""Sampling: windows like those of the history, in its units, the same for the same seed."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from detector.artifact.spec import Artifact, Channel
from detector.errors import DetectorError
from detector.models import families as models
from detector.offline.sample import sample_parquet, sampled
from tests.support.artifacts import make_artifact
from tests.support.sines import CHANNELS, frame_of
from trainer import fit
from trainer.config import FitOptions, ModelOptions, TrainConfig

SECOND = 10**9


def vae(window: int = 8) -> Artifact:
    """An untrained variational autoencoder of two channels of different units."""
    artifact = make_artifact(family="vae", window=window)
    channels = (Channel("flow", 1000.0, 10.0, 2.0), Channel("pressure", -5.0, 0.1, 2.0))
    return replace(artifact, spec=replace(artifact.spec, channels=channels))


def frame(artifact: Artifact, num: int, seed: int = 0, start_ns: int = 0) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(block) for block in sampled(artifact, num, seed, start_ns)])


def test_every_sample_is_a_series_of_one_window_from_the_start_on() -> None:
    found = frame(vae(), 20, start_ns=1_700_000_000 * SECOND + 7)  # 16 a batch; the row that it lies in
    assert list(found.columns) == ["timestamp", "series", "flow", "pressure"]
    assert list(found["series"].unique()) == [f"sample-{number}" for number in range(20)]
    for _, part in found.groupby("series"):
        assert list(part["timestamp"]) == [(1_700_000_000 + row) * SECOND for row in range(8)]


def test_samples_are_in_the_channels_units() -> None:
    found = frame(vae(), 50)
    for name, center, scale in (("flow", 1000.0, 10.0), ("pressure", -5.0, 0.1)):
        assert abs(found[name].mean() - center) < 3 * scale
        assert 0.1 * scale < found[name].std() < 5 * scale


def test_the_seed_decides_and_the_number_does_not() -> None:
    artifact = vae()
    few, many, other = frame(artifact, 5), frame(artifact, 40), frame(artifact, 5, seed=1)
    pd.testing.assert_frame_equal(few, many.iloc[: len(few)])
    assert not np.allclose(few["flow"], other["flow"])


def test_samples_of_a_trained_model_resemble_its_history() -> None:
    history = frame_of(600)
    config = TrainConfig(
        model=ModelOptions(family="vae", window=16, latent=4, nodes=32),
        fit=FitOptions(max_epochs=20, min_steps_per_epoch=15, batch_size=64, device="cpu"),
    )
    found = frame(fit(history, config=config), 200)
    for name in CHANNELS:
        assert abs(found[name].mean() - history[name].mean()) < 0.25 * history[name].std()
        assert found[name].std() == pytest.approx(history[name].std(), rel=0.3)
        before = found.groupby("series")[name].shift()
        assert found[name].corr(before) > 0.5  # independent values: 0; the sines: 0.98 less their noise


def test_memory_does_not_grow_with_the_number(tmp_path: Path) -> None:
    artifact, peaks = vae(), []
    for num in (15_000, 45_000):
        tracemalloc.start()
        assert sample_parquet(artifact, tmp_path / "out.parquet", num) == num * 8
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pq.read_metadata(tmp_path / "out.parquet").num_rows == num * 8
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("family", sorted(set(models.FAMILIES) - {"vae"}))
def test_other_families_are_refused(family: str, tmp_path: Path) -> None:
    artifact = make_artifact(family=family)
    expected = f"family {family} cannot generate: train one with --model vae"
    with pytest.raises(DetectorError, match=expected):
        sample_parquet(artifact, tmp_path / "out.parquet", 3)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_mean_nothing_are_refused() -> None:
    with pytest.raises(DetectorError, match="number of windows is 0"):
        frame(vae(), 0)
    with pytest.raises(DetectorError, match="seed is -1"):
        frame(vae(), 1, seed=-1)
