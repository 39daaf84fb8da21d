"""What is kept of a series where the old and the new model learnt different kinds of context."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from benchmarks.artifacts import with_season
from detector.artifact.drift import BLOCK_NS, Drift
from detector.artifact.spec import Artifact
from detector.artifact.sum_limits import SumLimits
from detector.engine.engine import Engine
from detector.scoring.kinds import Kind
from tests.detector.engine.test_handover import centred, engine_of, handed_over, levels
from tests.support.strategies import NAMES, part, readings_of

PARTS = ("season", "drift", "constant")
KINDS: tuple[tuple[str, ...], ...] = ((), *((name,) for name in PARTS), PARTS)


def drift(level: float = 0.0) -> Drift:
    limits = SumLimits((3.0, 3.0), (0.25, 0.25), (0.0, 0.0), (), 1)
    return Drift(((0.0, 0.0),) * 4, (0.2, 0.2), limits, {NAMES[0]: (level, level)})


def model(parts: tuple[str, ...]) -> Artifact:
    artifact = centred(10.0, 1.0, has_reference=True)
    if "season" in parts:
        artifact = with_season(artifact)
    spec = artifact.spec
    if "drift" in parts:
        spec = replace(spec, drift=drift())
    if "constant" in parts:
        channels = (replace(spec.channels[0], law="constant"), *spec.channels[1:])
        spec = replace(spec, channels=channels)
    return replace(artifact, spec=spec)


@pytest.mark.parametrize("by_reload", [True, False])
def test_a_model_of_other_parts_goes_on_or_begins_again_but_never_fails(by_reload: bool) -> None:
    readings = levels(400, 0.0)
    for before, after in permutations(KINDS, 2):
        engine = engine_of(model(before))
        engine.step(part(readings, 0, 200))
        engine = handed_over(engine, model(after), by_reload)
        scores = engine.step(part(readings, 200, 400)).verdicts.score
        assert np.isfinite(scores[-50:]).all(), (before, after)


@pytest.mark.parametrize("by_reload", [True, False])
@pytest.mark.parametrize("level", [0.0, 2.0])
def test_drift_goes_on_against_the_level_of_the_new_history(level: float, by_reload: bool) -> None:
    step = BLOCK_NS // 8
    values = np.random.default_rng(0).normal(10, 0.3, (900, 2))
    values[200:] += 2
    readings = readings_of(np.zeros(900, np.int64), np.arange(900) * step, values)
    engine: Engine = engine_of(slow(0.0, step))
    engine.step(part(readings, 0, 500))
    engine = handed_over(engine, slow(level, step), by_reload)
    kinds = engine.step(part(readings, 500, 900)).verdicts.kind
    assert (kinds[-8:] == Kind.DRIFT).any() == (level == 0.0)


def slow(level: float, step: int) -> Artifact:
    """A model that sees nothing but drift: its score is far below the threshold."""
    artifact = model(("drift",))
    threshold = replace(artifact.spec.threshold, value=1e6)
    spec = replace(artifact.spec, drift=drift(level), interval_ns=step, threshold=threshold, reference=None)
    return replace(artifact, spec=spec)
