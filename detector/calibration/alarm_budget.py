"""Read alarm budgets such as "1/week"."""

from __future__ import annotations

import re

_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_629_800}
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([a-z]+?)s?\s*", re.IGNORECASE)


def parse_budget(text: str) -> float:
    """Return the number of false alarms a second that a budget allows each series.

    Args:
        text: NUMBER/UNIT, such as "1/week" or "0.5/hour". The unit is minute, hour, day, week or month.

    Raises:
        ValueError: The text is not of that form, or its number is 0.

    >>> round(1 / parse_budget("1/day"))
    86400
    >>> parse_budget("0/week")
    Traceback (most recent call last):
    ValueError: alarm budget '0/week': the number must be above 0, such as 1/week
    """
    match = _BUDGET.fullmatch(text)
    unit = match.group(2).lower() if match else ""
    if match is None or unit not in _SECONDS:
        raise ValueError(
            f"alarm budget {text!r} is not NUMBER/UNIT, such as 1/week; units: {', '.join(_SECONDS)}"
        )
    number = float(match.group(1))
    if number <= 0:
        raise ValueError(f"alarm budget {text!r}: the number must be above 0, such as 1/{unit}")
    return number / _SECONDS[unit]


def rows_per_event(budget: str, interval_ns: int) -> float:
    """Return the number of rows of one series in which the budget allows one false alarm.

    Args:
        budget: An alarm budget such as "1/week".
        interval_ns: Length of a row in nanoseconds.

    Raises:
        ValueError: The budget cannot be read (`parse_budget`).

    >>> round(rows_per_event("1/day", interval_ns=60 * 10**9))  # rows of one minute
    1440
    """
    return 1e9 / (interval_ns * parse_budget(budget))
