"""What a report says of series that left their peers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from detector.offline.backtest import BacktestOutcome
from detector.offline.measuring.coverage import Coverage
from detector.peers.crowd import Apart
from detector.reports.words import apart_rows

HOUR_NS = 3_600 * 10**9
START_NS = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**9
AWAY = Apart(
    "pump-3", "flow", "level", START_NS, START_NS + 18 * HOUR_NS, START_NS + 30 * HOUR_NS, 1.5, -2.25
)


def outcome_of(*apart: Apart) -> BacktestOutcome:
    return BacktestOutcome(0, (), {}, Coverage(0, 0, 0, 0, {}, (0, 0), 0, {}), apart=apart)


def test_a_stay_away_from_the_peers_has_its_size_and_its_times() -> None:
    assert apart_rows(outcome_of(AWAY)) == [
        (
            "pump-3: flow is 2.25 below that of its peers",
            "2026-03-01 00:00 to 2026-03-02 06:00 UTC, known at 2026-03-01 18:00",
        )
    ]
    assert apart_rows(outcome_of()) == []


def test_the_strongest_stays_are_shown_and_the_others_are_counted() -> None:
    many = [replace(AWAY, series=f"pump-{at}", strength=1 + at / 100) for at in range(103)]
    rows = apart_rows(outcome_of(*many))
    assert [words.split(":")[0] for words, _ in rows[:100]] == [f"pump-{at}" for at in range(102, 2, -1)]
    assert rows[100:] == [("left out here", "3; backtest.json has all of them")]
