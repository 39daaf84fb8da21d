"""Read alarm budgets such as "1/week" of each series, or "3/day in all" of everything that is judged.

A budget in all is shared by a number of series, which is that of the history. `shared_by` writes it into the
budget: "3/day in all of 40 series". The shares go by evidence and not by name. One threshold is common to all
series, and stands where the events of all of them together are expected so often. A noisy series takes more
of the budget than a calm one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECONDS = {
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "week": 604_800,
    "month": 2_629_800,
    "quarter": 7_889_400,
    "year": 31_557_600,
}
_BUDGET = re.compile(
    r"\s*(?P<number>\d+(?:\.\d+)?)\s*/\s*(?P<unit>[a-z]+?)s?"
    r"(?:\s+(?P<share>(?:a|per)\s+series|in\s+all(?:\s+of\s+(?P<series>\d+)\s+series)?))?\s*",
    re.IGNORECASE,
)
_MOST_SERIES = 10**9
_ENOUGH = 0.8
"""Allowed alarms from which on their share that was used says something. A week of one series has about 1."""


@dataclass(frozen=True, slots=True)
class AlarmBudget:
    """Hold an alarm budget that was read.

    number      of false alarms
    unit        of time in which they are allowed, such as "week"
    is_in_all   whether all series share it; otherwise each series has it
    num_series  number of series that share it; None where it is not stated, or where each series has it
    """

    number: float
    unit: str
    is_in_all: bool = False
    num_series: int | None = None

    def __str__(self) -> str:
        """Return the budget as a user writes it.

        >>> str(AlarmBudget(3.0, "day", is_in_all=True, num_series=40))
        '3/day in all of 40 series'
        """
        return self._rate + (f" {self._share}" if self.is_in_all else "")

    @property
    def unit_seconds(self) -> int:
        """Return the length of the unit in seconds."""
        return _SECONDS[self.unit]

    @property
    def words(self) -> str:
        """Return the budget with the words that say whose it is.

        >>> AlarmBudget(1.0, "week").words
        '1/week per series'
        """
        return f"{self._rate} {self._share}"

    @property
    def false_alarms(self) -> str:
        """Return the budget as a number of false alarms.

        >>> AlarmBudget(1.0, "week").false_alarms
        '1/week false alarms per series'
        """
        return f"{self._rate} false alarms {self._share}"

    @property
    def allowance(self) -> str:
        """Return the budget as a sentence has it.

        >>> AlarmBudget(1.0, "week").allowance, AlarmBudget(3.0, "hour", is_in_all=True).allowance
        ('1 a week per series', '3 an hour in all')
        """
        article = "an" if self.unit == "hour" else "a"
        return f"{self.number:.12g} {article} {self.unit} {self._share}"

    @property
    def _rate(self) -> str:
        return f"{self.number:.12g}/{self.unit}"

    @property
    def _share(self) -> str:
        if not self.is_in_all:
            return "per series"
        return "in all" if self.num_series is None else f"in all of {self.num_series} series"


def read_budget(text: str) -> AlarmBudget:
    """Return an alarm budget.

    Args:
        text: NUMBER/UNIT, such as "1/week" or "0.5/hour", for each series. "3/day in all" is for all series
            together, and "3/day in all of 200 series" states how many there are.

    Raises:
        ValueError: The text is not of that form, or a number is 0.

    >>> read_budget("2/hour in all").is_in_all
    True
    >>> read_budget("0/week")
    Traceback (most recent call last):
    ValueError: alarm budget '0/week': the number must be above 0, such as 1/week
    """
    match = _BUDGET.fullmatch(text)
    unit = match["unit"].lower() if match else ""
    if match is None or unit not in _SECONDS:
        raise ValueError(
            f"alarm budget {text!r} is not NUMBER/UNIT, such as 1/week for each series or '3/day in all';"
            f" units: {', '.join(_SECONDS)}"
        )
    number, share = float(match["number"]), (match["share"] or "").lower()
    is_in_all = share.startswith("in")
    if not 0 < number < 1e12:
        raise ValueError(f"alarm budget {text!r}: the number must be above 0, such as 1/{unit}")
    num_series = None if match["series"] is None else int(match["series"])
    if num_series is not None and not 0 < num_series <= _MOST_SERIES:
        raise ValueError(f"alarm budget {text!r}: the number of series must be above 0, such as 40")
    return AlarmBudget(number, unit, is_in_all, num_series)


def shared_by(text: str, num_series: int | None) -> str:
    """Return the budget with the number of series that share it; unchanged where it needs none.

    A number that the budget states itself stays.

    Args:
        text: An alarm budget.
        num_series: Number of series of the history, None where it is unknown.

    Raises:
        ValueError: The budget cannot be read, or the number is needed and unknown.

    >>> shared_by("3/day in all", 40), shared_by("1/week", 40)
    ('3/day in all of 40 series', '1/week')
    """
    budget = read_budget(text)
    if not budget.is_in_all or budget.num_series is not None:
        return text
    if num_series is None:
        raise ValueError(
            f"alarm budget {text!r}: the model does not state how many series share it; write the number,"
            f" such as '{budget} of 40 series'"
        )
    return f"{budget} of {num_series} series"


def parse_budget(text: str) -> float:
    """Return the number of false alarms a second that a budget allows each series, on average.

    Raises:
        ValueError: The budget cannot be read, or it is shared by an unknown number of series.

    >>> round(1 / parse_budget("1/day"))
    86400
    >>> round(1 / parse_budget("2/day in all of 10 series"))
    432000
    """
    budget = read_budget(shared_by(text, None))
    return budget.number / budget.unit_seconds / (budget.num_series or 1)


def rows_per_event(budget: str, interval_ns: int) -> float:
    """Return the number of rows of one series in which the budget allows one false alarm, on average.

    Args:
        budget: An alarm budget such as "1/week".
        interval_ns: Length of a row in nanoseconds.

    Raises:
        ValueError: As `parse_budget` raises.

    >>> round(rows_per_event("1/day", interval_ns=60 * 10**9))  # rows of one minute
    1440
    """
    return 1e9 / (interval_ns * parse_budget(budget))


def says_something(allowed: float) -> bool:
    """Return whether a budget allows about one alarm or more, so that a used share means something."""
    return allowed >= _ENOUGH


def use_in_words(alarms: int, allowed: float, budget: AlarmBudget, *, are_false: bool = False) -> str:
    """Return how many false alarms a budget allows, and how much of it was used: the end of a sentence.

    The beginning of the sentence has the alarms. The budget is for false ones, and some may be real. So the
    share is the most that was used. It is left out where there are more alarms than allowed. So it is where
    the budget allows less than about one alarm, as right after a start.

    Args:
        alarms: Number of alarms without those that are known to be real.
        allowed: Number of false alarms that the budget allows for what was judged.
        budget: The alarm budget.
        are_false: Whether all of the alarms are known to be false.

    >>> use_in_words(3, 4.0, AlarmBudget(1.0, "week"))
    'the budget of 1 a week per series allows 4 false alarms for what was judged: at most 75% used'
    >>> use_in_words(9, 1.0, AlarmBudget(1.0, "week"))
    'the budget of 1 a week per series allows 1 false alarm for what was judged; real ones do not count'
    >>> use_in_words(1, 0.0179, AlarmBudget(1.0, "week"))
    'the budget allows 1 a week per series, so less than one false alarm for what was judged'
    """
    if not says_something(allowed):
        return f"the budget allows {budget.allowance}, so less than one false alarm for what was judged"
    number = f"{allowed:,.0f}" if allowed >= 100 else f"{allowed:.3g}"
    what = "false alarm" if number == "1" else "false alarms"
    told = f"the budget of {budget.allowance} allows {number} {what} for what was judged"
    if are_false:
        return f"{told}: {alarms / allowed:,.0%} used"
    if alarms > allowed:
        return f"{told}; real ones do not count"
    return f"{told}: at most {alarms / allowed:,.0%} used"
