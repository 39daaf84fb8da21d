"""Contributions sum to 1 over the channels of a row, so that with the score they sum to the score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.models.whitening import Whitening
from detector.scoring.verdicts import State
from tests.support import sines
from tests.support.artifacts import make_artifact
from tests.support.strategies import readings_of

CHANNELS = ("flow", "pressure", "speed")


def whitened(artifact: Artifact, seed: int) -> Artifact:
    """The same model with correlated residuals: whitening matrices are not the identity."""
    torch.manual_seed(seed)
    for module in artifact.module.modules():
        if isinstance(module, Whitening):
            for name in ("joint", "rows", "channels", "alone"):
                matrix = getattr(module, name)
                matrix += 0.3 * torch.randn_like(matrix).triu()
            module.scale.mul_(torch.tensor([0.2, 1.0, 5.0]))
    return artifact


def rows_with_faults(seed: int) -> Readings:
    """Noise of one series, with a large departure, a hole and a stuck channel in it."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(120, len(CHANNELS)))
    values[40:50, 1] += 9.0
    values[60:64, 2] = np.nan
    values[80:100, 0] = values[80, 0]
    return readings_of(np.zeros(120, np.int64), np.arange(120) * 10**9, values)


@pytest.mark.parametrize("has_reference", [False, True])
@pytest.mark.parametrize("family", ["linear", "conv", "mlp", "gru", "vae"])
def test_contributions_of_a_whitening_model_sum_to_the_score(family: str, has_reference: bool) -> None:
    made = make_artifact(CHANNELS, family=family, flatline_rows=9, has_reference=has_reference, threshold=0.7)
    engine = Engine(whitened(made, 1))
    parts = [engine.step(rows_with_faults(3)).verdicts, engine.flush().verdicts]
    assert sum(map(len, parts)) >= 110
    states = set()
    for one in parts:
        known = ~np.isnan(one.score)
        parts_of_score = one.contribution[known] * one.score[known, None]
        np.testing.assert_allclose(np.nansum(parts_of_score, axis=1), one.score[known], rtol=1e-5)
        assert (np.nan_to_num(one.contribution) >= 0).all()
        states |= set(one.state[known].tolist())
    assert {State.ANOMALOUS, State.FLATLINE} <= states


def test_a_trained_model_blames_the_channel_with_the_fault_by_its_own_unit() -> None:
    artifact = sines.linear_artifact()
    rows = sines.frame_of(200, seed=4).to_numpy()
    for at, noise in enumerate(sines.NOISE):
        faulty = rows.copy()
        faulty[150:153, at] += 12 * noise
        engine = Engine(artifact)
        found = engine.step(readings_of(np.zeros(200, np.int64), np.arange(200) * 10**9, faulty)).verdicts
        row = int(np.flatnonzero(found.timestamp_ns == 151 * 10**9)[0])
        assert found.contribution[row].argmax() == at
        assert found.contribution[row].sum() == pytest.approx(1.0, rel=1e-6)
