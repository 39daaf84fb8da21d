"""A channel that dies is named, its neighbours are not blamed for it, and their own faults are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import Detector
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.incident import Incident
from detector.incidents.rules import ChannelRule, IncidentRules
from detector.offline.frames import FrameSource, chunk_of_frame
from detector.scoring.verdicts import State
from tests.support.sines import CHANNELS, NOISE, WINDOW, frame_of, linear_artifact

LIMIT = 30
ROWS = 500


def incidents_of(frame: pd.DataFrame, rules: IncidentRules | None = None) -> list[Incident]:
    options = EngineOptions(rules=rules or IncidentRules(channel_after=LIMIT))
    return list(Detector(linear_artifact(), options).replay(frame).incidents)


ROWS_OF_NOISE = 8
"""Fewer channels share an error, so that it varies more. A neighbour that is blamed has 100 rows and more."""


def anomalous_rows(frame: pd.DataFrame) -> int:
    options = EngineOptions(rules=IncidentRules(channel_after=LIMIT))
    return int((Detector(linear_artifact(), options).score(frame)["state"] == "anomalous").sum())


def names_of(incident: Incident) -> set[str]:
    return {channel.name for channel in incident.channels}


def row_of(frame: pd.DataFrame, at_ns: int) -> int:
    return int(frame.index.get_indexer([pd.Timestamp(at_ns, tz="UTC")])[0])


def dead(frame: pd.DataFrame, channels: list[int], start: int, stop: int | None = None) -> pd.DataFrame:
    frame = frame.copy()
    frame.iloc[start:stop, channels] = np.nan
    return frame


SOME = st.sets(st.integers(0, len(CHANNELS) - 1), min_size=1, max_size=len(CHANNELS) - 1)


@settings(max_examples=12, deadline=None)
@given(gone=SOME, start=st.integers(0, 250), seed=st.integers(1, 50))
def test_dead_channels_are_named_in_time_and_the_others_are_not_blamed(
    gone: set[int], start: int, seed: int
) -> None:
    whole = frame_of(ROWS, seed, 1200)
    frame = dead(whole, sorted(gone), start)
    found = incidents_of(frame)
    missing = [one for one in found if one.reason == "missing"]
    assert [names_of(one) for one in missing] == [{CHANNELS[at] for at in gone}]
    assert row_of(frame, missing[0].start_ns) == start + LIMIT - 1
    assert missing[0].state == "firing"
    assert anomalous_rows(frame) <= anomalous_rows(whole) + ROWS_OF_NOISE


@settings(max_examples=8, deadline=None)
@given(gone=SOME, at=st.integers(200, 400), data=st.data())
def test_a_fault_in_another_channel_is_found_meanwhile(gone: set[int], at: int, data: st.DataObject) -> None:
    faulty = data.draw(st.sampled_from(sorted(set(range(len(CHANNELS))) - gone)))
    frame = dead(frame_of(ROWS, 3, 1200), sorted(gone), 100)
    frame.iloc[at : at + 6, faulty] += 16 * NOISE[faulty]
    hits = [one for one in incidents_of(frame) if one.reason == "score" and at <= row_of(frame, one.peak_ns)]
    assert any(CHANNELS[faulty] in names_of(one) for one in hits)


@pytest.mark.parametrize("unit", [lambda x: x * 1.8 + 32, lambda x: x * 1000])
def test_a_channel_that_comes_back_in_another_unit_is_told(unit) -> None:
    frame = dead(frame_of(ROWS, 4, 1200), [0], 100, 300)
    frame.iloc[300:, 0] = unit(frame.iloc[300:, 0])
    missing, *others = sorted(incidents_of(frame), key=lambda one: one.reason != "missing")
    assert (missing.state, row_of(frame, missing.end_ns or 0)) == ("resolved", 300)
    assert any("flow" in names_of(one) and row_of(frame, one.start_ns) == 300 for one in others)


def test_rows_say_missing_and_keep_the_score_of_what_is_known() -> None:
    frame = dead(frame_of(ROWS, 5, 1200), [1, 2], 0)
    options = EngineOptions(rules=IncidentRules(channel_after=LIMIT))
    verdicts = Detector(linear_artifact(), options).score(frame)
    assert set(verdicts["state"][: LIMIT - 1]) <= {"warming", "ok"}
    assert (verdicts["state"][LIMIT:] == State.MISSING.label).mean() > 0.95
    assert verdicts["score"][WINDOW:].notna().all()


def test_limits_are_learnt_stated_for_all_or_stated_for_one() -> None:
    frame = dead(frame_of(ROWS, 6, 1200), [0], 100)
    assert linear_artifact().spec.channels[0].missing_rows == 30
    for rules, expected in (
        (IncidentRules(), 129),
        (IncidentRules(channel_after=50), 149),
        (IncidentRules(channel_after=50, channels={"flow": ChannelRule(channel_after=80)}), 179),
    ):
        found = [one for one in incidents_of(frame, rules) if one.reason == "missing"]
        assert [row_of(frame, one.start_ns) for one in found] == [expected]
    off = IncidentRules(channel_after=0)
    assert not any(one.reason == "missing" for one in incidents_of(frame, off))


def test_a_series_that_never_had_the_channel_does_not_miss_it() -> None:
    artifact = linear_artifact()
    artifact = replace(artifact, spec=replace(artifact.spec, absent={"pump-1": ("flow",)}))
    frame = dead(frame_of(ROWS, 7, 1200), [0], 0).assign(series="pump-1")
    other = frame.assign(series="pump-2")
    rows = pd.concat([frame, other])
    found = Detector(artifact).replay(rows).incidents
    assert [one.series for one in found if one.reason == "missing"] == ["pump-2"]


@settings(max_examples=3, deadline=None)
@given(cut=st.integers(20, 480))
def test_a_restart_changes_nothing(cut: int) -> None:
    frame = dead(dead(frame_of(ROWS, 8, 1200), [0], 60, 350), [2], 200)
    options = EngineOptions(rules=IncidentRules(channel_after=LIMIT))
    whole = Engine(linear_artifact(), options)
    batch = FrameSource(chunk_of_frame(frame, tuple(CHANNELS))).poll(0.0)
    assert batch is not None
    readings, early = batch.readings, np.arange(ROWS) < cut
    expected = [repr(event.incident) for event in whole.step(readings).incidents]
    before, after = Engine(linear_artifact(), options), Engine(linear_artifact(), options)
    events = list(before.step(readings.take(early)).incidents)
    after.restore(before.save(before.changed().slot), 0, None)
    events += after.step(readings.take(~early)).incidents
    assert [repr(event.incident) for event in events] == expected


THINNED = {
    "every 2nd row": lambda row, rng: row % 2 != 0,
    "every 3rd row": lambda row, rng: row % 3 != 0,
    "half of the rows": lambda row, rng: rng.random(len(row)) < 0.5,
    "a fifth of the rows": lambda row, rng: rng.random(len(row)) < 0.2,
}
"""Which rows are missing."""


@pytest.mark.parametrize("gone", THINNED.values(), ids=THINNED)
def test_missing_rows_hide_no_fault_and_raise_no_alarm(gone: Callable[..., np.ndarray]) -> None:
    whole = frame_of(ROWS, 3, 1200)
    kept = whole[~gone(np.arange(ROWS), np.random.default_rng(0))]
    at = len(kept) * 3 // 4
    assert anomalous_rows(kept) <= anomalous_rows(whole) + ROWS_OF_NOISE
    faulty = kept.copy()
    faulty.iloc[at:, 0] += 50 * NOISE[0]
    states = Detector(linear_artifact()).score(faulty)["state"].loc[faulty.index[at : at + 10]]
    assert (states == "anomalous").sum() >= 8


def test_channels_that_come_in_turn_hide_no_fault() -> None:
    frame = frame_of(ROWS, 3, 1200)
    frame.iloc[300:, 0] += 50 * NOISE[0]
    in_turn = np.arange(ROWS)[:, None] % len(CHANNELS) == np.arange(len(CHANNELS))
    states = Detector(linear_artifact()).score(frame.where(in_turn))["state"]
    assert (states.iloc[300:340] == "anomalous").any()
    assert not (states.iloc[:300] == "anomalous").any()
