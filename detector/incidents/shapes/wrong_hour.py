"""Whether a channel does what it usually does at another hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.incidents.shapes.knowledge import Knowledge
from detector.incidents.shapes.recent_rows import Stretch

if TYPE_CHECKING:
    from detector.incidents.incident import Incident

_HOUR_NS = 3_600_000_000_000
_LATE = (*(half / 2 for half in range(-24, 0)), *(half / 2 for half in range(1, 25)))
_LEAST_ROWS = 6
_BETTER = 0.5
"""Another hour, and not this one at another level, must explain the values with half of the distance."""


def hours_late(
    incident: Incident, rows: Stretch, channel: int, knowledge: Knowledge
) -> tuple[float, float] | None:
    """Return by how many hours a channel is late (above 0) or early, and how clearly; None: it is not.

    Args:
        incident: the incident.
        rows: the rows that are kept of it, and some before it.
        channel: the channel that is to blame.
        knowledge: what is usual at each time.
    """
    end_ns = rows.when[-1] if incident.end_ns is None else incident.end_ns
    inside = np.flatnonzero((rows.when >= incident.start_ns) & (rows.when <= end_ns))
    actual = rows.cells[inside, 0, channel].astype(np.float64)
    when = rows.when[inside]
    now = knowledge.usual_at(incident.series, when, channel)
    if now is None or len(inside) < _LEAST_ROWS:
        return None
    shifted = [
        knowledge.usual_at(incident.series, when - round(hours * _HOUR_NS), channel) for hours in _LATE
    ]
    distance = [np.inf if one is None else _distance(actual - one) for one in shifted]
    best = int(np.argmin(distance))
    left = actual - now
    other = min(_distance(left), _distance(left - np.nanmean(left)))
    if not distance[best] < _BETTER * other:
        return None
    return _LATE[best], round(1.0 - distance[best] / other, 3)


def _distance(left: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Return the root mean square; infinite where nothing is known."""
    known = left[np.isfinite(left)]
    return float(np.sqrt(np.mean(np.square(known)))) if len(known) >= _LEAST_ROWS else np.inf
