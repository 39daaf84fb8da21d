"""Which seasons a history is long enough for."""

from __future__ import annotations

from detector.artifact.season import LEAST_DAYS, LEAST_WEEKS


def season_words(days: float) -> str:
    """Return which seasons so many days can show.

    >>> season_words(6.0)
    '6.0 days can show a season of the day; one of the week needs 3 weeks'
    """
    if days < LEAST_DAYS:
        return f"{days:.1f} days are too few for a season of the day: {LEAST_DAYS} are needed"
    if days < 7 * LEAST_WEEKS:
        return f"{days:.1f} days can show a season of the day; one of the week needs {LEAST_WEEKS} weeks"
    return f"{days:.0f} days can show seasons of the day and of the week"
