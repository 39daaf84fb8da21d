"""How fast a channel drifts, in words for people."""

from __future__ import annotations

from typing import Protocol


class HasTrend(Protocol):
    """The values of a `detector.scoring.context.trend.Trend`, or of one in a message."""

    @property
    def a_day(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def days(self) -> float | None: ...
    @property
    def days_low(self) -> float | None: ...
    @property
    def days_high(self) -> float | None: ...


def trend_words(trend: HasTrend | None) -> str:
    """Return the rate a day with its interval, and when the limit is reached; empty without a trend.

    >>> from detector.scoring.context.trend import Trend
    >>> trend_words(Trend(0.31, 0.2, 0.42, 7.1, 12.2, 8.1, 20.7))
    '+0.31 a day (+0.2 to +0.42); limit 7.1 in 12 days (8 to 21)'
    >>> trend_words(Trend(0.01, -0.02, 0.04, 7.1, None, 30.2, None))
    '+0.01 a day (-0.02 to +0.04, so it may stand still); limit 7.1 not within the interval'
    """
    if trend is None:
        return ""
    stands = ", so it may stand still" if trend.low <= 0.0 <= trend.high else ""
    words = f"{trend.a_day:+.3g} a day ({trend.low:+.3g} to {trend.high:+.3g}{stands})"
    if trend.limit is None:
        return words
    return f"{words}; limit {trend.limit:.6g} {_until(trend)}"


def _until(trend: HasTrend) -> str:
    if trend.days is None:
        return "not within the interval" if trend.low <= 0.0 <= trend.high else "not within ten years"
    if trend.days <= 0.0:
        return "is reached"
    first = _number(trend.days_low or 0.0)
    last = "no end" if trend.days_high is None else _number(trend.days_high)
    return f"in {_number(trend.days)} days ({first} to {last})"


def _number(days: float) -> str:
    return f"{days:.1f}" if days < 3.0 else f"{days:.0f}"
