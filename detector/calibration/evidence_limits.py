"""Share the alarm budget among the kinds of evidence that add up."""

from __future__ import annotations

from dataclasses import replace

from detector.artifact.budget_shares import budget_shares
from detector.artifact.drift import BLOCK_NS, Drift
from detector.artifact.spec import Spec
from detector.calibration.cumulative_threshold import calibrated_sums, cumulative_thresholds


def with_evidence_limits(spec: Spec, budget: str) -> Spec:
    """Return the description with thresholds of all sums that keep to their shares of a budget.

    Args:
        spec: The description, with what the thresholds are calibrated from.
        budget: Of one series, such as "1/week".
    """
    reference, season = spec.reference, spec.season
    sums = None if season is None else season.sums
    shares = budget_shares(spec)
    if reference is not None:
        reference = calibrated_sums(reference, budget, spec.interval_ns, shares.sums)
    if season is not None and sums is not None:
        limits = cumulative_thresholds(sums, budget, spec.interval_ns, shares.sums)
        season = replace(season, sums=replace(sums, threshold=limits))
    drift = None if spec.drift is None else _calibrated_drift(spec.drift, budget, shares.drift)
    return replace(spec, reference=reference, season=season, drift=drift)


def _calibrated_drift(drift: Drift, budget: str, share: float) -> Drift:
    """Return the drift with thresholds for a budget; an older one knows no variance and keeps them."""
    limits = drift.limits
    if not limits.tails or not any(limits.tails[-1]):
        return drift
    threshold = cumulative_thresholds(limits, budget, BLOCK_NS, share)
    return replace(drift, limits=replace(limits, threshold=threshold))
