"""What other alarm budgets would have raised, for the slider of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget, shared_by
from detector.calibration.feedback import Feedback
from detector.calibration.recalibrate import recalibrated
from detector.engine.engine import EngineOptions
from detector.errors import ArtifactError
from detector.incidents.incident import Incident
from detector.offline.previews.preview import Followers, Raised

_MOST_LISTED = 100
_WORDS = (
    "Each budget has an engine of its own, calibrated as streamgauge calibrate would do it. Rows and"
    " rules are the same. Decisions of people are not repeated here."
)


@dataclass(frozen=True, slots=True)
class Slider:
    """The budgets of a report, whose engines follow its backtest.

    artifact   the model with which to run the backtest
    in_force   its budget
    followers  engines of the budgets; None: there are none
    is_own     whether the backtest itself is what `in_force` raises, so that no engine follows for it
    why_not    why there are no budgets, a sentence; empty if there are
    """

    artifact: Artifact
    in_force: str
    followers: Followers | None
    is_own: bool = False
    why_not: str = ""

    def as_json(self, incidents: Sequence[Incident]) -> dict[str, Any]:
        """Return `words` and `budgets`, None where there are none; call it when the backtest is over.

        Each budget has all its incidents, the first 100 of them listed.

        Args:
            incidents: of the backtest.
        """
        if self.followers is None:
            return {"budgets": None, "words": self.why_not}
        raised = list(self.followers.raised())
        if self.is_own:
            threshold = self.artifact.spec.threshold.value
            raised.append(Raised(self.in_force, threshold, tuple(incidents)))
        raised.sort(key=lambda one: parse_budget(one.budget))
        return {"budgets": [_budget(one, self.in_force) for one in raised], "words": _WORDS}


def slider_of(
    artifact: Artifact,
    budgets: Sequence[str],
    feedback: Sequence[Feedback],
    options: EngineOptions,
    has_decisions: bool,
) -> Slider:
    """Return the slider of a backtest that has not begun.

    Args:
        artifact: the model.
        budgets: each with the number of series that share it; without any there is no slider.
        feedback: opinions that are in force.
        options: rules, lateness and threads of the engine.
        has_decisions: whether the backtest repeats decisions, which the budgets do not.
    """
    spec = artifact.spec
    in_force = shared_by(spec.threshold.alarm_budget, spec.num_series)
    if not budgets:
        return Slider(artifact, in_force, None, why_not="No other budget was computed.")
    try:
        is_own = not has_decisions and recalibrated(artifact, in_force, feedback).spec == spec
        others = [one for one in budgets if one != in_force or not is_own]
        followers = Followers(artifact, others, feedback, options)
    except ArtifactError as error:
        return Slider(artifact, in_force, None, why_not=f"No other budget can be shown: {error}.")
    return Slider(followers.artifact, in_force, followers, is_own)


def _budget(one: Raised, in_force: str) -> dict[str, Any]:
    listed = one.incidents[:_MOST_LISTED]
    return {
        "alarm_budget": one.budget,
        "in_force": one.budget == in_force,
        "threshold": one.threshold,
        "alarms": one.alarms,
        "incidents": [_short(incident) for incident in listed],
        "left_out": len(one.incidents) - len(listed),
    }


def _short(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "series": incident.series,
        "start": incident.start_ns / 1e6,
        "reason": incident.reason,
        "peak_score": incident.known_peak,
    }
