"""Lists say what people said of incidents, and also that nobody knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3

from detector.explore.web.endpoints import PREFIX
from tests.detector.explore.explored import START_NS, incident, scores_of, served, write_backtest

HTTP = urllib3.PoolManager(retries=False)
PATHS = [("/incidents", {}), ("/series", {"name": "a"}), ("/incidents/bb22", {})]
REAL = {"id": "r", "action": "real", "series": "a", "incident": "aa11", "who": "ann", "why": ""}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """One incident after the other in a series; somebody said of the first that it was real."""
    scores = scores_of(np.full(60, "a", dtype=object), START_NS + np.arange(60) * 60_000_000_000, 5, 0.0)
    minutes = ((10, 12), (30, 33))
    times = [tuple(f"2026-01-01T00:{minute}:00Z" for minute in one) for one in minutes]
    told = [incident(name, "a", *span) for name, span in zip(("aa11", "bb22"), times, strict=True)]
    real = REAL | {"at": times[0][0], "until": None, "channels": []}
    with served(write_backtest(tmp_path / "out", scores, told, decisions=[real])) as address:
        yield address


def get(site: str, path: str, fields: dict[str, str]) -> dict[str, Any]:
    answer = HTTP.request("GET", f"{site}{PREFIX}{path}", fields=fields)
    assert answer.status == 200
    found: dict[str, Any] = answer.json()
    return found


def listed(body: dict[str, Any]) -> dict[str, str | None]:
    return {one["id"]: one["opinion"] for one in body.get("incidents") or body["earlier"]}


def test_lists_and_earlier_incidents_have_what_people_said(site: str) -> None:
    for path, fields in PATHS:
        body = get(site, path, fields)
        assert body["opinions_unknown"] is None
        assert listed(body)["aa11"] == "real"
        assert listed(body).get("bb22") is None


def test_opinions_that_cannot_be_read_are_not_hidden(site: str, tmp_path: Path) -> None:
    (tmp_path / "out" / "decisions.jsonl").write_text("{broken\n")
    for path, fields in PATHS:
        body = get(site, path, fields)
        assert "decisions about this backtest cannot be read" in body["opinions_unknown"]
        assert "decisions.jsonl" in body["opinions_unknown"]
        assert listed(body)["aa11"] is None
    box = HTTP.request("GET", f"{site}{PREFIX}/decisions")
    assert (box.status, box.json()["error"]["message"]) == (503, get(site, *PATHS[0])["opinions_unknown"])
