"""The columns of a store's tables as SQL: how they are made of raw ones, and how they are summed up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from connectors.times import times_of
from detector.explore.store.database import name, rank
from detector.explore.store.layout import DAY_NS, HOUR_NS

GROUP_ROWS = 30_720
SPANS = {"hours": HOUR_NS, "days": DAY_NS}
KINDS = ("actual", "expected", "contribution")
_LARGEST = 1e300


def verdict_columns(channels: Sequence[str], page_level: str, strength: str, mode: str = "mode") -> list[str]:
    """Return SQL for the columns of verdicts, of raw columns of the same names; unknown numbers become NULL.

    Args:
        channels: names of the model's channels.
        page_level, strength: SQL for these numbers.
        mode: SQL for the name of the mode of operation.
    """
    plain = ("score", "p_value", "cumulative")
    per_channel = [f"{kind}_{one}" for one in channels for kind in KINDS]
    return [
        *("series", "timestamp", "state", f"{mode}::VARCHAR AS mode", "evidence", "paged"),
        *(f"{number(one)} AS {one}" for one in plain),
        f"{finite(page_level)} AS page_level",
        f"{finite(strength)} AS strength",
        *(f"{number(one)} AS {name(one)}" for one in per_channel),
    ]


def summary(segment: str, span: int) -> str:
    """Return the query that sums up verdicts by series and span of time."""
    judged = "score IS NOT NULL OR state IN ('anomalous', 'flatline', 'out_of_range')"
    start = as_time(f"epoch_ns(timestamp) // {span} * {span}")
    return (
        f"SELECT series, {start} AS start, count(*) AS num_rows,"
        f" count(*) FILTER ({judged}) AS judged, count(*) FILTER (paged) AS paged,"
        f" max(score) AS score, max(strength) AS strength, arg_max(state, {rank('state')}) AS state,"
        " max(timestamp) AS last, arg_max(state, timestamp) AS last_state,"
        " arg_max_null(score, timestamp) AS last_score, arg_max_null(mode, timestamp) AS last_mode"
        f" FROM {segment} GROUP BY ALL ORDER BY series, start"
    )


def combined(segments: str) -> str:
    """Return the query that joins several summaries of the same spans, each of other rows, into one."""
    return (
        "SELECT series, start, sum(num_rows)::BIGINT AS num_rows, sum(judged)::BIGINT AS judged,"
        " sum(paged)::BIGINT AS paged, max(score) AS score, max(strength) AS strength,"
        f" arg_max(state, {rank('state')}) AS state, max(last) AS last,"
        " arg_max(last_state, last) AS last_state, arg_max_null(last_score, last) AS last_score,"
        " arg_max_null(last_mode, last) AS last_mode"
        f" FROM {segments} GROUP BY ALL ORDER BY series, start"
    )


def number(column: str) -> str:
    """Return SQL for a number: NULL if it is unknown, and finite otherwise."""
    return finite(f"nullif({name(column)}, 'nan'::DOUBLE)")


def finite(value: str) -> str:
    """Return SQL for a number within bounds, or NULL; `least` and `greatest` alone would ignore a NULL."""
    return f"CASE WHEN ({value}) IS NOT NULL THEN greatest(least({value}, {_LARGEST}), -{_LARGEST}) END"


def as_time(nanoseconds: str) -> str:
    """Return SQL for the time of an expression in nanoseconds since 1970."""
    return f"make_timestamp_ns({nanoseconds})::TIMESTAMPTZ_NS"


def ns_of(value: str | None) -> int | None:
    """Return nanoseconds of a time in ISO 8601."""
    return None if value is None else int(times_of([value])[0])


def date_of(day: int) -> str:
    """Return the date of a day since 1970.

    >>> date_of(20454)
    '2026-01-01'
    """
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
