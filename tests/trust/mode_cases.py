"""Cases of modes of operation: a pump that starts and stops, and what must and must not be told of it."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from benchmarks.plants.draws import Draws, Rows, Values
from detector.artifact.spec import Artifact
from tests.trust.cases import Check, case, most_allowed
from tests.trust.laws import LAWS, Law
from tests.trust.world import Replay, World, model_of, replayed
from trainer import fit
from trainer.config import DataOptions, ModelOptions, ModeOptions, ScoringOptions, TrainConfig

CHANNELS = ("speed", "flow", "power", "bearing")
SPEED, FLOW, POWER, BEARING = range(4)
RUN, RAMP = 1_500.0, (5, 9)
"""Speed of a running pump, and the fewest and most rows of a start."""
_HISTORY, _LIVE, _FAULT, _LONGEST = 4_000, 6_000, 40, 300


def starts_of(seed: int, machine: str, rows: int) -> list[tuple[int, int, int]]:
    """Return (row of the start, rows of the ramp, row of the stop) of every run of a machine."""
    rng = np.random.default_rng([seed, *machine.encode()])
    at, found = int(rng.integers(20, 60)), list[tuple[int, int, int]]()
    while at < rows:
        ramp = int(rng.integers(RAMP[0], RAMP[1] + 1))
        stop = at + ramp + int(rng.integers(60, 200))
        found.append((at, ramp, stop))
        at = stop + int(rng.integers(40, 120))
    return found


def _switching(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return a pump that starts and stops: off, a ramp of some rows, running at a varying load."""
    draws, last = Draws(seed, machine), int(rows[-1]) + 1
    at = np.arange(last)
    level = np.zeros(last)
    for start, ramp, stop in starts_of(seed, machine, last):
        level[start : start + ramp] = np.linspace(0.1, 0.9, ramp)[: max(0, last - start)]
        level[start + ramp : stop] = 1.0
        level[stop : stop + 2] = (0.6, 0.25)[: max(0, last - stop)]
    found: Values = machine_rows(draws, level, at)[rows]
    return found


def machine_rows(draws: Draws, level: Values, at: Rows) -> Values:
    """Return the channels of a pump whose speed is a share `level` of the usual one."""
    running = level > 0.95
    load = 1.0 + 0.06 * draws.smooth("load", at, 20)
    heat = np.zeros(len(at))
    for row in range(1, len(at)):
        heat[row] = heat[row - 1] + (level[row] * load[row] - heat[row - 1]) / 8.0
    speed = RUN * level * (1 + 0.01 * (load - 1)) + 3.0 * draws.white("speed", at) * (level > 0)
    noise = np.where(running, 0.5, 2.5)  # the flow meter is noisy while nothing flows
    columns = [
        speed,
        60.0 * level * load + noise * draws.white("flow", at),
        22.0 * level**3 * load + 0.3 * draws.white("power", at),
        25.0 + 30.0 * heat + 0.2 * draws.white("bearing", at),
    ]
    return np.stack(columns, axis=1)


STEPS = ((60, "1/day"), (1, "1/hour"), (600, "1/week"))
"""Seconds between two rows, and the alarm budget, by seed."""
for _seconds, _ in STEPS:
    LAWS[f"switching-{_seconds}"] = Law(_switching, CHANNELS, 3, _HISTORY, _seconds, 16)
MODES = (
    ModeOptions(name="off", when={"speed": (None, 30.0)}, judge=("speed", "power", "bearing")),
    ModeOptions(name="running", when={"speed": (1_300.0, None)}),
)


def world_of(seed: int) -> World:
    """Return the pumps of a seed."""
    return World(seed, f"switching-{STEPS[seed % len(STEPS)][0]}")


@cache
def model_with(seed: int, modes: Literal["configured", "auto", "off"] = "configured") -> Artifact:
    """Return the model of switching pumps: with the modes above, with those found, or with none."""
    world = world_of(seed)
    config = TrainConfig(
        model=ModelOptions(family="linear", window=world.window),
        data=DataOptions(interval_seconds=world.interval_seconds),
        scoring=ScoringOptions(alarm_budget=STEPS[seed % len(STEPS)][1]),
        modes=MODES if modes == "configured" else modes,
    )
    return fit(world.history(), config=config)


def _at_run(seed: int, machine: str, after: int) -> tuple[int, int, int]:
    """Return the first start of a machine after a live row, counted from the first live row."""
    history = _HISTORY
    every = starts_of(seed, machine, history + _LIVE)
    start, ramp, stop = next(one for one in every if one[0] >= history + after)
    return start - history, ramp, stop - history


