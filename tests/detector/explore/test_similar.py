"""Earlier incidents of the same shape: who is alike, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from detector.explore.queries.similar import likeness, most_alike
from detector.explore.store.build import store_of
from detector.explore.store.database import open_store
from tests.detector.explore.explored import START_NS, incident, scores_of, write_backtest

MINUTE_NS = 60_000_000_000


def one(name: str, series: str, minute: int, size: float, shape: str | None, **more: Any) -> dict[str, Any]:
    channel = {"name": "flow", "contribution": 1.0, "actual": 5 + size, "expected": 5.0}
    start = f"2026-01-01T00:{minute:02d}:00Z"
    said = None if shape is None else {"name": shape, "sure": True}
    return incident(name, series, start, start, channels=[channel], shape=said, **more)


def test_the_most_alike_come_first_and_others_do_not_come(tmp_path: Path) -> None:
    newest = one("new", "a", 50, 4.0, "spike")
    other = one("channel", "a", 30, 4.0, "spike")
    other["channels"][0]["name"] = "speed"
    incidents = [
        newest,
        one("later", "a", 55, 4.0, "spike"),
        one("same", "a", 10, 5.0, "spike"),
        one("series", "b", 20, 3.0, "spike"),
        one("large", "b", 25, 40.0, "spike"),
        one("unknown", "b", 40, 4.0, None),
        one("shape", "a", 45, 4.0, "drift"),
        one("side", "a", 46, -4.0, "spike"),
        other,
    ]
    names = np.repeat(np.array(["a", "b"], dtype=object), 60)
    scores = scores_of(names, np.tile(START_NS + np.arange(60) * MINUTE_NS, 2), 3, 0.0)
    store_of(write_backtest(tmp_path / "out", scores, incidents), tmp_path / "store")
    database = open_store(tmp_path / "store")
    found = most_alike(database, newest, "id", START_NS + 50 * MINUTE_NS)
    assert [row[0] for row, _ in found] == ["same", "series", "large", "unknown"]
    assert [like for _, like in found] == [5.0, 4.0, 3.0, 2.0]
    assert most_alike(database, {**newest, "channels": []}, "id", START_NS) == []
    database.close()


def test_an_incident_is_as_alike_to_another_as_the_other_to_it() -> None:
    first, second = one("a", "a", 1, 2.0, "spike"), one("b", "b", 2, 3.0, "spike")
    assert likeness(first, second) == likeness(second, first) == 4.0
    assert likeness(first, first) == 5.0
