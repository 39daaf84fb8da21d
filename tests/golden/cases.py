"""Engines and streams whose verdicts `verdicts.json` records: every family, gaps, delays and rules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from connectors.records import Readings
from detector.artifact.spec import Artifact, PageLimit, Scoring
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.snapshot import encode_state
from detector.incidents.rules import IncidentRules
from detector.models.families import FAMILIES
from tests.support.artifacts import make_artifact
from tests.support.strategies import EVERY_RULE, INTERVAL_NS, part, readings_of, restless

CUTS = 7
LIMIT = PageLimit(alarms_a_row=0.002)


def gappy(num: int = 1500) -> Readings:
    """Restless readings with missing cells, missing rows, disorder and a channel that sticks for a while."""
    readings = restless(num)
    rng = np.random.default_rng(11)
    values = readings.values.copy()
    values[rng.random(values.shape) < 0.05] = np.nan
    values[900:1020, 1] = 0.25
    kept = np.flatnonzero(rng.random(num) > 0.08)
    kept = kept[np.argsort(kept + rng.integers(0, 4, len(kept)), kind="stable")]
    return readings_of(readings.partition[kept], readings.timestamp_ns[kept], values[kept])


def artifact_of(family: str, **options: Any) -> Artifact:
    return make_artifact(family=family, interval_ns=INTERVAL_NS, **({"threshold": 0.8} | options))


ENSEMBLE = {"family": "conv", "window": 12, "more": [("linear", 12), ("mlp", 8), ("lstm", 4)]}
CASES: dict[str, Callable[[], tuple[Artifact, IncidentRules]]] = {
    **{family: lambda family=family: (artifact_of(family), IncidentRules()) for family in FAMILIES},
    "one channel": lambda: (
        make_artifact(("flow",), interval_ns=INTERVAL_NS, threshold=0.8),
        IncidentRules(),
    ),
    "ensemble": lambda: (artifact_of(**ENSEMBLE), EVERY_RULE),
    "ensemble, delayed, limited": lambda: (
        artifact_of(**ENSEMBLE, scoring=Scoring(5), limit=LIMIT, flatline_rows=20),
        IncidentRules(),
    ),
    "strided": lambda: (artifact_of("conv", stride=3, scoring=Scoring(2)), EVERY_RULE),
    "limited": lambda: (artifact_of("deep", limit=LIMIT, flatline_rows=20), EVERY_RULE),
}


def readings_for(artifact: Artifact) -> Readings:
    readings = gappy()
    if len(artifact.spec.channels) == 2:
        return readings
    return readings_of(readings.partition, readings.timestamp_ns, readings.values[:, :1])


def engine_for(name: str) -> Engine:
    artifact, rules = CASES[name]()
    options = EngineOptions(lateness_ns=3 * INTERVAL_NS, stale_after_ns=50 * INTERVAL_NS, rules=rules)
    return Engine(artifact, options)


def halves(engine: Engine) -> tuple[list[StepResult], list[bytes], list[StepResult]]:
    """The results of the first half of the stream, the snapshots at its middle, the results of the rest."""
    readings = readings_for(engine.artifact)
    bounds = np.linspace(0, len(readings), 2 * CUTS + 1).astype(int).tolist()
    first = [engine.step(part_of(readings, *cut)) for cut in pairwise(bounds[: CUTS + 1])]
    states = engine.save(engine.changed().slot)
    saved = [encode_state(state, bounds[CUTS]) for state in states]
    return first, saved, [*second(engine)]


def second(engine: Engine) -> list[StepResult]:
    """The results of the second half of the stream and of its end."""
    readings = readings_for(engine.artifact)
    bounds = np.linspace(0, len(readings), 2 * CUTS + 1).astype(int).tolist()[CUTS:]
    return [*(engine.step(part_of(readings, *cut)) for cut in pairwise(bounds)), engine.flush()]


def part_of(readings: Readings, start: int, stop: int) -> Readings:
    if readings.values.shape[1] == 2:
        return part(readings, start, stop)
    rows = slice(start, stop)
    return readings_of(readings.partition[rows], readings.timestamp_ns[rows], readings.values[rows])


def digest(results: list[StepResult], saved: list[bytes]) -> str:
    """A hash of every bit of the verdicts, provisional verdicts, incidents and snapshots."""
    whole = hashlib.sha256()
    for result in results:
        for verdicts in (result.verdicts, result.provisional):
            whole.update(repr(verdicts.names).encode())
            for column in (verdicts.series, verdicts.timestamp_ns, verdicts.score, verdicts.state):
                whole.update(column.tobytes())
            for column in (verdicts.actual, verdicts.expected, verdicts.contribution, verdicts.threshold):
                whole.update(column.tobytes())
        whole.update(repr(result.incidents).encode())
    for state in saved:
        whole.update(state)
    return whole.hexdigest()[:16]


def summary(name: str) -> dict[str, Any]:
    """What is recorded of a case: scores, states, incidents as plain values, and the digest of all bits."""
    first, saved, rest = halves(engine_for(name))
    results = [*first, *rest]
    scores = np.concatenate([result.verdicts.score for result in results])
    states = np.concatenate([result.verdicts.state for result in results])
    events = [
        [event.kind, event.at_ns, event.incident.id, event.incident.series, event.incident.opened_ns]
        for result in results
        for event in result.incidents
    ]
    return {
        "scores": [None if score != score else float(f"{score:.7g}") for score in scores.tolist()],
        "states": "".join(str(state) for state in states.tolist()),
        "events": events,
        "digest": digest(results, saved),
    }
