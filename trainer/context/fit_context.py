"""Fit what a window cannot see: the clock of the history, and what else it shows."""

from __future__ import annotations

from dataclasses import replace

from detector.artifact.season import Calendar, Season
from detector.artifact.spec import Artifact
from detector.calibration.evidence_limits import with_evidence_limits
from trainer.context.fit_drift import fit_drift
from trainer.context.fit_season import fit_season, slot_seconds_of
from trainer.context.fit_usual_error import with_usual_error
from trainer.context.jobs import find_jobs
from trainer.data.history import History, Segment
from trainer.peers.fit_peers import fit_peers


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
    spec = replace(spec, drift=fit_drift(spec, history), peers=fit_peers(spec, history))
    artifact = replace(artifact, spec=spec)
    artifact = with_usual_error(artifact, history, segments, calendar)
    artifact = _with_jobs(artifact, history, calendar)
    spec = with_evidence_limits(artifact.spec, artifact.spec.threshold.alarm_budget)
    return replace(artifact, spec=spec)


def _with_jobs(artifact: Artifact, history: History, calendar: Calendar) -> Artifact:
    """Return the artifact with the short events that recur in the history."""
    spec = artifact.spec
    length = slot_seconds_of(max([history.interval_ns, *history.intervals.values()]))
    season = spec.season or Season(calendar, length)
    jobs = find_jobs(spec, history, calendar, season.slot_seconds)
    if not jobs:
        return artifact
    return replace(artifact, spec=replace(spec, season=replace(season, jobs=jobs)))
