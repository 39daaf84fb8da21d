"""The fleet: every series with its state and its trouble in a range of time, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detector.explore.queries.homes import among
from detector.explore.queries.lanes import Cells, between, cells_of, lanes
from detector.explore.queries.names import group_of
from detector.explore.store.database import Database, text, time
from detector.explore.store.layout import DAY_NS, HOUR_NS, SEVERITIES

SORTS = {
    "trouble": "rank {order}, firing {order}, strength {order} NULLS LAST",
    "series": "series {order}",
    "strength": "strength {order} NULLS LAST",
    "paged": "paged {order}",
    "judged": "judged / num_rows {order}",
    "last": "last {order}",
}
_HOURS_UP_TO = 3 * DAY_NS
_RANKS = " ".join(f"WHEN {text(one)} THEN {at}" for at, one in enumerate(SEVERITIES, 1))
_LASTING = """regexp_matches(body, '"lasting_since": ?"')"""
_STATES = (
    "(SELECT list({'state': state, 'num': num} ORDER BY num DESC, state) FROM"
    " (SELECT state, count(*) AS num FROM series_found GROUP BY state))"
)


@dataclass(frozen=True, slots=True)
class FleetQuery:
    """What to show of the fleet.

    from_ns, to_ns  the range of time
    search          part of the name of a series, in any case of letters; empty: all
    model           only series of this one of several models; empty: all
    group, pattern  only series of this group; the expression that names groups; empty: all
    state           the state of the newest row in the range; empty: any
    trouble         only series with an incident in the range
    sort, order     a key of SORTS; "asc" or "desc"
    page, size      number of the page, from 0; series of a page
    cells           the most cells of a lane
    data            first row and end of the last row of the store; unknown: (0, the last time)
    """

    from_ns: int
    to_ns: int
    search: str = ""
    state: str = ""
    trouble: bool = False
    sort: str = "trouble"
    order: str = "desc"
    page: int = 0
    size: int = 25
    cells: int = 60
    data: tuple[int, int] = (0, 1 << 62)
    group: str = ""
    pattern: str = ""
    model: str = ""

    @property
    def counted(self) -> tuple[str, int, int]:
        """The summary that answers, and the range of whole hours or days that it covers.

        A range of whole days needs no hours; neither does one that begins and ends with the data.
        """
        begin = DAY_NS if self.from_ns <= self.data[0] else self.from_ns
        end = DAY_NS if self.to_ns >= self.data[1] else self.to_ns
        is_whole = begin % DAY_NS == 0 and end % DAY_NS == 0
        is_short = self.to_ns - self.from_ns <= _HOURS_UP_TO
        table, step = ("hours", HOUR_NS) if is_short and not is_whole else ("days", DAY_NS)
        return table, self.from_ns // step * step, -(-self.to_ns // step) * step


def fleet(database: Database, query: FleetQuery) -> dict[str, Any]:
    """Return a page of series with their lanes, how many there are, and how many have each state.

    Series are counted and sorted by the whole hours, or days in a long range, that the range touches.
    """
    _, counted_from, counted_to = query.counted
    begin, values = series_found(query)
    where, more = filtered(query)
    chosen = begin, f"series_found {where}", [*values, *more]
    rows, total, states = page_of(database, query, chosen, (_STATES, _STATES))
    cells = cells_of(query.from_ns, query.to_ns, query.cells)
    found = lanes(database, [row[0] for row in rows], cells)
    return {
        "total": total,
        "page": query.page,
        "size": query.size,
        "counted": {"from": counted_from / 1e6, "to": counted_to / 1e6},
        "states": {one["state"]: one["num"] for one in states or ()},
        "lanes": cells_json(cells),
        "series": [_series(row) | {"lane": found[row[0]]} for row in rows],
    }


def cells_json(cells: Cells) -> dict[str, float | int]:
    """Return begin, step and number of the cells of lanes; times in milliseconds."""
    return {"from": cells.start_ns / 1e6, "step": cells.step_ns / 1e6, "num": cells.num}


def _series(row: tuple[Any, ...]) -> dict[str, Any]:
    name, strength, score, num_rows, judged, paged, state, last, last_score, mode, num, *others = row
    severity, firing, lasting, muted = others
    return {
        "series": name,
        "state": state,
        "mode": mode,
        "last": last / 1e6,
        "last_score": last_score,
        "strength": strength,
        "score": score,
        "rows": int(num_rows),
        "judged": int(judged),
        "paged": int(paged),
        "incidents": int(num),
        "severity": SEVERITIES[severity - 1] if severity else None,
        "firing": bool(firing),
        "lasting": bool(lasting),
        "muted_until": None if muted is None else muted / 1e6,
    }


def series_found(query: FleetQuery) -> tuple[str, list[object]]:
    """Return the beginning of a query: `series_found` has every series of the range that is searched for."""
    table, begin, end = query.counted
    search, values = "", list[object]()
    if query.search:
        search, values = " AND contains(lower(series), lower(?))", [query.search]
    if query.group:
        search, values = f"{search} AND {group_of(query.pattern)} = ?", [*values, query.group]
    if query.model:
        of_model, given = among(query.model)
        search, values = f"{search}{of_model}", [*values, *given]
    end_of_range = time(query.to_ns)
    sql = (
        "WITH summed AS MATERIALIZED (SELECT series, max(strength) AS strength, max(score) AS score,"
        " sum(num_rows) AS num_rows, sum(judged) AS judged, sum(paged) AS paged,"
        " arg_max(last_state, last) AS state, epoch_ns(max(last)) AS last,"
        " arg_max_null(last_score, last) AS last_score, arg_max_null(last_mode, last) AS mode"
        f" FROM {table} WHERE {between(begin, end, 'start')}{search} GROUP BY series),"
        " troubled AS (SELECT series, count(*) AS num, max(CASE severity"
        f" {_RANKS} ELSE 1 END) AS rank, bool_or(state = 'firing') AS firing,"
        f" bool_or(state = 'firing' AND {_LASTING}) AS lasting FROM incidents"
        f" WHERE start < {end_of_range} AND coalesce(ended, {end_of_range}) >= {time(query.from_ns)}"
        " GROUP BY series),"
        " silenced AS (SELECT series, arg_max(until, since) AS until FROM decisions"
        f" WHERE action = 'mute' AND since < {end_of_range} GROUP BY series"
        f" HAVING arg_max(until, since) >= {end_of_range}),"
        " series_found AS MATERIALIZED ("
        "SELECT series, strength, score, num_rows, judged, paged, state, last, last_score, mode,"
        " coalesce(num, 0) AS num, coalesce(rank, 0) AS rank, coalesce(firing, false) AS firing,"
        " coalesce(lasting, false) AS lasting, epoch_ns(silenced.until) AS muted"
        " FROM summed LEFT JOIN troubled USING (series) LEFT JOIN silenced USING (series))"
    )
    return sql, values


def filtered(query: FleetQuery) -> tuple[str, list[object]]:
    """Return the condition for series of `series_found`, with its values."""
    state, values = ("state = ?", [query.state]) if query.state else ("true", [])
    return f"WHERE {state}{' AND num > 0' if query.trouble else ''}", list(values)


def page_of(
    database: Database, query: FleetQuery, chosen: tuple[str, str, list[object]], second: tuple[str, str]
) -> tuple[list[tuple[Any, ...]], int, Any]:
    """Return the rows of a page, how many rows there are on all pages, and a second total.

    Args:
        database: where the query runs.
        query: the sort, the order, the page and its size.
        chosen: the beginning of the query, what it selects from, and the values of both.
        second: the second total, as it is written beside rows and alone. A page without rows has it too.
    """
    begin, source, values = chosen
    order = SORTS[query.sort].format(order=query.order.upper())
    found = database.execute(
        f"{begin} SELECT *, count(*) OVER (), {second[0]} FROM {source}"
        f" ORDER BY {order}, series LIMIT {query.size} OFFSET {query.page * query.size}",
        values,
    )
    if found:
        return [row[:-2] for row in found], *found[0][-2:]
    return [], *database.execute(f"{begin} SELECT count(*), {second[1]} FROM {source}", values)[0]
