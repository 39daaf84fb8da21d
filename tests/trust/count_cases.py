"""Cases of counts, coarse steps, and channels that never moved in the history."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.stats import nbinom, poisson

from benchmarks.plants.draws import Draws, Rows, Values
from detector.incidents.decision import Decision
from tests.trust.cases import Check, case, most_allowed
from tests.trust.laws import LAWS, Law
from tests.trust.world import Replay, World, model_of, replayed

COUNTS = ("events", "rare", "bursts", "level", "state", "load")
EVENTS, RARE, BURSTS, LEVEL, STATE, LOAD = range(len(COUNTS))
_SECONDS = (1, 60, 3_600)
_BUDGETS = {1: "24/day", 60: "1/day", 3_600: "1/week"}
_ROWS_A_BUDGET = {1: 3_600, 60: 1_440, 3_600: 168}
_START, _LONG, _ROWS = 600, 480, 1_900
_HEALTHY, _HEALTHY_ROWS = 6, 6_000


def _counts(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return counts of three kinds, a level in coarse steps, a state that never changes, and a load."""
    draws = Draws(seed, machine)
    mean = (0.5, 1.0, 0.3)[seed % 3]
    step = (0.5, 1.0, 2.0)[seed // 2 % 3]
    load = draws.smooth("load", rows, 4)
    columns = [
        poisson.ppf(draws.uniform("events", rows), mean),
        poisson.ppf(draws.uniform("rare", rows), 0.03),
        nbinom.ppf(draws.uniform("bursts", rows), 0.5, 0.25),
        20.0 + np.round(draws.white("level", rows) / step) * step,
        np.full(len(rows), float(seed % 4)),
        load,
    ]
    return np.stack(columns, axis=1)


LAWS |= {f"counts-{seconds}": Law(_counts, COUNTS, 2, 5_000, seconds, 16) for seconds in _SECONDS}


def _world(seed: int) -> World:
    return World(seed, f"counts-{_SECONDS[seed % len(_SECONDS)]}")


def _live(world: World) -> dict[str, Values]:
    """Return healthy machines, and one for each fault."""
    live = {f"healthy-{at}": world.normal(f"healthy-{at}", _HEALTHY_ROWS) for at in range(_HEALTHY)}
    long = slice(_START, _START + _LONG)
    draws, rows = Draws(world.seed, "faults"), np.arange(_LONG)
    faults = {name: world.normal(name, _ROWS) for name in ("triple", "burst", "silence", "shift")}
    more = 2.0 * world.past("machine-0")[:, EVENTS].mean()
    faults["triple"][long, EVENTS] += poisson.ppf(draws.uniform("more", rows), more)
    faults["burst"][_START : _START + 3, EVENTS] += 25.0 + world.seed % 5
    faults["silence"][long, EVENTS] = 0.0
    faults["shift"][long, LEVEL] += (1.0, 2.0)[world.seed % 2]
    moved = {name: world.normal(name, _ROWS) for name in ("one step", "far", "beside")}
    for name, by in (("one step", 1e-3), ("far", 1e7), ("beside", 1.0)):
        moved[name][long, STATE] += by
    moved["beside"][_START + 40 : _START + 60, LOAD] += 40.0
    moved["without"] = moved["beside"].copy()
    moved["without"][long, STATE] -= 1.0
    return live | faults | moved


@cache
def _replays(seed: int) -> dict[str, Replay]:
    world = _world(seed)
    artifact = model_of(world, _BUDGETS[world.interval_seconds])
    return replayed(world, artifact, _live(world))


@case("low counts give 2.5 times the budget, and sparse ones are stuck each night")
def counts_keep_the_budget(seed: int) -> list[Check]:
    """Healthy counts, coarse steps and a constant raise at most the budget, and are never stuck."""
    replays = [replay for name, replay in _replays(seed).items() if name.startswith("healthy")]
    every = [one for replay in replays for one in replay.incidents]
    allowed = most_allowed(_HEALTHY * _HEALTHY_ROWS / _ROWS_A_BUDGET[_world(seed).interval_seconds])
    stuck = [one.series for one in every if one.reason not in ("score", "cumulative")]
    return [
        Check("within the budget", len(every) <= allowed, f"{len(every)} of at most {allowed}"),
        Check("none stuck or missing", not stuck, f"{stuck}"),
    ]


@case("a model of low counts is deaf, since its threshold had to keep to the budget")
def faults_of_counts(seed: int) -> list[Check]:
    """A rate that triples, a burst, a silence and a shift of coarse steps are found."""
    replays = _replays(seed)
    late = {"triple": 160, "burst": 4, "silence": 240, "shift": 120}
    checks = []
    for name, rows in late.items():
        replay = replays[name]
        found = replay.during(_START, _START + rows)
        checks.append(Check(name, bool(found), f"fault from {_START} on, incidents {replay.life()}"))
    return checks


@case("one smallest step of a channel that never moved is critical, with a score of 3.5")
def a_first_move(seed: int) -> list[Check]:
    """A channel that never moved moves: a warning, however far. A fault beside it keeps its score."""
    replays, end = _replays(seed), _START + _LONG
    checks = []
    for name in ("one step", "far"):
        during = replays[name].during(_START, end)
        blamed = [one for one in during if one.at_start and one.at_start[0].name == "state"]
        severities = {one.severity for one in during}
        checks += [
            Check(f"{name}: found", bool(blamed), replays[name].life()),
            Check(f"{name}: a warning", "critical" not in severities, f"{severities}"),
            Check(
                f"{name}: ends",
                all(replays[name].end(one) <= end + 60 for one in blamed),
                replays[name].life(),
            ),
        ]
    beside, without = replays["beside"].score, replays["without"].score
    strong = without > 1.1
    differ = float(np.abs(beside[strong] - without[strong]).max(initial=0.0))
    return [
        *checks,
        Check("a fault beside it keeps its score", bool(strong.any()) and differ == 0.0, f"{differ}"),
    ]


@case("what was accepted alarms for ever")
def an_accepted_first_move(seed: int) -> list[Check]:
    """After an acceptance the new value is at rest, and the return to the old one is a warning again."""
    world = _world(seed)
    values = world.normal("accepted", _ROWS)
    values[_START : _START + _LONG, STATE] += 2.0
    artifact = model_of(world, _BUDGETS[world.interval_seconds])
    before = replayed(world, artifact, {"accepted": values})["accepted"]
    opened = [one for one in before.during(_START, _START + 60) if one.at_start[0].name == "state"]
    if not opened:
        return [Check("found", False, before.life())]
    at_ns = world.time_of(_START + 200)
    accept = Decision("1", "accept", "accepted", at_ns, opened[-1].id, who="an operator", why="a new setting")
    replay = replayed(world, artifact, {"accepted": values}, decisions=[accept])["accepted"]
    quiet = [one for one in replay.during(_START + 240, _START + _LONG) if one.at_start[0].name == "state"]
    back = [
        one for one in replay.during(_START + _LONG, _START + _LONG + 20) if one.at_start[0].name == "state"
    ]
    return [
        Check("the new value is quiet", not quiet, replay.life()),
        Check("the old one is unusual", bool(back), replay.life()),
        Check("never critical", all(one.severity == "warning" for one in back), replay.life()),
    ]
