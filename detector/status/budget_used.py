"""How much of the alarm budget was used, for `/api/status`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from detector.incidents.budget_used import BudgetView


def budget_json(found: BudgetView, called_real: Set[str] = frozenset()) -> dict[str, Any]:
    """Return the account of the last budget period as plain values; `used` is None where it is unknown.

    Alarms that people called real do not use the budget, which is for false ones.

    Args:
        found: The account.
        called_real: Ids of incidents that people called real.
    """
    num_real = found.num_real(called_real)
    return {
        "budget": found.budget.words,
        "alarms": found.alarms,
        "real": num_real,
        "allowed": round(found.allowed, 3),
        "used": round((found.alarms - num_real) / found.allowed, 4) if found.allowed else None,
        "words": found.words(num_real),
        "covered_seconds": found.covered_seconds,
        "shared_by_series": found.budget.num_series,
        "series": found.num_series,
        "is_shared_by_many_more": found.is_shared_by_many_more,
    }


def budget_line(found: Mapping[str, Any]) -> str:
    """Return what was used in one line, from `budget_json`; empty before the first judged row."""
    if found["used"] is None:
        return ""
    alarms = "1 alarm" if found["alarms"] == 1 else f"{found['alarms']:,} alarms"
    real = f", {found['real']:,} of them real" if found["real"] else ""
    return f"{alarms} in the last {_time(found['covered_seconds'])}{real}; {found['words']}"


def budget_problem(found: Mapping[str, Any]) -> str:
    """Return that many more series share the budget than it was calibrated for; empty where they do not."""
    if found["used"] is None or not found["is_shared_by_many_more"]:
        return ""
    return (
        f"{found['series']:,} series share the alarm budget, which was calibrated for"
        f" {found['shared_by_series']:,}: expect more alarms than it says. Calibrate again with the number of"
        " series."
    )


def _time(seconds: float) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds >= 172_800 else f"{seconds / 3_600:.1f} hours"
