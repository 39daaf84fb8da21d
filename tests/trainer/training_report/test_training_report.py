"""The report of a training: what it says, that it changes no digest, and that it costs little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from detector.artifact.registry import open_artifact
from streamgauge import main
from tests.detector.reports.reported import answers_of
from tests.support.sines import frame_of, write
from trainer import fit
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.training_report.realised import realised_events
from trainer.training_report.report import principal_plane, training_report

TINY = TrainConfig(
    model=ModelOptions(family="conv", nodes=8, layers=1, window=16),
    fit=FitOptions(max_epochs=2, min_steps_per_epoch=2, batch_size=32),
)


def test_train_writes_the_report_beside_an_artifact_that_stays_the_same(tmp_path: Path) -> None:
    history = write(tmp_path / "history.parquet", frame_of(1200))
    assert main(["train", str(history), "--out", str(tmp_path / "pump"), "--model", "linear"]) == 0
    artifact = open_artifact(tmp_path / "pump")
    directory = tmp_path / "pump" / artifact.version
    report = answers_of(directory / "report.html")["report"]
    assert report["card"] == artifact.card
    assert artifact.version in report["about"]
    manifest = json.loads((directory / "artifact.json").read_text())
    assert "report.html" not in manifest["files"]
    (directory / "report.html").unlink()
    assert open_artifact(tmp_path / "pump").version == artifact.version


def test_the_numbers_are_those_of_the_artifact() -> None:
    artifact = fit(frame_of(900), config=TINY)
    x_NWC = np.random.default_rng(3).normal(size=(40, artifact.spec.window, 3)).astype(np.float32)
    report = training_report(artifact, x_NWC)
    record = artifact.spec.training
    assert report["losses"]["train"] == record["train_losses"]
    assert len(report["losses"]["validation"]) == record["epochs"]
    quantiles = artifact.calibration["quantile"].tolist()
    for row in report["residuals"]:
        column = artifact.calibration[f"residual:{row['channel']}"]
        assert row["high"] == column[quantiles.index(0.99)]
    worst, best = report["windows"]["worst"], report["windows"]["best"]
    assert float(worst[0]["title"].split()[-1]) > float(best[0]["title"].split()[-1])
    assert len(report["latent"]["x"]) == len(report["latent"]["y"]) == 40


def test_without_held_out_windows_it_says_so() -> None:
    report = training_report(fit(frame_of(900), config=TINY), None)
    assert report["windows"]["worst"] == []
    assert report["latent"]["x"] is None
    assert "too few" in report["latent"]["words"]


@given(st.integers(3, 40), st.integers(2, 6), st.integers(0, 1000))
def test_the_plane_is_that_of_principal_components(num: int, size: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(num, size)) * np.arange(1, size + 1)
    found, share = principal_plane(points)
    oracle = PCA(2).fit(points)
    assert share == pytest.approx(oracle.explained_variance_ratio_.sum())
    assert np.allclose(np.abs(found), np.abs(oracle.transform(points)), atol=1e-4 * np.abs(points).max())


def test_more_budget_realises_more_events() -> None:
    errors = np.random.default_rng(1).standard_exponential(8_000)
    segments = np.zeros(8_000, np.int64)
    realised = [realised_events(errors, segments, events / 8_000) for events in (4, 16, 64)]
    assert realised == sorted(realised)
    assert realised[-1] == pytest.approx(64, rel=0.5)
