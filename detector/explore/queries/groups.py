"""The fleet by groups of series: each with its worst state, its counts and one lane, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detector.explore.queries.fleet import FleetQuery, cells_json, filtered, page_of, series_found
from detector.explore.queries.lanes import Cells, cells_of, filled, lane_query
from detector.explore.queries.names import group_of
from detector.explore.store.database import Database, rank
from detector.explore.store.layout import DAY_NS, HOUR_NS, SEVERITIES, STATES

_MOST_ROWS = 6_000_000

_GROUPS = (
    "SELECT grouped AS series, count(*) AS num_series, max(strength) AS strength, max(score) AS score,"
    " sum(num_rows) AS num_rows, sum(judged) AS judged, sum(paged) AS paged,"
    f" max({rank('state')}) AS worst, histogram(state) AS states, histogram(mode) AS modes,"
    " max(last) AS last, sum(num) AS num, count(*) FILTER (num > 0) AS troubled, max(rank) AS rank,"
    " count(*) FILTER (firing) AS firing, count(*) FILTER (lasting) AS lasting, count(muted) AS muted,"
    " min(series) AS first_name, max(series) AS last_name FROM chosen GROUP BY grouped"
)


def groups(database: Database, query: FleetQuery) -> dict[str, Any]:
    """Return a page of groups with their lanes, how many groups and series there are, and their states.

    Search, state and trouble choose series; a group has those that were chosen. A series that the expression
    does not match is a group of its own.
    """
    begin, values = _chosen(query)
    second = "sum(num_series) OVER ()", "sum(num_series)"
    rows, total, num_series = page_of(database, query, (begin, "all_groups", values), second)
    cells = cells_of(query.from_ns, query.to_ns, query.cells, _least_step(query, rows))
    found = _lanes(database, query.pattern, rows, cells)
    _, counted_from, counted_to = query.counted
    return {
        "total": int(total),
        "series": int(num_series or 0),
        "page": query.page,
        "size": query.size,
        "counted": {"from": counted_from / 1e6, "to": counted_to / 1e6},
        "lanes": cells_json(cells),
        "groups": [_group(row) | {"lane": found[row[0]]} for row in rows],
    }


def _least_step(query: FleetQuery, rows: Sequence[tuple[Any, ...]]) -> int:
    """Return the shortest cell in nanoseconds: of many rows, hours or days are read instead."""
    num_rows, num_series = (sum(row[at] for row in rows) for at in (4, 1))
    if num_rows <= _MOST_ROWS:
        return 1
    num_hours = num_series * -(-(query.to_ns - query.from_ns) // HOUR_NS)
    return HOUR_NS if num_hours <= _MOST_ROWS else DAY_NS


def _lanes(
    database: Database, pattern: str, rows: Sequence[tuple[Any, ...]], cells: Cells
) -> dict[str, dict[str, list[Any]]]:
    """Return the lane of each group. Files are sorted by series, so what is far from these is not read."""
    if not rows:
        return {}
    names = [row[0] for row in rows]
    query = lane_query(group_of(pattern), cells, "series BETWEEN ? AND ?")
    among = f"{query} HAVING name IN ({', '.join('?' for _ in names)})"
    first, last = min(row[17] for row in rows), max(row[18] for row in rows)
    return filled(database.execute(among, [first, last, *names]), names, cells)


def _chosen(query: FleetQuery) -> tuple[str, list[object]]:
    begin, values = series_found(query)
    where, more = filtered(query)
    chosen = f"chosen AS (SELECT *, {group_of(query.pattern)} AS grouped FROM series_found {where})"
    return f"{begin}, {chosen}, all_groups AS MATERIALIZED ({_GROUPS})", [*values, *more]


def _group(row: tuple[Any, ...]) -> dict[str, Any]:
    name, num_series, strength, score, num_rows, judged, paged, worst, states, modes, *others = row
    last, num, troubled, severity, firing, lasting, muted, first_name, _ = others
    return {
        "group": name,
        "series": num_series,
        "only": first_name if num_series == 1 else None,
        "state": STATES[worst - 1] if worst else "unknown",
        "states": dict(states),
        "modes": dict(modes or {}),
        "last": last / 1e6,
        "strength": strength,
        "score": score,
        "rows": int(num_rows),
        "judged": int(judged),
        "paged": int(paged),
        "incidents": int(num),
        "troubled": troubled,
        "severity": SEVERITIES[severity - 1] if severity else None,
        "firing": firing,
        "lasting": lasting,
        "muted": muted,
    }
