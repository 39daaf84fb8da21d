"""Fit what a window cannot see: the clock of the history, and what else it shows."""

from __future__ import annotations

from dataclasses import replace

from detector.artifact.season import Calendar
from detector.artifact.spec import Artifact
from detector.calibration.evidence_limits import with_evidence_limits
from trainer.context.fit_drift import fit_drift
from trainer.context.fit_season import fit_season
from trainer.context.fit_usual_error import with_usual_error
from trainer.data.history import History, Segment


def with_context(
    artifact: Artifact, history: History, segments: tuple[Segment, ...], calendar: Calendar
) -> Artifact:
    """Return the artifact with the context of its history, and limits that share the alarm budget.

    Args:
        artifact: The calibrated model, with its reference.
        history: The cleaned rows that it learnt from.
        segments: The held-out rows.
        calendar: The zone whose clock counts, and special days.
    """
    season, outcome = fit_season(artifact.spec, history, calendar)
    training = artifact.spec.training | {"season": outcome}
    spec = replace(artifact.spec, season=season, training=training)
    artifact = replace(artifact, spec=replace(spec, drift=fit_drift(spec, history)))
    artifact = with_usual_error(artifact, history, segments, calendar)
    spec = with_evidence_limits(artifact.spec, artifact.spec.threshold.alarm_budget)
    return replace(artifact, spec=spec)
