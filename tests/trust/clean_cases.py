"""Cases of the past during an incident: the windows of later rows do not get used to the fault."""

from __future__ import annotations

from functools import cache

import numpy as np

from detector.incidents.rules import IncidentRules
from tests.trust.cases import Check, case
from tests.trust.laws import FLOW, POWER, PRESSURE
from tests.trust.world import Replay, World, model_of, replayed

_START, _END = 300, 900
_SECOND, _SECOND_ROWS = 600, 20
_ROWS = _END + 320
_RECOVERED = 40
"""Rows after the end of a fault: the part of 32 rows in which it ended, and some more."""


@cache
def _replays(seed: int, clean: bool) -> dict[str, Replay]:
    """Return the replays of the machines of a seed."""
    world = World(seed)
    spread = world.normal("spread", 2_000).std(axis=0)
    live = {name: world.normal(name, _ROWS) for name in ("level", "ramp", "twice", "healthy")}
    rows, size = slice(_START, _END), (6.0, -8.0)[seed % 2]
    live["level"][rows, PRESSURE] += size * spread[PRESSURE]
    live["ramp"][rows, FLOW] += np.linspace(0, size, _END - _START) * spread[FLOW]
    live["twice"][rows, PRESSURE] += size * spread[PRESSURE]
    live["twice"][_SECOND : _SECOND + _SECOND_ROWS, POWER] += 6.0 * spread[POWER]
    return replayed(world, model_of(world), live, IncidentRules(clean_windows=clean))


def _share(replay: Replay, start: int, end: int) -> float:
    return float(np.mean(replay.score[start:end] > 1.0))


@case("the window is full of the fault, the model reproduces it, and the score is that of a normal row")
def a_fault_stays_unusual(seed: int) -> list[Check]:
    """A level of 6 to 8 spreads scores above 1 in its last third, and a ramp to it no less than before."""
    on, off = _replays(seed, True), _replays(seed, False)
    late = _END - (_END - _START) // 3
    level, ramp = _share(on["level"], late, _END), _share(on["ramp"], late, _END)
    before = _share(off["ramp"], late, _END)
    return [
        Check("the level", level >= 0.9, f"{level:.2f} of its rows are above 1"),
        Check(
            "the ramp", ramp >= max(0.3, before - 0.02), f"{ramp:.2f}, with windows as they came {before:.2f}"
        ),
    ]


@case("windows that still hold the fault alarm on the recovery")
def a_recovery_is_quiet(seed: int) -> list[Check]:
    """From 40 rows after a fault on, rows score below 1, and its incident ends in bounded time."""
    replays = _replays(seed, True)
    checks = []
    for name in ("level", "ramp", "twice"):
        replay = replays[name]
        loud = _share(replay, _END + _RECOVERED, _ROWS)
        last = _END + 2 * replay.world.window + 160
        seen = f"{name}: {loud:.3f} above 1, incidents {replay.life()}"
        checks += [
            Check("quiet", loud <= 0.02, seen),
            Check("over", all(replay.end(one) <= last for one in replay.during(_START, _END)), seen),
        ]
    return checks


@case("a second fault hides in the first")
def a_second_fault_within_the_first(seed: int) -> list[Check]:
    """A fault of another channel within a lasting one raises the score."""
    replay = _replays(seed, True)["twice"]
    beside = float(np.median(replay.score[_SECOND - 100 : _SECOND]))
    second = float(np.median(replay.score[_SECOND : _SECOND + _SECOND_ROWS]))
    return [Check("higher", second > 1.1 * beside, f"{second:.2f}, before it {beside:.2f}")]


@case("what is cleaned is believed more than what came: healthy rows alarm")
def cleaning_changes_no_healthy_machine(seed: int) -> list[Check]:
    """A healthy machine has the same scores and incidents with and without cleaning."""
    on, off = (_replays(seed, clean)["healthy"] for clean in (True, False))
    same = np.array_equal(on.score, off.score, equal_nan=True) or bool(off.incidents)
    return [Check("the same", same and len(on.incidents) == len(off.incidents), f"{on.life()}, {off.life()}")]
