"""A model that nobody has trained judges series of any size from their first rows, and never critically."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.fallback.statistical import is_fallback, name_of, statistical_model
from detector.engine.engine import Engine, EngineOptions, num_learnt_rows
from detector.engine.snapshot import decode_state, encode_state
from detector.incidents.incident import Incident
from detector.scoring.cold.learnt_scales import ColdOptions
from detector.scoring.verdicts import State
from tests.detector.engine.cold.test_cold_series import bits, of_series

SECOND_NS = 10**9
WARMUP, FIRST_AFTER = 256, 95
CHANNELS = ("amps", "bar", "count", "door")
COLD = EngineOptions(cold=ColdOptions(enabled=True))
DAY = 1_440


def engine_of(channels: tuple[str, ...] = CHANNELS, warmup: int = WARMUP) -> Engine:
    return Engine(statistical_model(channels, SECOND_NS, warmup), COLD)


def machine(num: int, seed: int, cycle: int = 90) -> np.ndarray:
    """A machine of a random size: two channels with a cycle and noise, whole numbers, and a switch."""
    rng = np.random.default_rng(seed)
    turn, size = np.sin(np.arange(num) * 2 * np.pi / cycle + seed), 10.0 ** rng.uniform(-3, 5)
    return np.stack(
        [
            size * (5 + turn + rng.normal(0, 0.2, num)),
            size * (-3 - 2 * turn + rng.normal(0, 0.3, num)),
            np.round(30 + 4 * turn + rng.normal(0, 1, num)),
            (np.arange(num) // 300 % 2).astype(float),
        ],
        axis=1,
    )


def readings_of(values: np.ndarray, names: tuple[str, ...] = ("m",), step: int = 1) -> Readings:
    """Rows of machines in turn, one every `step` seconds; each has a partition of its own."""
    num = len(values)
    series = np.tile(np.arange(len(names), dtype=np.int32), -(-num // len(names)))[:num]
    times = (10**9 + np.arange(num) // len(names) * step) * SECOND_NS
    return Readings(names, series, times, values, series, np.arange(num))


@dataclass
class Told:
    """What an engine said of one machine."""

    incidents: list[Incident]
    severities: set[str]
    cold: np.ndarray
    scores: np.ndarray

    def at(self, first: int, last: int) -> list[Incident]:
        return [one for one in self.incidents if first <= one.start_ns // SECOND_NS - 10**9 <= last]


def told(values: np.ndarray) -> Told:
    result = engine_of().step(readings_of(values))
    opened = [event.incident for event in result.incidents if event.kind == "opened"]
    severities = {event.incident.severity for event in result.incidents}
    return Told(opened, severities, result.verdicts.cold, result.verdicts.score)


def guilty(incident: Incident) -> str:
    return incident.channels[0].name


@pytest.mark.parametrize("seed", range(2))
def test_healthy_machines_have_no_false_alarm(seed: int) -> None:
    """6,000 rows each, in cycles of 90 rows."""
    found = told(machine(6_000, seed))
    assert found.incidents == []


@pytest.mark.parametrize("seed", [0])
def test_a_day_that_is_longer_than_the_warmup_ends_its_alarm(seed: int) -> None:
    found = told(machine(4 * DAY, seed, DAY))
    assert len(found.at(0, 2 * DAY)) <= 2
    assert found.at(2 * DAY, 4 * DAY) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_jump_a_stuck_sensor_and_a_value_out_of_range_are_found_with_their_channel(seed: int) -> None:
    normal = machine(1_600, seed)
    jump, stuck, beyond = (normal.copy() for _ in range(3))
    jump[1_400:1_440, 1] += 8 * normal[:1_400, 1].std()
    stuck[1_400:1_600, 0] = stuck[1_400, 0]
    beyond[1_400:1_410, 0] = -9_999 * (1 + abs(normal[0, 0]))
    for values, channel, latest, reason in (
        (jump, "bar", 1_403, "score"),
        (stuck, "amps", 1_500, "flatline"),
        (beyond, "amps", 1_403, "score"),
    ):
        found = told(values).at(1_400, latest)
        assert [(one.reason, guilty(one)) for one in found] == [(reason, channel)]


def test_no_verdict_is_critical_and_all_are_cold() -> None:
    values = machine(1_000, 1)
    values[800:900] *= 1e6
    found = told(values)
    assert found.severities == {"warning"}
    assert found.cold.all()


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99), lead=st.integers(0, 31))
def test_the_first_verdict_comes_after_the_warmup_and_at_most_95_rows(seed: int, lead: int) -> None:
    values = machine(lead + WARMUP + FIRST_AFTER + 1, seed)[lead:]
    scores = told(values).scores
    assert np.isnan(scores[: WARMUP - 1]).all()
    assert int(np.flatnonzero(~np.isnan(scores))[0]) <= WARMUP + FIRST_AFTER


def test_a_series_that_sends_every_minute_gets_rows_of_a_minute() -> None:
    result = engine_of().step(readings_of(machine(1_000, 2), step=60))
    first = int(np.flatnonzero(~np.isnan(result.verdicts.score))[0])
    assert first <= WARMUP + FIRST_AFTER + 2 * 64
    assert set(np.diff(result.verdicts.timestamp_ns[first:])) == {60 * SECOND_NS}


def test_an_alarm_that_lasts_as_long_as_all_rows_before_it_becomes_normal() -> None:
    values = machine(4_000, 3)
    values[1_000:, 0] += 30 * values[:1_000, 0].std()
    engine = engine_of()
    result = engine.step(readings_of(values))
    kinds = [(event.kind, event.at_ns // SECOND_NS - 10**9) for event in result.incidents]
    assert [kind for kind, _ in kinds] == ["opened", "resolved"]
    assert 1_000 <= kinds[0][1] <= 1_002
    assert 1_700 <= kinds[1][1] <= 3_200
    assert num_learnt_rows(engine) > 2_000


def test_a_channel_that_never_moved_may_move() -> None:
    values = machine(1_500, 4)
    values[:, 3] = 50.0
    values[1_000:, 3] = 60.0
    assert told(values).at(990, 1_500) == []


@settings(max_examples=4, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 1_600), max_size=8).map(sorted),
    at=st.integers(0, 1_600),
    seed=st.integers(0, 9),
)
def test_no_cut_and_no_restart_changes_a_bit(cuts: list[int], at: int, seed: int) -> None:
    one, other = machine(800, seed), machine(800, seed + 50)
    one[500:540, 1] += 9 * one[:500, 1].std()
    other[600:700, 0] = other[600, 0]
    values = np.stack([one, other], axis=1).reshape(-1, 4)
    values[np.random.default_rng(seed).random(values.shape) < 0.02] = np.nan
    readings = readings_of(values, ("a", "b"))

    def stepped(engine: Engine, places: list[int]) -> list:
        return [
            engine.step(readings.take(np.arange(*cut))).verdicts
            for cut in pairwise(places)
            if cut[0] < cut[1]
        ]

    whole = stepped(engine_of(), [0, 1_600])
    engine = engine_of()
    first = stepped(engine, [0, *(cut for cut in cuts if cut < at), at])
    states = [decode_state(one.name, encode_state(one, at)) for one in engine.save(engine.changed().slot)]
    restored = engine_of()
    for partition, name in enumerate(("a", "b")):
        kept = [state[0] for state in states if state is not None and state[0].name == name]
        restored.restore(kept, partition, None)
    second = stepped(restored, [at, *(cut for cut in cuts if cut > at), 1_600])
    for name in ("a", "b"):
        assert bits(of_series(first + second, name)) == bits(of_series(whole, name))


def test_the_model_follows_from_the_channels_alone() -> None:
    one, other = (statistical_model(names, SECOND_NS, WARMUP) for names in (("b", "a"), ("a", "b")))
    assert one.spec == other.spec
    assert (one.version, one.spec.name) == (other.version, name_of(("a", "b")))
    assert is_fallback(one.spec.name)
    assert not is_fallback("pump")
    assert statistical_model(("a", "c"), SECOND_NS, WARMUP).spec.name != one.spec.name
    assert statistical_model(("a", "b"), SECOND_NS, 2 * WARMUP).version != one.version


def test_before_the_first_verdict_rows_are_warming() -> None:
    result = engine_of().step(readings_of(machine(WARMUP, 0)))
    assert set(result.verdicts.state) == {State.WARMING}
    assert result.incidents == ()
