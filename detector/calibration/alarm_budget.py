"""Alarm budgets such as "1/week" as numbers."""

from __future__ import annotations

import re

_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_629_800}
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([a-z]+?)s?\s*", re.IGNORECASE)


def parse_budget(text: str) -> float:
    """Events a second that a budget such as "1/week" allows each series.

    Raises ValueError, with what is allowed, for anything else.

    >>> round(1 / parse_budget("1/day"))
    86400
    """
    match = _BUDGET.fullmatch(text)
    unit = match.group(2).lower() if match else ""
    if match is None or unit not in _SECONDS or float(match.group(1)) <= 0:
        raise ValueError(
            f"alarm budget {text!r} is not NUMBER/UNIT, such as 1/week; units: {', '.join(_SECONDS)}"
        )
    return float(match.group(1)) / _SECONDS[unit]


def rows_per_event(budget: str, interval_ns: int) -> float:
    """Rows of one series in which the budget allows one false alarm event."""
    return 1e9 / (interval_ns * parse_budget(budget))
