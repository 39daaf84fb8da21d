"""A series that the model does not know learns its own scales, whatever the cut, and is never critical."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.cold.cold_start import ColdStart
from detector.artifact.spec import Artifact, PageLimit, Scoring
from detector.engine.engine import Engine, EngineOptions
from detector.engine.snapshot import FORMAT, decode_state, encode_state
from detector.incidents.decision import Decision
from detector.incidents.incident import IncidentEvent
from detector.scoring.cold.learnt_scales import ColdOptions
from detector.scoring.verdicts import State, Verdicts
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, cuts_of

WARMUP, PART = 64, 32
ALWAYS = EngineOptions(cold=ColdOptions(enabled=True))
EVERYTHING: dict[str, Any] = {
    "limit": PageLimit(alarms_a_row=0.02, rise=1.4),
    "has_reference": True,
    "flatline_rows": 12,
}


def model(known: tuple[str, ...] = ("pump-1",), **kind: Any) -> Artifact:
    """A model that knows some series; its channels have the centre 0 and the scale 1."""
    artifact = make_artifact(interval_ns=INTERVAL_NS, **({"family": "linear"} | kind))
    return replace(artifact, spec=replace(artifact.spec, cold=ColdStart(known, WARMUP)))


def noise(num: int, center: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return center + scale * np.random.default_rng(seed).standard_normal((num, 2))


def rows(name: str, values: np.ndarray, start: int = 0) -> Readings:
    """Rows of one series, the first of which begins a part."""
    num = len(values)
    times = (PART * 100 + start + np.arange(num)) * INTERVAL_NS
    return Readings((name,), np.zeros(num, np.int32), times, values, np.zeros(num, np.int32), np.arange(num))


def judged(engine: Engine, name: str, values: np.ndarray) -> tuple[Verdicts, list[IncidentEvent]]:
    """The final verdicts of rows, one for each, and what became of incidents."""
    found = [engine.step(rows(name, values)), engine.flush()]
    columns = [one.verdicts.take(np.arange(len(one.verdicts))) for one in found]
    parts = [[getattr(one, f.name) for one in columns] for f in fields(Verdicts) if f.name != "names"]
    verdicts = Verdicts((name,), *(np.concatenate(one) for one in parts))
    return verdicts, [event for one in found for event in one.incidents]


def bits(results: list[Verdicts]) -> list[bytes]:
    """Every column of verdicts without lines, one after the other."""
    names = [f.name for f in fields(Verdicts) if f.name not in ("names", "lines", "series")]
    return [b"".join(getattr(one, name).tobytes() for one in results) for name in names]


def two_series(num: int, seed: int) -> Readings:
    """A known and a new series in turn; the new one is far away, and wild for a while."""
    known, new = noise(num, seed=seed), noise(num, 500.0, 40.0, seed + 1)
    new[num // 2 : num // 2 + 20, 0] += 900.0
    values = np.stack([known, new], axis=1).reshape(-1, 2)
    values[np.random.default_rng(seed).random(values.shape) < 0.03] = np.nan
    times = (PART * 100 + 5 + np.repeat(np.arange(num), 2)) * INTERVAL_NS
    series = np.tile(np.array([0, 1], np.int32), num)
    return Readings(("pump-1", "pump-9"), series, times, values, series, np.arange(2 * num))


def stepped(engine: Engine, readings: Readings, cuts: list[int]) -> list[Verdicts]:
    return [engine.step(readings.take(np.arange(*cut))).verdicts for cut in pairwise(cuts) if cut[0] < cut[1]]


def of_series(results: list[Verdicts], name: str) -> list[Verdicts]:
    known = [one for one in results if name in one.names]
    return [one.take(one.series == one.names.index(name)) for one in known]


@pytest.mark.parametrize("delay", [0, 5])
@settings(max_examples=10, deadline=None)
@given(cuts=cuts_of(800), at=st.integers(0, 800), seed=st.integers(0, 9))
def test_no_cut_and_no_restart_changes_a_bit(delay: int, cuts: list[int], at: int, seed: int) -> None:
    readings = two_series(400, seed)
    artifact = model(scoring=Scoring(delay), **EVERYTHING)
    whole = stepped(Engine(artifact, ALWAYS), readings, [0, 800])
    engine = Engine(artifact, ALWAYS)
    first = stepped(engine, readings, [one for one in cuts if one < at] + [at])
    states = [decode_state(one.name, encode_state(one, at)) for one in engine.save(engine.changed().slot)]
    restored = Engine(artifact, ALWAYS)
    for partition in (0, 1):
        kept = [
            one[0] for one in states if one is not None and one[0].name == ("pump-1", "pump-9")[partition]
        ]
        restored.restore(kept, partition, None)
    second = stepped(restored, readings, [at] + [one for one in cuts if one > at])
    for name in ("pump-1", "pump-9"):
        assert bits(of_series(first + second, name)) == bits(of_series(whole, name))


@pytest.mark.parametrize("options", [ALWAYS, EngineOptions(cold=ColdOptions(enabled=False))], ids=str)
def test_a_known_series_is_judged_as_before_in_every_bit(options: EngineOptions) -> None:
    readings, artifact = two_series(400, 1), model(**EVERYTHING)
    before = Engine(replace(artifact, spec=replace(artifact.spec, cold=None)))
    found = [
        of_series(stepped(one, readings, [0, 800]), "pump-1") for one in (before, Engine(artifact, options))
    ]
    assert bits(found[0]) == bits(found[1])
    assert not found[1][0].cold.any()


@pytest.mark.parametrize(("start", "first"), [(0, 128), (1, 159), (31, 129)])
def test_the_first_verdict_comes_after_the_warmup_and_at_most_95_rows(start: int, first: int) -> None:
    """The scales need `warmup` rows, the parts of 32 rows begin where they do, and two of them settle."""
    engine = Engine(model(), ALWAYS)
    verdicts = engine.step(rows("pump-9", noise(400, 1_000.0, 20.0), start)).verdicts
    assert int(np.flatnonzero(~np.isnan(verdicts.score))[0]) == first <= WARMUP + 95
    assert set(verdicts.state[:first]) == {State.WARMING}
    assert verdicts.cold[:first].all()


@pytest.mark.parametrize("options", [{"warmup_rows": 128}, {"warmup_ns": 128 * INTERVAL_NS}], ids=str)
def test_the_configuration_says_how_many_rows_it_takes(options: dict[str, int]) -> None:
    engine = Engine(model(), EngineOptions(cold=ColdOptions(True, **options)))
    verdicts, _ = judged(engine, "pump-9", noise(400, 1_000.0, 20.0))
    assert int(np.flatnonzero(~np.isnan(verdicts.score))[0]) == 128 + 64


def test_where_no_series_begins_cold_nothing_more_is_kept() -> None:
    """A new version of a model would have lost all windows, and taken twice the memory for them."""
    plain, told = (
        Engine(replace(model(), spec=replace(model().spec, cold=cold)))
        for cold in (None, ColdStart(("a", "b"), WARMUP))
    )
    for engine in (plain, told):
        engine.step(rows("pump-9", noise(40)))
    before, after = (engine.save(engine.slots_of(["pump-9"]))[0] for engine in (plain, told))
    assert before.cells == after.cells
    assert before.origin.layout == after.origin.layout


def test_nothing_is_cold_unless_somebody_says_so() -> None:
    values = noise(200, 3.0)
    for known, enabled, is_cold in (
        (("a",), True, True),
        (("a", "b"), True, True),
        (("a", "b"), False, False),
    ):
        engine = Engine(model(known), EngineOptions(cold=ColdOptions(enabled)))
        assert judged(engine, "pump-9", values)[0].cold.any() == is_cold


def test_a_series_far_away_is_expected_where_it_is_and_learns_until_eight_times_the_warmup() -> None:
    """The scales are those of its rows: the expected values lie near them, not near those of the model."""
    engine = Engine(model(threshold=3.0), ALWAYS)
    verdicts, events = judged(engine, "pump-9", noise(1_000, 1_000.0, 20.0))
    assert events == []
    assert np.abs(np.nanmean(verdicts.expected[200:], axis=0) - 1_000.0).max() < 15.0
    last = int(np.flatnonzero(verdicts.cold)[-1])
    assert last == 8 * WARMUP - 1
    center, scale = engine._parts.window_scorer.scales.trained_at(engine.slots_of(["pump-9"]))
    seen = noise(1_000, 1_000.0, 20.0)[: 8 * WARMUP]
    assert center[0] == pytest.approx(seen.mean(axis=0), abs=1.0)
    assert scale[0] == pytest.approx(seen.std(axis=0), rel=0.1)


def test_metrics_and_explanations_know_the_scales_that_a_series_has_learnt() -> None:
    """Else a graph shows each healthy row outside its band, and sentences speak of another range."""
    engine = Engine(model(threshold=3.0, **EVERYTHING), ALWAYS)
    judged(engine, "pump-9", noise(1_000, 500.0, 20.0))
    slots = engine.slots_of(["pump-9"])
    scale = engine._parts.window_scorer.scales.trained_at(slots)[1][0]
    assert scale.min() > 10.0
    band = engine.channels_at(slots)[0, 3]
    np.testing.assert_array_equal(band, engine.artifact.spec.column("band") * scale)
    knowledge = engine._parts.incidents._explainer.knowledge
    np.testing.assert_array_equal(knowledge.band_of("pump-9"), band)
    lowest, highest = knowledge.range_of("pump-9")
    assert (lowest > 300.0).all()
    assert (highest < 700.0).all()


def test_a_series_like_the_others_keeps_their_scales() -> None:
    engine = Engine(model(), ALWAYS)
    judged(engine, "pump-9", noise(600))
    center, scale = engine._parts.window_scorer.scales.trained_at(engine.slots_of(["pump-9"]))
    assert center.tolist() == [[0.0, 0.0]]
    assert scale.tolist() == [[1.0, 1.0]]


def test_a_jump_is_found_while_a_series_is_cold_and_is_never_critical() -> None:
    values = noise(400, 1_000.0, 20.0)
    values[250:300] += 400.0
    verdicts, events = judged(Engine(model(threshold=3.0), ALWAYS), "pump-9", values)
    assert np.nanmax(verdicts.score[250:300]) > 2.0
    opened = [event.incident for event in events if event.kind == "opened"]
    assert [one.severity for one in opened] == ["warning"]
    assert opened[0].start_ns == int(verdicts.timestamp_ns[250])
    assert "escalated" not in [event.kind for event in events]


def test_a_stuck_channel_is_found_before_the_first_verdict() -> None:
    values = noise(100, 1_000.0, 20.0)
    values[20:60, 1] = 1_000.0
    verdicts, events = judged(Engine(model(flatline_rows=12), ALWAYS), "pump-9", values)
    assert verdicts.state[40] == State.FLATLINE
    assert [event.incident.severity for event in events if event.kind == "opened"] == ["warning"]


def test_nothing_is_learnt_while_an_incident_is_open() -> None:
    """A jump that stays is no new level: the incident stays open, and the scales are those before it."""
    values = noise(1_500, 1_000.0, 20.0)
    values[250:] += 400.0
    engine = Engine(model(threshold=3.0), ALWAYS)
    _, events = judged(engine, "pump-9", values)
    assert [event.kind for event in events] == ["opened"]
    center, _ = engine._parts.window_scorer.scales.trained_at(engine.slots_of(["pump-9"]))
    assert np.abs(center - 1_000.0).max() < 15.0


def test_an_accepted_level_is_normal_and_ends_the_learning() -> None:
    values = noise(1_500, 1_000.0, 20.0)
    values[250:] += 400.0
    engine = Engine(model(threshold=3.0), ALWAYS)
    found = engine.step(rows("pump-9", values[:500])).incidents
    incident = found[0].incident
    at_ns = int(rows("pump-9", values).timestamp_ns[500])
    accepted = Decision("d", "accept", "pump-9", at_ns, incident=incident.id, channels=("flow", "pressure"))
    engine.decide([(0, accepted)])
    later = engine.step(rows("pump-9", values[500:], 500))
    assert [one.outcome for one in later.decisions] == ["applied"]
    assert [event.kind for event in later.incidents] == ["accepted", "resolved"]
    assert np.nanmax(later.verdicts.score[20:]) < 1.0
    assert not later.verdicts.cold[PART:].any()
    assert later.verdicts.expected[-1] == pytest.approx([1_400.0, 1_400.0], abs=60.0)


def test_a_constant_channel_has_its_own_value_and_one_that_moves_is_left_alone() -> None:
    artifact = model()
    channels = (replace(artifact.spec.channels[0], law="constant"), artifact.spec.channels[1])
    artifact = replace(artifact, spec=replace(artifact.spec, channels=channels))
    rest = noise(400, 1_000.0, 20.0)
    still, moving = rest.copy(), rest.copy()
    still[:, 0] = 7.0
    still[300:, 0] = 8.0
    quiet, _ = judged(Engine(artifact, ALWAYS), "pump-8", moving)
    assert not (quiet.state == State.ANOMALOUS).any()
    verdicts, _ = judged(Engine(artifact, ALWAYS), "pump-9", still)
    assert not (verdicts.state[:300] == State.ANOMALOUS).any()
    assert (verdicts.state[300:] == State.ANOMALOUS).all()
    assert verdicts.expected[310, 0] == 7.0


@pytest.mark.parametrize("by_reload", [True, False])
@pytest.mark.parametrize("known", [("pump-1",), ("pump-1", "pump-9")], ids=["unknown", "known"])
def test_another_version_goes_on_with_what_was_learnt_unless_it_knows_the_series(
    known: tuple[str, ...], by_reload: bool
) -> None:
    values = noise(400, 2.0, 3.0)
    old, new = Engine(model(), ALWAYS), Engine(model(known, seed=1), ALWAYS)
    old.step(rows("pump-9", values[:300]))
    if by_reload:
        old.take_over(new)
        new = old
    else:
        states = [decode_state(one.name, encode_state(one, 300)) for one in old.save(old.changed().slot)]
        new.restore([one[0] for one in states if one is not None], 0, None)
    verdicts = new.step(rows("pump-9", values[300:], 300)).verdicts
    center, _ = new._parts.window_scorer.scales.trained_at(new.slots_of(["pump-9"]))
    if "pump-9" in known:
        assert not verdicts.cold.any()
        assert center.tolist() == [[0.0, 0.0]]
    else:
        assert verdicts.cold.all()
        assert np.abs(center - 2.0).max() < 1.0
    slot = int(new.slots_of(["pump-9"])[0])
    kept = new._parts.window_scorer.scales.to_channels(
        new._parts.window_scorer.past.data[slot].astype(float), np.full(7, slot, np.int32)
    )
    np.testing.assert_allclose(kept, values[-8:-1], rtol=1e-5)  # the last row is still open


def test_the_newest_view_names_cold_series_and_their_first_rows_are_no_problem() -> None:
    engine = Engine(model(), ALWAYS)
    engine.step(rows("pump-9", noise(60, 1_000.0, 20.0)))
    engine.step(rows("pump-1", noise(60)))
    latest = engine.latest
    assert dict(zip(latest.names, latest.cold.tolist(), strict=True)) == {"pump-9": True, "pump-1": False}
    assert not latest.unjudged.is_long.any()


def test_the_bands_of_an_incident_are_those_of_the_series() -> None:
    values = noise(400, 1_000.0, 20.0)
    values[250:300] += 400.0
    _, events = judged(Engine(model(threshold=3.0), ALWAYS), "pump-9", values)
    channel = events[0].incident.channels[0]
    assert channel.upper - channel.lower == pytest.approx(2 * 2.0 * 20.0, rel=0.2)


def test_the_format_of_snapshots_is_as_it_was() -> None:
    """A model that does not say how series begin has the cells of before."""
    assert FORMAT == 8
    plain = make_artifact(interval_ns=INTERVAL_NS)
    sizes = []
    for artifact in (plain, replace(plain, spec=replace(plain.spec, cold=ColdStart(("pump-1",), 64)))):
        engine = Engine(artifact, ALWAYS)
        engine.step(rows("pump-1", noise(20)))
        sizes.append(len(engine.save(engine.changed().slot)[0].cells))
    assert sizes[0] < sizes[1] < sizes[0] + 2_000
