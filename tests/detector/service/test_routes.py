"""What the probes answer, and why they answer 503."""

from __future__ import annotations

import pytest

from detector.engine.engine import Engine
from detector.http.messages import Request
from detector.metrics.recorder import Metrics
from detector.metrics.sources import Sources
from detector.service import loop_watch
from detector.service.routes import Routes
from detector.service.turn_observer import TurnObserver
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources


def answer(sources: Sources, path: str) -> tuple[int, str]:
    metrics = Metrics(Engine(make_artifact()), 10, "1", sources)
    site, request = Routes(metrics, TurnObserver(metrics)).site(), Request("GET", path)
    route = site.route(request)
    assert isinstance(route, tuple)
    found = site.answer(route[0], request)
    return found.code, found.body.decode().strip()


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (FixedSources(ready=True), (200, "ready")),
        (FixedSources(), (503, "waiting for partitions")),
        (FixedSources(replaying=2), (503, "partitions that are replayed up to their committed offsets: 2")),
    ],
)
def test_readiness_says_what_is_missing(sources: Sources, expected: tuple[int, str]) -> None:
    assert answer(sources, "/readyz") == expected


def test_a_loop_that_finishes_no_turn_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(FixedSources(), "/healthz") == (200, "alive")
    monkeypatch.setattr(loop_watch, "STALLED_SECONDS", 0.0)
    assert answer(FixedSources(), "/healthz") == (
        503,
        "processing loop stalled: no batch finished for 60 s",
    )


def test_every_page_is_there() -> None:
    for path in ("/metrics", "/", "/api/status", "/static/page.js", "/static/page.css"):
        assert answer(FixedSources(), path)[0] == 200
