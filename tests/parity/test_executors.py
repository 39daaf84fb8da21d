"""A model computed by NumPy finds what the same model finds in torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from connectors.parquet.writer import TableWriter
from detector.artifact import storage
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine, StepResult
from tests.support.artifacts import in_numpy
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day
from trainer.pipeline import fit_source, source_of

START_NS = 1_760_000_400_000_000_000
HOUR_NS = 3_600_000_000_000
PLANT = Plant(num_pumps=2, interval_seconds=60)
FAULTY = dataclasses.replace(PLANT, faults=faults_of_a_day(PLANT, START_NS))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An ensemble of three families, trained for a moment on a plant without faults."""
    file = tmp_path_factory.mktemp("plant") / "history.parquet"
    readings = PLANT.readings(START_NS - 30 * HOUR_NS, START_NS)
    columns = {name: readings.values[:, at] for at, name in enumerate(CHANNELS)}
    series = np.array(readings.names, dtype=object)[readings.series]
    with TableWriter(file, {"interval_s": "60"}) as writer:
        writer.write({"timestamp": readings.timestamp_ns, "series": series, **columns})
    model = ModelOptions(family="ensemble", members=["lstm:12", "linear:8", "memory:8"])
    fit = FitOptions(max_epochs=1, windows_per_epoch=1_000, refit=False)
    return fit_source(source_of(file), TrainConfig(name="plant", model=model, fit=fit))


def judged(artifact: Artifact) -> list[StepResult]:
    """The results of a day with faults, among them missing values."""
    readings = FAULTY.readings(START_NS, START_NS + 20 * HOUR_NS)
    values = readings.values.copy()
    values[np.random.default_rng(3).random(values.shape) < 0.01] = np.nan
    engine = Engine(artifact)
    return [engine.step(dataclasses.replace(readings, values=values)), engine.flush()]


def test_scores_and_incidents_are_those_of_torch(artifact: Artifact) -> None:
    found, expected = judged(in_numpy(artifact)), judged(artifact)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.verdicts.state, other.verdicts.state)
        np.testing.assert_array_equal(one.verdicts.paged, other.verdicts.paged)
        np.testing.assert_allclose(one.verdicts.score, other.verdicts.score, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(one.verdicts.expected, other.verdicts.expected, rtol=1e-5, atol=1e-4)
    changes, wanted = (
        [
            (e.kind, e.at_ns, e.incident.id, e.incident.severity, e.incident.start_ns, e.incident.end_ns)
            for result in results
            for e in result.incidents
        ]
        for results in (found, expected)
    )
    assert changes == wanted
    assert len(wanted) > 5


def test_an_artifact_keeps_its_bytes_through_numpy(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another alarm budget can be published where torch is not installed; the version is the same."""
    saved = storage.save(artifact, tmp_path / "torch")
    monkeypatch.setenv("STREAMGAUGE_EXECUTOR", "numpy")
    loaded = storage.load(tmp_path / "torch")
    assert loaded.module.executor == "numpy"
    again = storage.save(loaded, tmp_path / "numpy")
    assert again.version == saved.version == loaded.version
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("torch", "numpy")]
    assert weights[0] == weights[1]