@cache
def _replays(seed: int) -> dict[str, Replay]:
    """Return replays with modes: healthy pumps, a fault while running, noise while off, a slow start."""
    world = world_of(seed)
    live = {f"healthy-{at}": world.normal(f"healthy-{at}", _LIVE) for at in range(3)}
    start, ramp, stop = _at_run(seed, "faulty", 1_000)
    live["faulty"] = world.normal("faulty", _LIVE)
    live["faulty"][start + ramp + _FAULT : stop, FLOW] -= 8.0
    _, _, off = _at_run(seed, "noisy", 1_000)
    live["noisy"] = world.normal("noisy", _LIVE)
    live["noisy"][off + 4 : off + 30, FLOW] += 40.0 * Draws(seed, "meter").white("flow", np.arange(26))
    live["slow"] = _slow(world, 1_000, 3.0)
    return replayed(world, model_with(seed), live)


def _slow(world: World, after: int, times: float) -> Values:
    """Return a healthy pump with one start that takes so many times as long as its slowest."""
    seed, first = world.seed, world.history_rows
    start, _, stop = _at_run(seed, "slow", after)
    last = first + _LIVE
    level = np.zeros(last)
    for begin, rows, end in starts_of(seed, "slow", last):
        level[begin : begin + rows] = np.linspace(0.1, 0.9, rows)[: max(0, last - begin)]
        level[begin + rows : end] = 1.0
        level[end : end + 2] = (0.6, 0.25)[: max(0, last - end)]
    long = int(times * RAMP[1])
    level[first + start : first + start + long] = np.linspace(0.1, 0.9, long)
    level[first + start + long : max(first + stop, first + start + long + 30)] = 1.0
    return machine_rows(Draws(seed, "slow"), level, np.arange(last))[first:]


def _healthy(seed: int, replays: dict[str, Replay]) -> list[Check]:
    """Return the checks that healthy pumps keep to the budget, and that no false alarm stays open."""
    healthy = [one for name, one in replays.items() if name.startswith("healthy")]
    found = sum(len(one.incidents) for one in healthy)
    rows_per_event = (1_440, 3_600, 1_008)[seed % len(STEPS)]
    allowed = most_allowed(len(healthy) * _LIVE / rows_per_event)
    lives = "; ".join(one.life() for one in healthy)
    longest = max((one.end(it) - one.opened(it) for one in healthy for it in one.incidents), default=0)
    return [
        Check("healthy pumps keep to the budget", found <= allowed, f"{found} of {allowed}: {lives}"),
        Check("no false alarm stays open", longest <= _LONGEST, lives),
    ]


@case("each start and each stop is a false alarm, or all thresholds are so high that nothing is found")
def a_pump_that_starts_and_stops(seed: int) -> list[Check]:
    """With modes, healthy starts and stops keep to the budget, and a flow too low while running is found."""
    replays = _replays(seed)
    start, ramp, stop = _at_run(seed, "faulty", 1_000)
    replay = replays["faulty"]
    found = replay.during(start + ramp + _FAULT, stop)
    seen = f"fault {start + ramp + _FAULT}-{stop}, incidents {replay.life()}"
    return [
        *_healthy(seed, replays),
        Check("the fault is found", bool(found), seen),
        Check("its channel is blamed", any(one.channels[0].name == "flow" for one in found), seen),
    ]


@case("a flow meter that is noisy while the pump is off raises alarms")
def a_channel_that_is_not_judged_while_off(seed: int) -> list[Check]:
    """A flow meter 16 times as noisy as usual is no incident while the pump is off."""
    _, _, off = _at_run(seed, "noisy", 1_000)
    replay = _replays(seed)["noisy"]
    return [
        Check("no incident", not replay.during(off, off + 34), f"noise {off + 4}-{off + 30}, {replay.life()}")
    ]


@case("a start that takes three times as long is forgiven, since rows between modes are not judged")
def a_slow_start(seed: int) -> list[Check]:
    """A start that takes three times as long as the slowest is an incident of reason mode while it lasts."""
    start, _, _ = _at_run(seed, "slow", 1_000)
    end, replay = start + 3 * RAMP[1], _replays(seed)["slow"]
    found = [one for one in replay.incidents if one.reason == "mode"]
    here = [one for one in found if start <= replay.opened(one) < end]
    seen = f"start {start}-{end}, of reason mode {[replay.opened(one) for one in found]}; all {replay.life()}"
    return [
        Check("found", len(here) == 1, seen),
        Check("no other passage is", len(found) == len(here), seen),
        Check("it says from where", bool(here) and here[0].passage is not None, seen),
        Check(
            "it resolves", all(replay.end(one) <= end + 2 * replay.world.window + 100 for one in here), seen
        ),
    ]


@case("modes are found in loads that only vary smoothly, or not found in machines that are on or off")
def modes_are_proposed_where_there_are_some(seed: int) -> list[Check]:
    """Training proposes on and off of a pump that starts and stops, and nothing for smooth loads."""
    proposed = model_with(seed, "off").spec.training.get("proposed_modes")
    smooth = model_of(World(seed)).spec.training.get("proposed_modes")
    channels = {one["channel"] for mode in (proposed or {"modes": []})["modes"] for one in mode["conditions"]}
    return [
        Check("on and off are proposed", proposed is not None and len(proposed["modes"]) == 2, f"{channels}"),
        Check("smooth loads have no modes", smooth is None, f"{smooth}"),
    ]
