"""What a backtest found, in sentences, and the quality of its data as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from detector.calibration.alarm_budget import read_budget, use_in_words
from detector.explore.store.layout import Description
from detector.explore.whatif.comparison import overlap
from detector.incidents.incident import Incident
from detector.offline.backtest import BacktestOutcome
from detector.offline.measuring.backtest_measures import num_alarms
from detector.offline.measuring.events import Event
from detector.peers.crowd import words as words_apart

_MOST_APART = 100
_COUNTED = {
    "readings": "readings",
    "rows": "rows with at least one reading",
    "gap_rows": "rows of gaps, without any value",
    "cells": "values expected in the rows",
    "empty_cells": "of them without a number (missing or infinite)",
    "duplicate_cells": "values sent again for the same time",
    "overwritten_cells": "values replaced by a newer reading of the same row",
    "out_of_order": "readings out of order, used",
    "late": "readings too late, dropped",
    "wrong_clock": "readings of a wrong clock, dropped",
    "clock_restarts": "times that a clock went back",
}


def summary_words(outcome: BacktestOutcome, about: Description) -> list[str]:
    """Return the summary, one or two sentences a paragraph."""
    first, last = (datetime.fromtimestamp(one / 1e9, UTC) for one in (about.first_ns, about.last_ns))
    num, series = len(outcome.incidents), len({one.series for one in outcome.incidents})
    what = f"{num:,} incident{'s' if num != 1 else ''} in {series:,} of {about.series:,} series"
    words = [
        (
            f"{about.model} {about.version} judged {outcome.coverage.judged_rows:,} of {outcome.rows:,} rows"
            f" from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC. It raised {what}."
        ),
        *_worst(outcome),
        _budget_words(outcome, about.alarm_budget),
    ]
    if outcome.events is not None:
        words.append(_label_words(outcome.incidents, outcome.events))
    return words


def _worst(outcome: BacktestOutcome) -> list[str]:
    said = zip(outcome.incidents, outcome.sentences, strict=True)
    ranked = sorted(said, key=lambda pair: (pair[0].severity != "critical", -(pair[0].known_peak or 0.0)))
    return [f"The worst: {sentence}." for _, sentence in ranked[:1]]


def _budget_words(outcome: BacktestOutcome, budget: str) -> str:
    """Return how many incidents count for the budget; with labels, those that overlap no event."""
    has_labels, events = outcome.events is not None, outcome.events or ()
    beside = [one for one in outcome.incidents if not any(overlap(one, event) for event in events)]
    num, kind = num_alarms(beside), "false alarm" if has_labels else "alarm"
    use = use_in_words(num, outcome.measures["budgeted_alarms"], read_budget(budget), are_false=has_labels)
    return f"{num:,} {kind}{'' if num == 1 else 's'}; {use}."


def _label_words(incidents: Sequence[Incident], events: Sequence[Event]) -> str:
    if not events:
        return "The labels mark no event."
    found = sum(any(overlap(one, event) for one in incidents) for event in events)
    return f"Incidents found {found:,} of {len(events):,} labelled events."


def quality_rows(outcome: BacktestOutcome) -> list[tuple[str, str]]:
    """Return what the backtest counted of its data, and what was not judged, as pairs of texts."""
    rows = [
        (words, f"{outcome.counted[name]:,}") for name, words in _COUNTED.items() if name in outcome.counted
    ]
    rows.append(("rows judged", f"{outcome.coverage.judged_rows:,} of {outcome.coverage.rows:,}"))
    for name, (num, series) in outcome.coverage.unjudged.items():
        rows.append((f"rows not judged: {name.replace('_', ' ')}", f"{num:,} in {series:,} series"))
    masked, in_series = outcome.coverage.masked
    if masked:
        rows.append(("rows judged without some of their values", f"{masked:,} in {in_series:,} series"))
    if outcome.coverage.never_judged:
        rows.append(("series never judged", f"{len(outcome.coverage.never_judged):,}"))
    return rows


def apart_rows(outcome: BacktestOutcome) -> list[tuple[str, str]]:
    """Return which series left their peers, and when (UTC), as pairs of texts; the strongest ones of many."""
    rows = []
    found = sorted(outcome.apart, key=lambda one: -one.strength)
    for one in found[:_MOST_APART]:
        start, until, known = (
            f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M}"
            for ns in (one.start_ns, one.until_ns, one.found_ns)
        )
        rows.append((words_apart(one), f"{start} to {until} UTC, known at {known}"))
    if len(found) > _MOST_APART:
        rows.append(("left out here", f"{len(found) - _MOST_APART:,}; backtest.json has all of them"))
    return rows
