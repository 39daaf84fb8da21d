"""Earlier incidents of the same shape: what somebody asks first who has a new one."""

from __future__ import annotations

import json
import math
from typing import Any

from detector.explore.store.database import Database, time

_CANDIDATES = 500
_MOST = 10
_NEAR = 2.0
"""Departures up to so many times larger or smaller are of a similar size."""


def candidates_sql(columns: str, channel: str, start_ns: int) -> tuple[str, list[object]]:
    """Return the query for the newest earlier incidents that blame a channel first."""
    sql = (
        f"SELECT {columns}, body FROM incidents WHERE channel = ? AND start < {time(start_ns)}"
        f" ORDER BY start DESC, id LIMIT {_CANDIDATES}"
    )
    return sql, [channel]


def likeness(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Return how alike two incidents are that blame the same channel first; None: they are not.

    Both must have the same shape, where both have one, and depart to the same side. Points count: the same
    shape has 2, a similar size 1, the same series 1, and the share of the channels that both blame 1.

    Args:
        one: an incident as `incident_json` writes it.
        other: another one.
    """
    shapes = [(found.get("shape") or {}).get("name") for found in (one, other)]
    if None not in shapes and shapes[0] != shapes[1]:
        return None
    sizes = [_departure(found) for found in (one, other)]
    if sizes[0] * sizes[1] < 0:
        return None
    points: float = 2.0 * (None not in shapes) + (one["series"] == other["series"])
    if sizes[0] and sizes[1] and abs(math.log(sizes[0] / sizes[1])) <= math.log(_NEAR):
        points += 1
    names = [{channel["name"] for channel in found["channels"]} for found in (one, other)]
    return points + len(names[0] & names[1]) / len(names[0] | names[1])


def _departure(found: dict[str, Any]) -> float:
    """Return actual minus expected of the channel that is blamed first; 0 where it is unknown."""
    channel = found["channels"][0]
    actual, expected = channel.get("actual"), channel.get("expected")
    return 0.0 if actual is None or expected is None else float(actual) - float(expected)


def most_alike(
    database: Database, found: dict[str, Any], columns: str, start_ns: int
) -> list[tuple[tuple[Any, ...], float]]:
    """Return earlier incidents of the same shape with their likeness, the most alike first, at most 10.

    Args:
        database: the store.
        found: the incident as `incident_json` writes it.
        columns: which columns of the table to return, as SQL; the last of a row is the body.
        start_ns: its start.
    """
    if not found["channels"]:
        return []
    rows = database.execute(*candidates_sql(columns, found["channels"][0]["name"], start_ns))
    likes = [(row, likeness(found, json.loads(row[-1]))) for row in rows]
    alike = [(row, like) for row, like in likes if like is not None]
    return sorted(alike, key=lambda pair: -pair[1])[:_MOST]
