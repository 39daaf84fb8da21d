"""The guilty channel is named, and the values that it should have had are possible ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import trainer
from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.incidents.incident import IncidentEvent
from detector.scoring.lasting.blame import CredibleValues, held_peaks
from trainer.config import TrainConfig

NAMES = ("torque", "speed", "current", "vibration")
MINUTE = 60_000_000_000
TRAINED, FIRST, LAST, ROWS = 6_000, 400, 700, 1_000


def motor(num: int, seed: int) -> NDArray[np.float64]:
    """Speed falls and current rises with torque, neither in a straight line."""
    rng = np.random.default_rng(seed)
    torque = np.repeat(rng.uniform(20, 60, num // 90 + 1), 90)[:num] + rng.normal(0, 1, num)
    speed = 1_495 - 0.45 * torque - 0.002 * torque**2 + rng.normal(0, 1, num)
    current = np.sqrt(36 + (0.33 * torque) ** 2) + rng.normal(0, 0.15, num)
    return np.stack([torque, speed, current, 1.8 + 0.01 * torque + rng.normal(0, 0.15, num)], axis=1)


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    index = pd.date_range("2026-01-01", periods=TRAINED, freq="1min")
    frame = pd.DataFrame(motor(TRAINED, 1), columns=list(NAMES), index=index)
    config = TrainConfig.model_validate({"fit": {"refit": False}})
    return trainer.fit(frame.assign(series="m"), model="linear", window=16, config=config)


def incidents(artifact: Artifact, rows: NDArray[np.float64], sizes: tuple[int, ...]) -> list[IncidentEvent]:
    engine, events, at = Engine(artifact), list[IncidentEvent](), 0
    while at < len(rows):
        some = rows[at : at + sizes[at % len(sizes)]]
        number = np.arange(at, at + len(some))
        nothing = np.zeros(len(some), np.int32)
        events += engine.step(Readings(("m",), nothing, number * MINUTE, some, nothing, number)).incidents
        at += len(some)
    return events


def faulty(channel: int, size: float, seed: int) -> NDArray[np.float64]:
    rows = motor(ROWS, seed)
    rows[FIRST:LAST, channel] += size * motor(TRAINED, 1)[:, channel].std()
    return rows


@pytest.mark.parametrize("size", [-3.0, 3.0])
@pytest.mark.parametrize("channel", range(4))
def test_a_lasting_fault_keeps_one_incident_of_its_channel_open(
    artifact: Artifact, channel: int, size: float
) -> None:
    rows = faulty(channel, size, seed=3)
    events = incidents(artifact, rows[:LAST], (250,))
    last = [event for event in events if event.kind != "escalated"][-1]
    assert last.kind == "opened"
    assert FIRST <= last.at_ns // MINUTE < FIRST + 60
    after = incidents(artifact, rows, (250,))
    resolved = next(e for e in after if e.kind == "resolved" and e.incident.id == last.incident.id)
    assert LAST <= resolved.at_ns // MINUTE < LAST + 290
    assert resolved.incident.channels[0].name == NAMES[channel]
    assert last.incident.at_start[0].name == NAMES[channel]


@pytest.mark.parametrize("channel", range(4))
def test_expected_values_are_within_the_history(artifact: Artifact, channel: int) -> None:
    history = motor(TRAINED, 1)
    events = incidents(artifact, faulty(channel, 8.0, seed=4), (500,))
    for one in events[-1].incident.channels:
        values = history[:, NAMES.index(one.name)]
        assert values.min() - 1e-3 <= one.expected <= values.max() + 1e-3


@pytest.mark.parametrize(("beyond", "limited"), [(-1.0, True), (0.5, False), (2.0, True), (np.nan, False)])
def test_an_expected_value_that_history_limits_is_marked(
    artifact: Artifact, beyond: float, limited: bool
) -> None:
    """`beyond`: what the window model expects; 0 is the lowest value of the history, 1 the highest."""
    reference = artifact.spec.reference
    assert reference is not None
    lowest, highest = np.array([reference.lowest]), np.array([reference.highest])
    expected, unknown = lowest + beyond * (highest - lowest), np.full(lowest.shape, np.nan)
    nothing = np.zeros(lowest.shape, np.bool_)
    found, marked = CredibleValues(reference).expected(lowest, expected, unknown, nothing)
    np.testing.assert_array_equal(found, np.clip(expected, lowest, highest))
    assert (marked == limited).all()


def test_healthy_rows_open_nothing(artifact: Artifact) -> None:
    found = [event for seed in range(5, 8) for event in incidents(artifact, motor(1_500, seed), (500,))]
    assert [event.kind for event in found].count("opened") <= 1


def test_incidents_do_not_depend_on_the_cut(artifact: Artifact) -> None:
    rows = faulty(2, 1.0, seed=6)
    # As text: bounds that are NaN are equal there.
    assert repr(incidents(artifact, rows, (1, 7, 40))) == repr(incidents(artifact, rows, (ROWS,)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_held_peaks_equal_a_plain_loop(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    slot = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    values = np.exp(rng.normal(0, 4, (len(slot), 2)))
    before = rng.integers(0, 10 << 16, (len(lengths), 2))
    held = before.copy()
    found = held_peaks(values, slot, before, 8)
    for at, series in enumerate(slot.tolist()):
        new = np.rint(np.log2(np.maximum(values[at], 1.0)) * 65_536).astype(np.int64)
        held[series] = np.maximum(np.maximum(held[series] - 8_192, new), 0)
        assert found[at].tolist() == held[series].tolist()
