"""Divide the alarm budget among the kinds of evidence that a model has: all shares together are the whole.

The score has half. Drift, channels that never moved, channels that stand still and jobs that do not come have
a tenth each, where the model has them. What is left of the other half belongs to the sums of departures in
equal parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from detector.artifact.spec import PageLimit, Spec

SCORE = 0.5
"""Share of the budget for which the threshold is set, and at which its page level falls."""
SMALL = 0.1
"""Share of each kind that is rare."""


@dataclass(frozen=True, slots=True)
class BudgetShares:
    """Hold the share of the alarm budget of each kind of evidence, 0 where a model does not have it.

    score  of the threshold and its page level
    sums   of each kind of sums of departures: from the other channels, and from the clock
    drift  of slow departures
    moves  of channels that never moved in the history
    stuck  of channels that stand still for longer than in the history
    jobs   of short events that recur and do not come; training sets their limits by it
    """

    score: float
    sums: float
    drift: float
    moves: float
    stuck: float
    jobs: float


def budget_shares(spec: Spec) -> BudgetShares:
    """Return the shares of a model; with its `num_sums` kinds of sums they add up to 1, or less."""
    drift = SMALL * (spec.drift is not None)
    moves = SMALL * any(channel.law == "constant" for channel in spec.channels)
    stuck = SMALL * any(channel.flatline_rows > 0 for channel in spec.channels)
    jobs = SMALL * (spec.season is not None and len(spec.season.jobs) > 0)
    left = 1.0 - SCORE - drift - moves - stuck - jobs
    return BudgetShares(SCORE, left / max(num_sums(spec), 1), drift, moves, stuck, jobs)


def num_sums(spec: Spec) -> int:
    """Return how many kinds of sums of departures a model has: 0 to 2."""
    has_season = spec.season is not None and spec.season.sums is not None
    return int(spec.reference is not None) + int(has_season)


def limit_of(limit: PageLimit | None, share: float) -> PageLimit | None:
    """Return the page limit of a kind with this share of the budget.

    Args:
        limit: That of the score, which has half of the budget; None if nothing raises page levels.
        share: Of the kind.
    """
    return None if limit is None else replace(limit, alarms_a_row=limit.alarms_a_row * share / SCORE)
