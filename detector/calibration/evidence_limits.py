"""Share the alarm budget among the kinds of evidence that add up."""

from __future__ import annotations

from dataclasses import replace

from detector.artifact.reference import BUDGET_SHARE
from detector.artifact.spec import Spec
from detector.calibration.cumulative_threshold import cumulative_thresholds


def with_evidence_limits(spec: Spec, budget: str) -> Spec:
    """Return the description with thresholds of all sums that together keep to half of a budget.

    Args:
        spec: The description, with what the thresholds are calibrated from.
        budget: Of one series, such as "1/week".
    """
    reference, season = spec.reference, spec.season
    sums = None if season is None else season.sums
    kinds = sum(one is not None for one in (reference, sums))
    share = BUDGET_SHARE / max(kinds, 1)
    if reference is not None:
        limits = cumulative_thresholds(reference, budget, spec.interval_ns, share)
        reference = replace(reference, threshold=limits)
    if season is not None and sums is not None:
        limits = cumulative_thresholds(sums, budget, spec.interval_ns, share)
        season = replace(season, sums=replace(sums, threshold=limits))
    return replace(spec, reference=reference, season=season)
