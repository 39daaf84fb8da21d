"""Another artifact takes over a running engine: nothing is lost, nothing doubled, nothing forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Artifact, Scoring
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.incidents.rules import ChannelRule, IncidentRules
from detector.scoring.verdicts import State
from detector.service.reload.model_reload import Candidate, ModelReloader, Running
from detector.service.reload.reload_counts import ReloadCounts
from tests.detector.engine.test_snapshot import FOLLOWING, KINDS, engine_of, outcome, through_bytes
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, part, streams

RULES = IncidentRules(for_rows=2, of_rows=3, quiet_rows=3)
Key = tuple[str, int]


def retrained(artifact: Artifact, seed: int = 7) -> Artifact:
    """Other weights, another center and scale, the same shape."""
    spec = artifact.spec
    channels = tuple(replace(one, center=one.center + 0.7, scale=one.scale * 1.9) for one in spec.channels)
    torch_seeded = make_artifact(
        spec.channel_names,
        family=spec.members[0].family,
        window=spec.window,
        more=[(one.family, one.window) for one in spec.members[1:]],
        seed=seed,
    )
    return replace(artifact, spec=replace(spec, channels=channels), module=torch_seeded.module)


def noted(artifact: Artifact) -> Artifact:
    """Another version that judges alike."""
    return replace(artifact, spec=replace(artifact.spec, training={"note": "another"}), version="other")


def fresh(artifact: Artifact, like: Engine) -> Engine:
    return Engine(artifact, like.options)


def rows_of(*results: StepResult) -> dict[Key, tuple[int, float]]:
    """(series, time) -> state and score; nothing may be said twice."""
    found: dict[Key, tuple[int, float]] = {}
    for result in results:
        verdicts = result.verdicts
        for at in range(len(verdicts)):
            key = (verdicts.names[verdicts.series[at]], int(verdicts.timestamp_ns[at]))
            assert key not in found
            found[key] = (int(verdicts.state[at]), float(verdicts.score[at]))
    return found


def regular(num_rows: int, start: int = 0, num_channels: int = 2, size: float = 1.0) -> Readings:
    values = size * np.random.default_rng(start).standard_normal((num_rows, num_channels))
    zeros = np.zeros(num_rows, np.int32)
    times = (start + np.arange(num_rows)) * INTERVAL_NS
    return Readings(("pump",), zeros, times, values, zeros, start + np.arange(num_rows))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=15)
@given(readings=streams(max_rows=80), cut=st.floats(0, 1))
def test_a_version_that_judges_alike_changes_nothing(
    kind: dict[str, Any], readings: Readings, cut: float
) -> None:
    at = round(cut * len(readings))
    undisturbed, reloaded = engine_of(kind), engine_of(kind)
    for engine in (undisturbed, reloaded):
        engine.step(part(readings, 0, at))
    before = replace(reloaded.counters)
    reloaded.take_over(fresh(noted(reloaded.artifact), reloaded))
    assert reloaded.artifact.version == "other"
    assert replace(reloaded.counters) == before
    rest = part(readings, at, len(readings))
    got, wanted = outcome(reloaded, rest), outcome(undisturbed, rest)
    assert got["rows"] == wanted["rows"]
    assert {one.replace("'other'", "'unsaved'") for one in got["incidents"]} == wanted["incidents"]
    assert reloaded.counters == undisturbed.counters


@pytest.mark.parametrize("kind", [one for one in KINDS if "limit" not in one], ids=str)
@settings(max_examples=15)
@given(readings=streams(max_rows=80), cut=st.floats(0, 1))
def test_rows_after_a_retrained_model_took_over_are_judged_as_if_it_had_seen_everything(
    kind: dict[str, Any], readings: Readings, cut: float
) -> None:
    at = round(cut * len(readings))
    old = engine_of(kind)
    new = fresh(retrained(old.artifact), old)
    whole = fresh(retrained(old.artifact), old)
    before = rows_of(old.step(part(readings, 0, at)))
    old.take_over(new)
    after = rows_of(old.step(part(readings, at, len(readings))), old.flush())
    expected = rows_of(whole.step(readings), whole.flush())
    newest = {
        name: int(readings.timestamp_ns[:at][readings.series[:at] == number].max(initial=-1))
        for number, name in enumerate(readings.names)
    }
    assert before.keys() | after.keys() == expected.keys()
    assert not before.keys() & after.keys()
    for (name, time), (state, score) in after.items():
        if time > newest[name]:  # what waited had fewer windows of the new one
            assert score == pytest.approx(expected[name, time][1], rel=1e-4, nan_ok=True)
            assert state == expected[name, time][0] or abs(score - 1) < 1e-3


def test_what_waited_is_judged_by_the_windows_of_the_new_model_alone() -> None:
    kind = {"scoring": Scoring(delay=4)}
    old = engine_of(kind, lateness_rows=0)
    old.step(regular(30))
    new = fresh(retrained(old.artifact), old)
    expected = fresh(retrained(old.artifact), old)
    expected.step(regular(30))
    old.take_over(new)
    rest = regular(30, start=30)
    got, wanted = rows_of(old.step(rest)), rows_of(expected.step(rest))
    assert got.keys() == wanted.keys()
    assert all(score == score for _, score in got.values()), "each has a window of the new model at least"
    late = [key for key in got if key[1] >= 29 * INTERVAL_NS]
    assert len(late) == 26
    assert all(got[key][1] == pytest.approx(wanted[key][1], rel=1e-4) for key in late)


@pytest.mark.parametrize(
    "other",
    [{"window": 12}, {"channels": ("flow",)}, {"channels": ("heat", "pressure", "flow")}, {"stride": 2}],
    ids=str,
)
@settings(max_examples=10)
@given(readings=streams(max_rows=80), cut=st.floats(0, 1), delay=st.sampled_from([0, 4]))
def test_with_other_windows_or_channels_no_row_is_lost_and_series_warm_up(
    other: dict[str, Any], readings: Readings, cut: float, delay: int
) -> None:
    at = round(cut * len(readings))
    undisturbed, old = (engine_of({"scoring": Scoring(delay=delay)}) for _ in range(2))
    expected = rows_of(undisturbed.step(readings), undisturbed.flush())
    new = fresh(make_artifact(interval_ns=INTERVAL_NS, scoring=Scoring(delay=delay), **other), old)
    channels = new.artifact.spec.channel_names
    before = rows_of(old.step(part(readings, 0, at)), old.finish_waiting())
    old.take_over(new)
    rest = part(readings, at, len(readings))
    columns = np.full((len(rest), len(channels)), np.nan)
    for number, name in enumerate(channels):
        if name in ("flow", "pressure"):
            columns[:, number] = rest.values[:, ("flow", "pressure").index(name)]
    after = rows_of(old.step(replace(rest, values=columns)), old.flush())
    assert not before.keys() & after.keys()
    missing = expected.keys() - before.keys() - after.keys()
    assert all(expected[key][0] == State.GAP for key in missing), "only rows in which nothing came"
    first: dict[str, int] = {}
    for name, time in sorted(after):
        first.setdefault(name, time)
        if delay == 0 and time < first[name] + (new.artifact.spec.window - 2) * INTERVAL_NS:
            assert np.isnan(after[name, time][1])


def test_an_open_incident_survives_another_window_and_resolves_under_its_id() -> None:
    old = engine_of({"threshold": 0.01}, lateness_rows=0)
    opened = old.step(regular(20)).incidents
    assert [event.kind for event in opened][:1] == ["opened"]
    (incident,) = old.open_incidents
    quiet = make_artifact(interval_ns=INTERVAL_NS, window=12, threshold=1e9)
    old.take_over(fresh(quiet, old))
    assert old.open_incidents == (incident,)
    assert old.latest.names == ("pump",)
    result = old.step(regular(40, start=20))
    assert result.verdicts.state[:11].tolist() == [2] * 11  # warming
    (event,) = result.incidents
    assert (event.kind, event.incident.id) == ("resolved", incident.id)


def test_everything_is_to_be_saved_after_a_takeover_and_after_other_rules() -> None:
    engine = engine_of({})
    engine.step(regular(10))
    engine.save(engine.changed().slot)
    engine.take_over(fresh(retrained(engine.artifact), engine))
    assert engine.changed().urgent.tolist() == [True]
    engine.save(engine.changed().slot)
    engine.use_rules(IncidentRules(for_rows=3, of_rows=3))
    assert engine.options.rules.for_rows == 3
    assert engine.changed().urgent.tolist() == [True]


def test_other_rules_hold_from_the_next_row_on() -> None:
    engine = engine_of({"threshold": 0.01}, lateness_rows=0)
    engine.use_rules(IncidentRules(for_rows=50, of_rows=50))
    assert engine.step(regular(30)).incidents == ()
    engine.use_rules(IncidentRules(for_rows=1, of_rows=1))
    assert [event.kind for event in engine.step(regular(2, start=30)).incidents] == ["opened"]


def test_a_replay_by_another_model_leaves_incidents_as_they_were_left() -> None:
    """What the new model would have said of them was never said."""
    loud = engine_of({"threshold": 0.01}, lateness_rows=0)
    loud.step(regular(20))
    (incident,) = loud.open_incidents
    states = through_bytes(loud.save(loud.changed().slot))
    quiet = Engine(make_artifact(interval_ns=INTERVAL_NS, threshold=1e9), EngineOptions(rules=RULES))
    quiet.restore(states, 0, None)
    assert quiet.changed().urgent.tolist() == [True]
    quiet.step_in_silence(regular(20, start=20))
    assert quiet.open_incidents == (incident,)
    (event,) = quiet.step(regular(10, start=40)).incidents
    assert (event.kind, event.incident.id) == ("resolved", incident.id)
    same = engine_of({"threshold": 0.01}, lateness_rows=0)
    same.restore(states, 0, None)
    assert same.changed().urgent.tolist() == [], "who judges alike goes on exactly and saves nothing"


def test_an_incident_is_saved_with_the_batch_that_tells_of_it() -> None:
    engine = engine_of({"threshold": 0.01}, lateness_rows=0)
    engine.step(regular(6))
    engine.save(engine.changed().slot)
    engine.step(regular(1, start=6))
    assert not engine.changed().urgent.any()
    assert engine.step(regular(4, start=7)).incidents
    assert engine.changed().urgent.tolist() == [True]


def test_page_levels_are_carried_over() -> None:
    engine = engine_of({"limit": replace(FOLLOWING, alarms_a_row=1e-4), "threshold": 1.1}, lateness_rows=0)
    engine.step(regular(400))
    new = fresh(retrained(engine.artifact), engine)
    before = engine.step(regular(1, start=400)).verdicts.threshold[-1]
    engine.take_over(new)
    after = engine.step(regular(1, start=401)).verdicts.threshold[-1]
    assert before != 1.0
    assert after == pytest.approx(before, rel=0.1)


class Ready:
    """A watcher that has a model ready, once."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate: Candidate | None = candidate

    def take(self) -> Candidate | None:
        candidate, self._candidate = self._candidate, None
        return candidate


class Holding:
    """A source that has lost nothing."""

    has_lost = False


def test_a_model_without_a_channel_that_rules_were_made_of_meanwhile_is_refused_and_the_old_one_stays() -> (
    None
):
    old = Engine(make_artifact(interval_ns=INTERVAL_NS))
    new = Engine(make_artifact(interval_ns=INTERVAL_NS, channels=("flow", "level")))
    old.use_rules(IncidentRules(channels={"pressure": ChannelRule(min_absolute=1.0)}))
    running = Running(old, Holding(), None, None, lambda result: None)  # type: ignore[arg-type]  # nothing is written
    counts = ReloadCounts()
    reloader = ModelReloader(running, Ready(Candidate(new, None)), counts)  # type: ignore[arg-type]  # nothing is decoded
    version = old.artifact.version
    assert not reloader.on_turn()
    assert not reloader.on_turn()
    assert counts.by_outcome == {"loaded": 0, "refused": 1}
    assert (old.artifact.version, old.artifact.spec.channel_names) == (version, ("flow", "pressure"))
