"""Incidents that last: what is kept of their rows, and when the policy of their channels is due.

An incident that opened by its score and stays open for `lasting_after` is lasting. Then `on_lasting` applies.
`hold`: nothing follows. `offer`: one event, so that a person can decide. `learn`: its level is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.incidents.incident import LEVEL_REASONS, Incident, IncidentEvent, Stretch, Track
from detector.incidents.rules import IncidentRules, OnLasting

_MEMORY_ROWS = 1024
"""Rows after which a row counts 1/e in the mean: of a growing fault the newest level counts."""
_LEAST_SHARE = 0.5
"""A channel is to blame with at least so much of the greatest contribution."""


def blamed(incident: Incident) -> tuple[str, ...]:
    """Return the channels that the incident blames: those with at least half of the greatest contribution."""
    least = _LEAST_SHARE * max((one.contribution for one in incident.channels), default=0.0)
    return tuple(one.name for one in incident.channels if one.contribution >= least)


def due_policy(rules: IncidentRules, incident: Incident, at_ns: int) -> OnLasting | None:
    """Return what the rules say about an incident that lasts at `at_ns`; None while it is not due.

    An incident is never due if somebody rejected it, if it was offered already, or if it has another reason.
    """
    if incident.reason not in LEVEL_REASONS or incident.lasting_ns is not None or incident.is_rejected:
        return None
    if at_ns - incident.start_ns < rules.least_lasting_ns:
        return None
    policy, after_ns = rules.lasting_of(blamed(incident))
    return policy if at_ns - incident.start_ns >= after_ns else None


def offer(rules: IncidentRules, track: Track, at_ns: int) -> IncidentEvent | None:
    """Mark the open incident as lasting if that is due at `at_ns`, and return the event."""
    incident = track.incident
    if incident is None or due_policy(rules, incident, at_ns) != "offer":
        return None
    track.incident = replace(incident, lasting_ns=at_ns)
    return IncidentEvent("lasting", at_ns, track.incident)


def extend(track: Track, actual: NDArray[np.float64]) -> None:
    """Add a row of the open incident to the running sums, float64 [C]; NaN cells do not count."""
    if track.stretch is None:
        track.stretch = Stretch([0.0] * len(actual), [0.0] * len(actual))
    keep = 1.0 - 1.0 / _MEMORY_ROWS
    known = ~np.isnan(actual)
    for at, (value, is_known) in enumerate(zip(actual.tolist(), known.tolist(), strict=True)):
        if is_known:
            track.stretch.total[at] = track.stretch.total[at] * keep + value
            track.stretch.num[at] = track.stretch.num[at] * keep + 1.0


def stretch_for(stretch: Stretch, old: Sequence[str], new: Sequence[str]) -> Stretch:
    """Return the running sums of channels `old` as those of channels `new`; unknown channels begin at 0.

    >>> stretch_for(Stretch([7.0, 8.0], [1.0, 2.0]), ["flow", "heat"], ["heat", "speed"])
    Stretch(total=[8.0, 0.0], num=[2.0, 0.0])
    """
    place = {name: at for at, name in enumerate(old)}
    places = [place.get(name) for name in new]
    total, num = ([0.0 if at is None else one[at] for at in places] for one in (stretch.total, stretch.num))
    return Stretch(total, num)


def level_of(track: Track, num_channels: int) -> NDArray[np.float64]:
    """Return the level of each channel during the open incident, float64 [C]; NaN where it sent nothing."""
    if track.stretch is None:
        return np.full(num_channels, np.nan)
    num = np.array(track.stretch.num)
    return np.where(num > 0, np.array(track.stretch.total) / np.maximum(num, 1e-300), np.nan)
