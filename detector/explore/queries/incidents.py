"""Incidents: lists, one with its evidence, and what else moved at the same time."""

from __future__ import annotations

import json
from typing import Any

from detector.explore.queries.homes import among, judged_by
from detector.explore.queries.lanes import between
from detector.explore.queries.names import group_of
from detector.explore.queries.others import others
from detector.explore.queries.series import SeriesQuery, series_view
from detector.explore.queries.similar import most_alike
from detector.explore.store.database import Database, time
from detector.explore.store.layout import Description
from detector.notify.notice import parse, summary

_TIMES = "epoch_ns(start), epoch_ns(ended), epoch_ns(peak)"
_SHORT = f"id, series, state, reason, severity, {_TIMES}, peak_score, channel"


def incidents(
    database: Database,
    span: tuple[int, int],
    series: str = "",
    page: tuple[int, int] = (0, 50),
    group: tuple[str, str] = ("", ""),
    model: str = "",
) -> dict[str, Any]:
    """Return the incidents that touch a span of time, the newest first.

    Args:
        database: the store.
        span: nanoseconds.
        series: only of this series; empty: all.
        page: number of the page, from 0, and incidents of a page.
        group: only of this group of series, after the expression that names groups; empty: all.
        model: only of series of this one of several models; empty: all.
    """
    (pattern, members), (number, size) = group, page
    where = f"start < {time(span[1])} AND coalesce(ended, {time(span[1])}) >= {time(span[0])}"
    where += " AND series = ?" if series else ""
    where += f" AND {group_of(pattern)} = ?" if members else ""
    of_model, given = among(model)
    rows = database.execute(
        f"SELECT {_SHORT}, body, count(*) OVER () FROM incidents WHERE {where}{of_model}"
        f" ORDER BY start DESC, id LIMIT {size} OFFSET {number * size}",
        [*(one for one in (series, members) if one), *given],
    )
    total = rows[0][-1] if rows else 0
    return {"total": total, "page": number, "size": size, "incidents": [_short(row) for row in rows]}


def decisions(database: Database, series: str, span: tuple[int, int]) -> list[dict[str, Any]]:
    """Return what people decided about a series and what had effect in a span of time."""
    rows = database.execute(
        "SELECT id, action, incident, who, why, epoch_ns(since), epoch_ns(until) FROM decisions"
        f" WHERE series = ? AND since < {time(span[1])} AND coalesce(until, since) >= {time(span[0])}"
        " ORDER BY since",
        [series],
    )
    names = ("id", "action", "incident", "who", "why")
    return [
        {**dict(zip(names, row[:5], strict=True)), "since": _ms(row[5]), "until": _ms(row[6])} for row in rows
    ]


def incident_view(
    database: Database, description: Description, name: str, points: int
) -> dict[str, Any] | None:
    """Return an incident with evidence, window of rows, and other series that moved; None: unknown."""
    rows = database.execute(f"SELECT {_SHORT}, body FROM incidents WHERE id = ?", [name])
    if not rows:
        return None
    start, ended, series = rows[0][5], rows[0][6], rows[0][1]
    description = judged_by(database, description, series)
    end = max(start, ended if ended is not None else description.last_ns) + description.interval_ns
    margin = max(description.window * description.interval_ns, (end - start) // 2)
    window = (max(description.first_ns, start - margin), min(description.last_ns, end + margin))
    query = SeriesQuery(series, window[0], max(window[1], window[0] + 1), points)
    evidence = json.loads(rows[0][10])
    alike = most_alike(database, evidence, _SHORT, start)
    return {
        **_short(rows[0]),
        "evidence": evidence,
        "earlier": [_short(row) | {"likeness": round(like, 2)} for row, like in alike],
        "window": series_view(database, description, query),
        "modes": modes_within(database, series, (start, end)),
        "others": others(database, series, (start, end)),
        "decisions": decisions(database, series, window),
    }


def modes_within(database: Database, series: str, span: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the modes of operation of a series in a span of time, in the order in which they first came.

    Rows whose mode is unknown have None. The list is empty where no row of the span has a mode.
    """
    rows = database.execute(
        f"SELECT mode, count(*), epoch_ns(min(timestamp)) FROM verdicts WHERE {between(*span)}"
        " AND series = ? GROUP BY mode ORDER BY 3",
        [series],
    )
    if all(mode is None for mode, *_ in rows):
        return []
    return [{"mode": mode, "rows": num, "since": _ms(since)} for mode, num, since in rows]


def _short(row: tuple[Any, ...]) -> dict[str, Any]:
    names = ("id", "series", "state", "reason", "severity")
    return {
        **dict(zip(names, row[:5], strict=True)),
        "start": _ms(row[5]),
        "end": _ms(row[6]),
        "peak": _ms(row[7]),
        "peak_score": row[8],
        "channel": row[9],
        "sentence": _sentence(row[10]),
    }


def _sentence(body: str) -> str:
    """Return what the incident was about, as the receivers of alerts read it when it opened."""
    found = json.loads(body)
    opened = {"event": "opened", "at": found["opened"], "ending": None, "lasting_since": None}
    return summary(parse(json.dumps({**found, **opened}).encode()))


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6
