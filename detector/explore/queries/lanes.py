"""Swim lanes: how strong the evidence of a series was, by cells of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detector.explore.store.database import Database, day, rank, time
from detector.explore.store.layout import DAY_NS, HOUR_NS, STATES

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_NICE = (
    *(_SECOND * one for one in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * one for one in (1, 2, 5, 10, 15, 30)),
    *(HOUR_NS * one for one in (1, 2, 3, 4, 6, 8, 12)),
    *(DAY_NS * one for one in (1, 2, 7, 14, 28, 91, 364)),
)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a lane: `num` of equal length from `start_ns` on. Together they cover the range."""

    start_ns: int
    step_ns: int
    num: int

    @property
    def end_ns(self) -> int:
        """The end of the last cell."""
        return self.start_ns + self.num * self.step_ns


def cells_of(from_ns: int, to_ns: int, most: int, least_ns: int = 1) -> Cells:
    """Return at most `most` + 1 cells whose length is a round number of seconds, minutes, hours or days.

    A cell has at least `least_ns`.

    >>> cells_of(0, 24 * HOUR_NS, 24)
    Cells(start_ns=0, step_ns=3600000000000, num=24)
    """
    least = max(least_ns, -(-(to_ns - from_ns) // most))
    step = next((one for one in _NICE if one >= least), -(-least // DAY_NS) * DAY_NS)
    start = from_ns // step * step
    return Cells(start, step, max(1, -(-(to_ns - start) // step)))


def lanes(database: Database, series: list[str], cells: Cells) -> dict[str, dict[str, list[Any]]]:
    """Return the lane of each series: the greatest strength, the paged rows and the worst state of each cell.

    A cell without rows has None. Cells of whole hours and days come from the summaries of the store.
    """
    if not series:
        return {}
    query = lane_query("series", cells, f"series IN ({', '.join('?' for _ in series)})")
    return filled(database.execute(query, series), series, cells)


def lane_query(key: str, cells: Cells, among: str) -> str:
    """Return the query for the lanes of series or groups: name, cell, strength, paged rows, worst state.

    Args:
        key: SQL that makes a name of the column `series`.
        cells: of each lane.
        among: SQL for the rows to read.
    """
    table, column, paged = "verdicts", "timestamp", "count(*) FILTER (paged)"
    if cells.step_ns % HOUR_NS == 0:
        table, column, paged = "days" if cells.step_ns % DAY_NS == 0 else "hours", "start", "sum(paged)"
    return (
        f"SELECT {key} AS name, (epoch_ns({column}) - {cells.start_ns}) // {cells.step_ns} AS cell,"
        f" max(strength), {paged}, max({rank('state')}) FROM {table}"
        f" WHERE {between(cells.start_ns, cells.end_ns, column)} AND {among} GROUP BY ALL"
    )


def filled(
    rows: Sequence[tuple[Any, ...]], names: Sequence[str], cells: Cells
) -> dict[str, dict[str, list[Any]]]:
    """Return the rows of a `lane_query` as one lane for each name."""
    found: dict[str, dict[str, list[Any]]] = {
        one: {key: [None] * cells.num for key in ("strength", "paged", "state")} for one in names
    }
    for one, cell, strength, num, worst in rows:
        lane = found[one]
        lane["strength"][cell] = strength
        lane["paged"][cell] = int(num or 0)
        lane["state"][cell] = STATES[worst - 1] if worst else "unknown"
    return found


def between(from_ns: int, to_ns: int, column: str = "timestamp") -> str:
    """Return SQL for the rows from `from_ns` (included) to `to_ns` (excluded); other days are not opened."""
    days = f"day BETWEEN {day(from_ns // DAY_NS * DAY_NS)} AND {day(to_ns - 1)}"
    return f"{days} AND {column} >= {time(from_ns)} AND {column} < {time(to_ns)}"
