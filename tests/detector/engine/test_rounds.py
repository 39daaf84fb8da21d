"""What incidents change for later rows begins at the same row, however the stream is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact.spec import Scoring
from detector.engine import rounds
from detector.engine.engine import Engine
from detector.engine.parts import Parts
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.incident import IncidentEvent
from detector.rows.series_arrays import SeriesArray
from tests.detector.engine.test_engine import FOLLOWING, SHORT, engine_of, feed, outcome, regular
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, cuts_of, part, readings_of, streams

KINDS: list[dict[str, Any]] = [
    {},
    {"scoring": Scoring(delay=7), "more": SHORT},
    {"more": (("conv", 8, 3), *SHORT), "threshold": 1.1, "has_reference": True},
    {"threshold": 1.2, "limit": FOLLOWING, "scoring": Scoring(delay=2), "stride": 2, "has_reference": True},
]


class Halving:
    """A feedback that halves the past of a series whose incident is open, and counts how often it did."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.acts = SeriesArray((), np.int64, 0)

    def acting(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        names = self._parts.series.names
        tracks = [self._parts.incidents.track(names[slot]) for slot in slots.tolist()]
        return np.array([track is not None and track.incident is not None for track in tracks], np.bool_)

    def wakes(self, event: IncidentEvent) -> bool:
        return event.kind == "opened" and event.incident.reason != "missing"

    def act(
        self, slots: NDArray[np.int32], finish_waiting: Callable[[NDArray[np.int32]], None]
    ) -> tuple[IncidentEvent, ...]:
        self.acts.reserve(int(slots.max()) + 1)
        self.acts.data[slots] += 1
        self._parts.window_scorer.past.data[slots] *= 0.5
        return ()

    def drop(self, slots: NDArray[np.int32]) -> None:
        self.acts.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        return [self.acts]


def engine_with_feedback(kind: dict[str, Any], **options: Any) -> Engine:
    engine = engine_of(make_artifact(**kind, interval_ns=INTERVAL_NS, flatline_rows=9), **options)
    engine._parts.feedback = (Halving(engine._parts),)
    return engine


def acts_of(engine: Engine) -> dict[str, int]:
    feedback = engine._parts.feedback[0]
    assert isinstance(feedback, Halving)
    names = engine._parts.series.names
    feedback.acts.reserve(len(names))
    return {name: int(feedback.acts.data[slot]) for slot, name in enumerate(names)}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=8)
@given(data=st.data(), readings=streams(max_rows=250))
def test_a_feedback_acts_at_the_same_rows_for_any_cut(
    kind: dict[str, Any], data: st.DataObject, readings: Readings
) -> None:
    whole, pieces = engine_with_feedback(kind, lateness_ns=20), engine_with_feedback(kind, lateness_ns=20)
    expected = feed(whole, readings, [0, len(readings)])
    assert feed(pieces, readings, data.draw(cuts_of(len(readings)))) == expected
    assert pieces.counters == whole.counters
    assert acts_of(pieces) == acts_of(whole)


def bursts(seed: int, num_rows: int, num_series: int = 3) -> Readings:
    """Noise of several series, each with bursts of its own that last for up to 300 rows."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((num_series, num_rows, 2)) * 0.2
    for one in values:
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(num_rows))
            one[at : at + int(rng.integers(1, 300))] += rng.normal(0, 6, 2)
    number = np.arange(num_rows * num_series)
    row = number // num_series
    return readings_of(
        (number % num_series).astype(np.int64), row * INTERVAL_NS, values[number % num_series, row]
    )


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_long_stretches_are_taken_back_where_an_incident_opens(kind: dict[str, Any], seed: int) -> None:
    readings = bursts(seed, 1000)
    whole, pieces = engine_with_feedback(kind), engine_with_feedback(kind)
    expected = feed(whole, readings, [0, len(readings)])
    cuts = [0, *np.sort(np.random.default_rng(seed).integers(0, len(readings), 60)).tolist(), len(readings)]
    assert feed(pieces, readings, cuts) == expected
    assert pieces.counters == whole.counters
    assert acts_of(pieces) == acts_of(whole)
    assert sum(acts_of(whole).values()) > 2, "no incident was open between two parts"


def test_a_restored_series_is_changed_at_the_same_rows() -> None:
    readings = bursts(1, 600)
    expected = feed(engine_with_feedback({}), readings, [0, len(readings)])
    engine = engine_with_feedback({})
    results = []
    for start in range(0, len(readings), 171):
        results.append(engine.step(part(readings, start, min(start + 171, len(readings)))))
        known = engine._parts.series.known()
        states = [decode_state(state.name, encode_state(state, 0)) for state in engine.save(known)]
        engine = engine_with_feedback({})
        engine.restore([found[0] for found in states if found is not None], 0, None)
    assert outcome([*results, engine.flush()]) == expected


def test_rows_after_a_boundary_see_what_was_decided_before_it() -> None:
    """By hand: an incident opens at row 40; from row 64 on, windows have the past as it was changed."""
    readings = regular(80)
    readings.values[:] *= 0.01
    readings.values[40:] += 30.0
    with_feedback = engine_of(make_artifact())
    with_feedback._parts.feedback = (Halving(with_feedback._parts),)
    changed, plain = with_feedback.step(readings), engine_of(make_artifact()).step(readings)
    differs = changed.verdicts.score != plain.verdicts.score
    differs &= ~np.isnan(plain.verdicts.score)
    assert np.flatnonzero(differs)[0] == 2 * rounds.PART_ROWS
    assert changed.incidents[0].at_ns == 41 * 10**9
