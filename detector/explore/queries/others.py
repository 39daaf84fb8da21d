"""Other series that moved at the same time as an incident."""

from __future__ import annotations

from typing import Any

from detector.explore.queries.lanes import between
from detector.explore.store.database import Database, time
from detector.explore.store.layout import DAY_NS, HOUR_NS

_CANDIDATES = 200
_MOST = 20


def others(database: Database, series: str, span: tuple[int, int]) -> list[dict[str, Any]]:
    """Return other series that were unusual in a span of time, those first that stand out most.

    A series stands out by its greatest strength in the span divided by that of the equally long span before
    (at least 1). A series that is always unusual comes late in the list. Candidates are found in the
    summaries by whole hours or days, and measured row by row.
    """
    names = _unusual(database, series, span)
    if not names:
        return []
    incident_of = _with_incident(database, span)
    return [
        {
            "series": one,
            "strength": now,
            "strength_before": earlier,
            "onset": onset / 1e6,
            "seconds_after": (onset - span[0]) / 1e9,
            "incident": incident_of.get(one),
        }
        for one, now, earlier, onset in _measured(database, names, span)
    ]


def _unusual(database: Database, series: str, span: tuple[int, int]) -> list[str]:
    """Return the other series that were strongest in the hours or days of the span."""
    start, end = span
    table, step = ("hours", HOUR_NS) if end - start <= 3 * DAY_NS else ("days", DAY_NS)
    whole = between(start // step * step, -(-end // step) * step, "start")
    rows = database.execute(
        f"SELECT series FROM {table} WHERE {whole} AND series != ? GROUP BY series"
        f" HAVING max(strength) > 1 ORDER BY max(strength) DESC, series LIMIT {_CANDIDATES}",
        [series],
    )
    return [one for (one,) in rows]


def _measured(database: Database, names: list[str], span: tuple[int, int]) -> list[tuple[Any, ...]]:
    """Return series with their strength within and before the span, and their first unusual row."""
    start, end = span
    inside = f"timestamp >= {time(start)}"
    return database.execute(
        f"SELECT series, max(strength) FILTER ({inside}) AS now,"
        f" max(strength) FILTER (NOT {inside}) AS earlier,"
        f" epoch_ns(min(timestamp) FILTER ({inside} AND strength > 1)) AS onset"
        f" FROM verdicts WHERE {between(2 * start - end, end)} AND series IN"
        f" ({', '.join('?' for _ in names)}) GROUP BY series"
        " HAVING now > 1 ORDER BY now / greatest(1, coalesce(earlier, 1)) DESC, now DESC, series"
        f" LIMIT {_MOST}",
        names,
    )


def _with_incident(database: Database, span: tuple[int, int]) -> dict[str, str]:
    """Return the newest incident in the span of each series that has one."""
    start, end = span
    rows = database.execute(
        f"SELECT series, arg_max(id, start) FROM incidents WHERE start < {time(end)}"
        f" AND coalesce(ended, {time(end)}) >= {time(start)} GROUP BY series"
    )
    return dict(rows)
