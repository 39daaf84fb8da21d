"""Verdicts written by hand, on an event clock: a row every 10 s."""

from __future__ import annotations

import numpy as np

from detector.incidents.incident import IncidentEvent
from detector.incidents.incidents import Incidents
from detector.incidents.rules import IncidentRules
from detector.scoring.verdicts import State, Verdicts

CHANNELS = ("flow", "pressure")
SECOND = 1_000_000_000
ROW = 10 * SECOND
BAD, GOOD = 1.5, 0.2


def verdicts(
    scores: list[float],
    series: str = "pump-1",
    start_s: int = 0,
    deviation: tuple[float, float] = (0.0, 1.0),
    expected: tuple[float, float] = (4.0, 8.0),
    contribution: tuple[float, float] = (0.1, 0.9),
    state: State | None = None,
) -> Verdicts:
    """One series' verdicts from `start_s` seconds on; NaN is a gap, above 1 anomalous, or all are `state`."""
    score = np.array(scores)
    states = np.where(np.isnan(score), State.GAP, np.where(score > 1, State.ANOMALOUS, State.OK))
    if state is not None:
        states[:] = state
    num = len(score)
    wanted = np.tile(expected, (num, 1)).astype(float)
    return Verdicts(
        (series,), np.zeros(num, np.int32), start_s * SECOND + np.arange(num) * ROW, score,
        states.astype(np.uint8), wanted + deviation, wanted, np.tile(np.float32(contribution), (num, 1)),
        np.ones(num), np.zeros((num, 2), np.bool_), states == State.ANOMALOUS, np.full(num, np.nan),
        np.zeros(num, np.uint8), np.full(num, -1, np.int16), np.full(num, -1, np.int16),
        np.zeros((num, 2), np.bool_), np.full(num, None, np.object_),
        np.zeros(num, np.bool_),
    )  # fmt: skip


def incidents_with(rules: IncidentRules) -> Incidents:
    return Incidents(rules, "pump", "v1", CHANNELS, lambda _: np.full(2, 0.25))


def seconds(events: tuple[IncidentEvent, ...]) -> list[tuple[str, int]]:
    """What happened, and when in seconds."""
    return [(event.kind, event.at_ns // SECOND) for event in events]
