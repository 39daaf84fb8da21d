"""The log names series whose clock is wrong, behind, went back, or sends at another rate: each once."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from connectors.records import Readings
from detector.engine.engine import Engine
from detector.rows.clock_rules import LATE_FROM, RESTART_AFTER
from detector.service.clock_log import ClockLog
from tests.support.artifacts import make_artifact

SECOND_NS = 10**9
START = 1_800_000_000


def readings_of(names: tuple[str, ...], seconds: np.ndarray) -> Readings:
    """The same seconds of every series, one after the other."""
    series = np.tile(np.arange(len(names), dtype=np.int32), len(seconds))
    times = np.repeat((START + seconds) * SECOND_NS, len(names)).astype(np.int64)
    values = np.random.default_rng(0).standard_normal((len(times), 2))
    zeros = np.zeros(len(times), np.int32)
    return Readings(names, series, times, values, zeros, np.arange(len(times)))


@pytest.fixture
def follow(caplog: pytest.LogCaptureFixture):
    """Feed one engine; return what the log said about clocks: words, names, number of series."""
    now = [0.0]
    engine, log = Engine(make_artifact(family="linear")), ClockLog(lambda: now[0])
    caplog.set_level(logging.INFO)

    def feed(
        names: tuple[str, ...], seconds: np.ndarray, at: float = 0.0
    ) -> list[tuple[str, list[str], int]]:
        now[0] = at
        caplog.clear()
        engine.step(readings_of(names, seconds))
        log.on_turn(engine, engine.latest)
        log.on_turn(engine, engine.latest)  # a turn without news says nothing
        return [(one.message, one.keys["series"], one.keys["num_series"]) for one in caplog.records]

    return feed


def test_a_series_that_sends_only_late_readings_is_named_once(follow) -> None:
    names = ("pump-1", "pump-2")
    assert follow(names, np.arange(1000, 1100)) == []
    assert follow(names[:1], np.arange(LATE_FROM - 1)) == []  # a few late readings are usual
    [(words, named, num)] = follow(names[:1], np.arange(10, 20))
    assert ("only late readings" in words, named, num) == (True, ["pump-1"], 1)
    assert follow(names[:1], np.arange(20, 30)) == []
    assert follow(names, np.arange(1100, 1103)) == []
    assert follow(names[:1], np.arange(10, 20), at=599.0) == []  # late again: it was named a short time ago
    assert follow(names, np.arange(1103, 1106)) == []
    [(_, named, _)] = follow(names[:1], np.arange(10, 20), at=600.0)
    assert named == ["pump-1"]


@pytest.mark.parametrize("ahead", [3_600, 72_000])
def test_a_series_whose_readings_far_ahead_were_dropped_is_named(follow, ahead: int) -> None:
    names = ("pump-1", "pump-2")
    assert follow(names, np.arange(100)) == []
    assert follow(names[:1], np.array([100 + ahead])) == []  # it may be right
    [(words, named, num)] = follow(names, np.arange(101, 110))
    assert ("far ahead" in words, named, num) == (True, ["pump-1"], 1)


@pytest.mark.parametrize("back", [200, 86_400, 10**7])
def test_a_clock_that_went_back_is_named(follow, back: int) -> None:
    assert follow(("pump-1",), np.arange(100)) == []
    found = follow(("pump-1",), np.arange(RESTART_AFTER + 5) - back)
    assert [(named, "went back" in words) for words, named, _ in found] == [(["pump-1"], True)]


def test_series_with_rows_of_their_own_rate_are_named_together_and_not_endlessly(follow) -> None:
    names = tuple(f"pump-{at:02}" for at in range(30))
    [(words, named, num)] = follow(names, 60 * np.arange(20))
    assert "another rate" in words
    assert (named, num) == (list(names[:20]), 30)
