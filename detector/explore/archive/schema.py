"""The columns of an archive's tables, with their types, and which of several rows of one thing counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from detector.explore.store.database import name
from detector.explore.store.tables import KINDS

_TIME, _NUMBER, _TEXT, _COUNT = "TIMESTAMPTZ_NS", "DOUBLE", "VARCHAR", "BIGINT"
_VERDICTS = {
    "series": _TEXT,
    "timestamp": _TIME,
    "state": _TEXT,
    "mode": _TEXT,
    "evidence": _TEXT,
    "paged": "BOOLEAN",
    **dict.fromkeys(("score", "p_value", "cumulative", "page_level", "strength"), _NUMBER),
}
_SUMMARY = {
    "series": _TEXT,
    "start": _TIME,
    **dict.fromkeys(("num_rows", "judged", "paged"), _COUNT),
    **dict.fromkeys(("score", "strength"), _NUMBER),
    "state": _TEXT,
    "last": _TIME,
    "last_state": _TEXT,
    "last_score": _NUMBER,
    "last_mode": _TEXT,
}
_INCIDENTS = {
    **dict.fromkeys(("id", "series", "state", "reason", "severity"), _TEXT),
    **dict.fromkeys(("start", "opened", "ended", "peak"), _TIME),
    "peak_score": _NUMBER,
    **dict.fromkeys(("channel", "body"), _TEXT),
    "number": _COUNT,
}
_DECISIONS = {
    **dict.fromkeys(("id", "action", "series", "incident", "who", "why"), _TEXT),
    **dict.fromkeys(("since", "until"), _TIME),
    "outcome": _TEXT,
    "number": _COUNT,
}
_HOMES = {"series": _TEXT, "model": _TEXT, "number": _COUNT}
_TABLES = {
    "verdicts": _VERDICTS,
    "hours": _SUMMARY,
    "days": _SUMMARY,
    "incidents": _INCIDENTS,
    "decisions": _DECISIONS,
    "homes": _HOMES,
}
_ORDERS = {
    "incidents": ("id", "number"),
    "decisions": ("id", "(outcome IS NOT NULL)::INT, number"),
    "homes": ("series", "number"),
}
"""What counts of several rows of one thing: what names it, and the order whose last row counts."""


def columns_of(table: str, channels: Sequence[str]) -> dict[str, str]:
    """Return the columns of a table, quoted, with their types in SQL."""
    found = {name(one): kind for one, kind in _TABLES[table].items()}
    if table == "verdicts":
        found |= {name(f"{kind}_{one}"): _NUMBER for one in channels for kind in KINDS}
    return found


def columns_mark(channels: Sequence[str]) -> str:
    """Return a mark that is the same for files of verdicts with the same channels, 12 hexadecimal digits."""
    return hashlib.sha256("\0".join(sorted(channels)).encode()).hexdigest()[:12]


def newest(table: str, rows: str) -> str:
    """Return the query for the rows that count: the newest of each incident, decision and home, else all."""
    if table not in _ORDERS:
        return f"FROM {rows}"
    key, by = _ORDERS[table]
    order = ", ".join(f"{one} DESC" for one in by.split(", "))
    return f"SELECT * FROM {rows} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1"
