"""Groups of series by their names: an expression captures the name of the group."""

from __future__ import annotations

import re

from detector.explore.store.database import Database, text
from detector.explore.store.layout import ExploreError

BY_SLASH = "^(.+)/"
"""`plant/line/pump-17` belongs to `plant/line`."""


def group_of(pattern: str) -> str:
    """Return SQL for the name of the group of a series; one that does not match has its own name.

    >>> group_of("")
    'series'
    """
    if not pattern:
        return "series"
    return f"coalesce(nullif(regexp_extract(series, {text(pattern)}, 1), ''), series)"


def check_pattern(database: Database, pattern: str) -> None:
    """Refuse an expression that cannot name groups; an empty one means that there are none.

    Raises:
        ExploreError: it is no regular expression (RE2), or captures nothing.
    """
    wrong = ""
    try:
        if pattern and not re.compile(pattern).groups:
            wrong = "it captures nothing: put the name of the group into parentheses"
        database.execute(f"SELECT {group_of(pattern)} FROM (SELECT 'a/b' AS series)")
    except (re.error, ExploreError) as error:
        wrong = f"it is no regular expression: {error}"
    if wrong:
        raise ExploreError(f"--group-by {pattern!r} cannot be used: {wrong}; write one such as {BY_SLASH!r}")
