"""Turn opinions on incidents into feedback from which a threshold can learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from detector.artifact.spec import Threshold
from detector.calibration.feedback import Feedback, Opinion, feedback_on
from detector.errors import DetectorError

UNKNOWN_INCIDENT = "its incident is no longer there"
OTHER_VERSION = "its incident is of a version that this model does not have"
RULE = "no score raised its incident"
DAMAGED = "its incident is damaged"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Hold the feedback that opinions gave.

    feedback  one for each opinion that can be used, in the order of the opinions
    unused    how many opinions cannot be used, by the reason
    """

    feedback: tuple[Feedback, ...]
    unused: Mapping[str, int]


def gathered(
    opinions: Mapping[str, Opinion],
    incidents: Iterable[Mapping[str, Any]],
    threshold_of: Callable[[str], Threshold | None],
) -> Gathered:
    """Return the feedback of opinions on incidents.

    Args:
        opinions: the newest opinion on each incident, by the id of the incident.
        incidents: as `detector.delivery.messages.incident_json` writes them; the last of an id counts.
        threshold_of: gives the threshold of a version of the model; None where it does not exist.
    """
    known = {str(one.get("id")): one for one in incidents}
    found: list[Feedback] = []
    unused = Counter[str]()
    for name, opinion in opinions.items():
        one = _feedback(known.get(name), opinion, threshold_of)
        if isinstance(one, Feedback):
            found.append(one)
        else:
            unused[one] += 1
    return Gathered(tuple(found), dict(unused))


def with_newer(kept: Iterable[Feedback], newer: Iterable[Feedback]) -> tuple[Feedback, ...]:
    """Return one opinion on each incident: the newer one where both have it."""
    found = {one.incident: one for one in kept}
    return tuple((found | {one.incident: one for one in newer}).values())


def _feedback(
    incident: Mapping[str, Any] | None, opinion: Opinion, threshold_of: Callable[[str], Threshold | None]
) -> Feedback | str:
    """Return the feedback, or why there is none."""
    if incident is None:
        return UNKNOWN_INCIDENT
    if incident.get("reason") != "score" or incident.get("peak_score") is None:
        return RULE
    threshold = threshold_of(str(incident.get("version")))
    if threshold is None:
        return OTHER_VERSION
    try:
        return feedback_on(incident, opinion, threshold)
    except DetectorError:
        return DAMAGED
