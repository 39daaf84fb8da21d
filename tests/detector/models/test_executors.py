"""Which executor computes a model, and what one executor does with the state that another saved."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detector.artifact import storage
from detector.engine.engine import Engine
from detector.errors import ConfigError, DetectorError
from detector.models.arrays.families import ARRAY_FAMILIES
from detector.models.execution import choice
from detector.offline.autoencoder import Coder
from detector.offline.sample import sampled
from tests.support.artifacts import in_numpy, make_artifact
from tests.support.strategies import part, readings_of

ROOT = Path(__file__).parents[3]
LOADED = """
import sys
from pathlib import Path
import numpy as np
import detector.api, detector.service.daemon, detector.commands.backtest
from detector.artifact.registry import open_artifact
from detector.engine.engine import Engine
from tests.support.strategies import readings_of

for model in sys.argv[1:]:
    artifact = open_artifact(model)
    times = np.arange(40) * 10**9
    result = Engine(artifact).step(readings_of(np.zeros(40, int), times, np.ones((40, 2))))
    assert np.isfinite(result.verdicts.score).any()
    print(artifact.module.executor, sorted({"torch", "scipy"} & set(sys.modules)))
"""


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)


def test_torch_computes_where_it_is_and_numpy_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.util.find_spec("torch")
    assert [choice.choose(given) for given in (None, "", "torch", "numpy")] == [
        "torch",
        "torch",
        "torch",
        "numpy",
    ]
    without_torch(monkeypatch)
    assert [choice.choose(given) for given in (None, "", "numpy")] == ["numpy"] * 3


def test_an_executor_that_is_unknown_or_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="STREAMGAUGE_EXECUTOR is 'jax'; it must be one of torch, numpy"):
        choice.choose("jax")
    without_torch(monkeypatch)
    with pytest.raises(ConfigError, match=r"PyTorch is not installed; unset it, or .*streamgauge\[train\]"):
        choice.choose("torch")


def test_the_variable_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save(make_artifact(), tmp_path / "model")
    for name in choice.EXECUTORS:
        monkeypatch.setenv(choice.VARIABLE, name)
        assert storage.load(tmp_path / "model").module.executor == name


def test_nothing_of_the_detector_loads_torch_where_numpy_computes(tmp_path: Path) -> None:
    models = [tmp_path / family for family in ARRAY_FAMILIES]
    for model in models:
        storage.save(make_artifact(family=model.name), model)
    outcome = subprocess.run(
        [sys.executable, "-c", LOADED, *models],
        cwd=ROOT,
        env={"STREAMGAUGE_EXECUTOR": "numpy", "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines() == ["numpy []"] * len(models)


def test_numpy_encodes_and_reconstructs_and_leaves_sampling_to_torch() -> None:
    artifact = make_artifact(family="vae", window=12)
    other = in_numpy(artifact)
    x_NWC = np.random.default_rng(1).normal(size=(40, 12, 2)).astype(np.float32)
    one, two = Coder.of(artifact), Coder.of(other)
    np.testing.assert_allclose(two.encode(x_NWC), one.encode(x_NWC), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(two.reconstruct(x_NWC), one.reconstruct(x_NWC), rtol=1e-5, atol=1e-6)
    with pytest.raises(DetectorError, match=r"PyTorch generates windows.*streamgauge\[train\]"):
        next(sampled(other, 1))


def test_state_of_another_executor_goes_on_as_that_of_another_model() -> None:
    """Windows and open incidents continue, and the next snapshot is due at once."""
    artifact = make_artifact(threshold=0.5)
    values, times = np.random.default_rng(4).normal(size=(80, 2)), np.arange(80) * 10**9
    readings = readings_of(np.zeros(80, int), times, values)
    whole, first, second = Engine(artifact), Engine(artifact), Engine(in_numpy(artifact))
    assert first.origin.layout == second.origin.layout
    assert not second.origin.judges_like(first.origin)
    expected = [whole.step(readings), whole.flush()]
    before = [first.step(part(readings, 0, 40))]
    second.restore(first.save(np.array([0], np.int32)), 0, None)
    urgent = second.changed().urgent
    after = [second.step(part(readings, 40, 80)), second.flush()]
    scores, wanted = (
        np.concatenate([one.verdicts.score for one in results]) for results in (before + after, expected)
    )
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)
    ids, wanted_ids = (
        [(event.kind, event.incident.id) for one in results for event in one.incidents]
        for results in (before + after, expected)
    )
    assert ids == wanted_ids
    assert wanted_ids
    assert urgent.tolist() == [True]
