"""How far series are now from the slow levels of the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detector.explore.queries.lanes import between
from detector.explore.store.database import Database, name
from detector.explore.store.layout import DAY_NS

_MOST_DAYS = 7
_MOST_SERIES = 50


def drift_now(database: Database, reference: dict[str, Any], span: tuple[int, int]) -> dict[str, Any]:
    """Return level, present mean and distance of each channel, the largest distances first.

    The mean is that of the last whole days of the span, at most seven, so that every hour counts alike. A
    span below a day counts as a whole. Distances are in units of the drift: how far the mean of a quarter
    of a day usually wanders. The engine also leaves out the season, and rows that are not judged.

    Args:
        database: the store.
        reference: as `drift_reference` returns it.
        span: nanoseconds.
    """
    days = min(_MOST_DAYS, (span[1] - span[0]) // DAY_NS)
    begin = span[1] - days * DAY_NS if days else span[0]
    levels, names = reference["levels"], reference["channels"]
    rows: list[dict[str, Any]] = []
    for series, means in _means(database, _chosen(database, list(levels)), names, (begin, span[1])).items():
        of = levels[series]
        for at, mean in enumerate(means):
            level, unit = of["level"][at], of["unit"][at]
            distance = None if mean is None or level is None else (mean - level) / unit
            found = {"series": series, "channel": names[at], "level": level, "now": mean, "unit": unit}
            rows.append(found | {"distance": distance, "watched": reference["watched"][at]})
    rows.sort(key=lambda one: -abs(one["distance"] or 0.0))
    return {"from": begin / 1e6, "to": span[1] / 1e6, "series": reference["series"], "channels": rows}


def _chosen(database: Database, known: Sequence[str]) -> list[str]:
    """Return at most 50 series: those first that had an incident about a drift."""
    told = database.execute(
        "SELECT series FROM incidents WHERE reason = 'drift' GROUP BY series ORDER BY max(start) DESC, series"
    )
    there = set(known)
    drifting = [one for (one,) in told if one in there]
    return list(dict.fromkeys((*drifting, *known)))[:_MOST_SERIES]


def _means(
    database: Database, series: Sequence[str], channels: Sequence[str], span: tuple[int, int]
) -> dict[str, tuple[float | None, ...]]:
    """Return the mean of each channel of series that have rows in a span of time."""
    if not series:
        return {}
    means = ", ".join(f"avg({name(f'actual_{one}')})" for one in channels)
    rows = database.execute(
        f"SELECT series, {means} FROM verdicts WHERE {between(*span)} AND series IN"
        f" ({', '.join('?' for _ in series)}) GROUP BY series ORDER BY series",
        list(series),
    )
    return {row[0]: row[1:] for row in rows}
