"""What is kept of a series under another model, and what is left of it after it was dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from connectors.records import Readings
from detector.artifact.spec import Artifact, PageLimit, Scoring
from detector.engine.engine import Engine, EngineOptions
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.decision import Decision
from detector.incidents.lasting import level_of
from detector.incidents.rules import IncidentRules
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, NAMES, part, readings_of

RULES = IncidentRules(for_rows=2, of_rows=3, quiet_rows=2)
EVERYTHING: dict[str, Any] = {
    "limit": PageLimit(alarms_a_row=0.02, rise=1.4),
    "has_reference": True,
    "flatline_rows": 4,
    "scoring": Scoring(delay=2),
}


def centred(center: float, scale: float, **kind: Any) -> Artifact:
    """A model that expects `center` of both channels, whatever it sees."""
    artifact = make_artifact(family="linear", interval_ns=INTERVAL_NS, **kind)
    with torch.no_grad():
        for weights in artifact.module.parameters():
            weights.zero_()
    channels = tuple(replace(one, center=center, scale=scale) for one in artifact.spec.channels)
    return replace(artifact, spec=replace(artifact.spec, channels=channels))


def engine_of(artifact: Artifact) -> Engine:
    return Engine(artifact, EngineOptions(rules=RULES))


def time_of(row: int) -> int:
    return 1_000 + row * INTERVAL_NS


def levels(at: int, by: float, num: int = 400, series: int = 0) -> Readings:
    """Noise of one series around 10; both channels are `by` higher from row `at` on."""
    values = 10 + np.random.default_rng(series).normal(0, 0.3, (num, 2))
    values[at:] += by
    return readings_of(np.full(num, series), time_of(0) + np.arange(num) * INTERVAL_NS, values)


def handed_over(old: Engine, artifact: Artifact, by_reload: bool) -> Engine:
    """An engine of another model with the series of the old one, which it may be itself."""
    new = engine_of(artifact)
    if by_reload:
        old.take_over(new)
        return old
    saved = [decode_state(one.name, encode_state(one, 0)) for one in old.save(old.slots_of([NAMES[0]]))]
    new.restore([one[0] for one in saved if one is not None], 0, None)
    return new


@pytest.mark.parametrize("by_reload", [True, False])
@pytest.mark.parametrize("changed", [{}, {"window": 12}, {"stride": 2}, EVERYTHING], ids=str)
def test_what_people_decided_holds_under_any_other_model(changed: dict[str, Any], by_reload: bool) -> None:
    """No decision takes effect once more, and a mute goes on, even where the windows begin again."""
    readings = levels(230, 6.0)
    mute = (0, Decision("m", "mute", NAMES[0], time_of(10), until_ns=time_of(300)))
    engine = engine_of(centred(10.0, 1.0))
    engine.decide([mute])
    assert len(engine.step(part(readings, 0, 200)).decisions) == 1
    engine = handed_over(engine, centred(10.0, 1.0, seed=1, **changed), by_reload)
    engine.decide([mute])
    results = [engine.step(part(readings, at, at + 50)) for at in range(200, 400, 50)]
    assert [one for result in results for one in result.decisions] == []
    opened = [event.at_ns for result in results for event in result.incidents if event.kind == "opened"]
    assert opened[0] >= time_of(300)


@pytest.mark.parametrize("by_reload", [True, False])
@pytest.mark.parametrize(("center", "scale"), [(10.0, 1.0), (10.5, 1.0), (10.0, 3.0), (9.5, 0.7)])
def test_the_usual_level_is_the_same_in_the_units_of_another_model(
    center: float, scale: float, by_reload: bool
) -> None:
    engine = engine_of(centred(10.0, 1.0))
    engine.step(levels(300, 0.0, num=300))
    before = engine._parts.levels.of(0)
    engine = handed_over(engine, centred(center, scale), by_reload)
    np.testing.assert_allclose(engine._parts.levels.of(0), before, atol=1e-4)
    assert abs(before - 10).max() < 0.1


@pytest.mark.parametrize("by_reload", [True, False])
@pytest.mark.parametrize("center", [10.0, 12.0], ids=["the fault lasts", "the level is normal"])
def test_lasting_evidence_goes_on_under_another_reference_as_its_rows_decide(
    center: float, by_reload: bool
) -> None:
    readings = levels(100, 2.0, num=900)
    engine = engine_of(centred(10.0, 1.0, **EVERYTHING))
    before = engine.step(part(readings, 0, 200)).verdicts.cumulative
    assert np.nanmax(before) > 1
    engine = handed_over(engine, centred(center, 1.0, **EVERYTHING), by_reload)
    after = engine.step(part(readings, 200, 900)).verdicts.cumulative
    assert np.nanmax(after[:20]) > 1, "nothing ends by the handover itself"
    assert (np.nanmax(after[-50:]) > 1) == (center == 10.0)


def test_nothing_is_left_of_a_series_that_was_dropped() -> None:
    """Whatever kind of state it had: decisions, levels, evidence, page levels, waiting rows."""
    engine, readings = engine_of(centred(10.0, 1.0, **EVERYTHING)), levels(100, 6.0)
    engine.decide([(0, Decision("m", "mute", NAMES[0], time_of(10), until_ns=time_of(50)))])
    opened = engine.step(part(readings, 0, 150)).incidents[0].incident
    engine.decide([(1, Decision("a", "accept", NAMES[0], time_of(150), opened.id))])
    decided = engine.step(part(readings, 150, 380)).decisions
    assert [one.outcome for one in decided] == ["applied"]
    parts = engine._parts
    touched = [array.data[0].copy() for array in parts.saved_arrays()]
    engine.drop({0})
    fresh = engine_of(centred(10.0, 1.0, **EVERYTHING))._parts
    fresh.number([NAMES[0]])
    names = [array.data.shape for array in parts.saved_arrays()]
    changed = 0
    for array, other, before, shape in zip(
        parts.saved_arrays(), fresh.saved_arrays(), touched, names, strict=True
    ):
        other.reserve(1)
        np.testing.assert_array_equal(array.data[0], other.data[0], err_msg=str(shape))
        changed += not np.array_equal(before, other.data[0], equal_nan=before.dtype.kind == "f")
    assert changed > 20
    assert parts.incidents.track(NAMES[0]) is None


@pytest.mark.parametrize("by_reload", [True, False])
@pytest.mark.parametrize(
    "channels", [("pressure", "flow"), ("heat", "pressure", "flow"), ("flow",), ("pressure",)], ids=str
)
def test_the_level_of_an_open_incident_is_that_of_the_same_channels(
    channels: tuple[str, ...], by_reload: bool
) -> None:
    """The other model knows the channels in another order, more of them, or fewer."""
    readings = levels(100, 6.0, num=220)
    readings.values[100:, 1] += 100.0
    engine = engine_of(centred(10.0, 1.0, window=9))
    engine.step(part(readings, 0, 160))
    (incident,) = engine.open_incidents
    engine = handed_over(engine, centred(10.0, 1.0, channels=channels, window=12), by_reload)
    track = engine._parts.incidents.track(NAMES[0])
    assert track is not None
    assert [one.id for one in engine.open_incidents] == [incident.id]
    expected = {"flow": 16.0, "pressure": 116.0, "heat": np.nan}
    found = level_of(track, len(channels))
    np.testing.assert_allclose(found, [expected[name] for name in channels], rtol=0.05)
    columns = np.full((60, len(channels)), np.nan)
    for at, name in enumerate(channels):
        if name != "heat":
            columns[:, at] = readings.values[160:, ("flow", "pressure").index(name)]
    engine.step(replace(part(readings, 160, 220), values=columns))
