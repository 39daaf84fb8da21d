"""What other alarm budgets would have raised, for the slider of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import shared_by
from detector.calibration.feedback import Feedback
from detector.engine.engine import EngineOptions
from detector.errors import ArtifactError
from detector.incidents.incident import Incident
from detector.offline.aligned_rows import OnRows, ignore_progress
from detector.offline.preview import Raised, budgets_like, preview

_MOST_LISTED = 100


def budgets_of(
    artifact: Artifact,
    data: Path,
    options: EngineOptions,
    feedback: Sequence[Feedback] = (),
    on_rows: OnRows = ignore_progress,
) -> dict[str, Any]:
    """Return what budgets would have raised, as `streamgauge calibrate --preview` computes it.

    The answer has `words` and `budgets`. Each budget has all its incidents, the first 100 of them listed.
    `budgets` is None where the model keeps no held-out errors; the words then say so.

    Args:
        artifact: the model.
        data: the history.
        options: rules, lateness and threads of the engine.
        feedback: opinions that are in force.
        on_rows: is called with the number of rows of each batch.

    Raises:
        ParquetError, DetectorError: the data cannot be used.
    """
    in_force = shared_by(artifact.spec.threshold.alarm_budget, artifact.spec.num_series)
    try:
        found = preview(artifact, data, budgets_like(in_force), feedback, options, on_rows)
    except ArtifactError as error:
        return {"budgets": None, "words": f"No other budget can be shown: {error}."}
    words = (
        "Each budget has an engine of its own, calibrated as streamgauge calibrate would do it. Rows and"
        " rules are the same. Decisions of people are not repeated here."
    )
    return {"budgets": [_budget(one, in_force) for one in found.raised], "words": words}


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
