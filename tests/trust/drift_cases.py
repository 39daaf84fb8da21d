"""Cases of wear: a level that moves slowly over weeks, and healthy levels that follow the clock."""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmarks.plants.draws import Draws, Rows, Values
from tests.trust.cases import Check, case, most_allowed
from tests.trust.laws import LAWS, Law
from tests.trust.world import Replay, World, model_of, replayed

_DAY = 86_400
_KINDS = ("white", "clock")
_HISTORY_DAYS, _LIVE_DAYS, _START_DAY = 21, 45, 5
_A_DAY = 0.3
_FOUND = {"white": 7.0, "clock": 8.0}
"""By so many days after its start a drift of .3 spreads a day must be found: about 2 spreads, if white."""


def _slow(kind: str) -> Law:
    """Return the law of two channels: white, or on a daily and weekly cycle."""
    seconds = 600

    def rows_of(seed: int, hour: int, machine: str, rows: Rows) -> Values:
        draws, day = Draws(seed, machine), rows / (24 * hour)
        columns = []
        for name in ("a", "b"):
            values = draws.white(name, rows)
            if kind == "clock":
                phase = 6.0 * Draws(seed, "all").uniform(name, np.zeros(1, np.int64))[0]
                values = values + 2.0 * np.sin(2 * np.pi * day + phase) + 0.8 * (day % 7 < 5)
            columns.append(10.0 + values)
        return np.stack(columns, axis=1)

    return Law(rows_of, ("a", "b"), 3, _HISTORY_DAYS * _DAY // seconds, seconds, 16)


LAWS |= {f"drift-{kind}": _slow(kind) for kind in _KINDS}


@cache
def _replays(seed: int) -> tuple[World, dict[str, Replay]]:
    """Return the replays of three machines: the first drifts from day 5 to day 35, then is repaired."""
    world = World(seed, f"drift-{_KINDS[seed % len(_KINDS)]}")
    rows = world.rows_in(24.0 * _LIVE_DAYS)
    live = {f"machine-{at}": world.normal(f"machine-{at}", rows) for at in range(3)}
    days = np.arange(rows) / world.rows_in(24.0)
    sign = (1.0, -1.0)[seed // 3 % 2]
    ramp = np.where(days < 35.0, _A_DAY * np.maximum(days - _START_DAY, 0.0), 0.0)
    live["machine-0"][:, seed % 2] += sign * ramp
    return world, replayed(world, model_of(world), live)


@case("a short alarm now and then; open 10 % of the last ten days")
def a_slow_drift(seed: int) -> list[Check]:
    """A drift of .3 spreads a day for 30 days is one incident of reason drift, until the repair."""
    world, replays = _replays(seed)
    replay, day = replays["machine-0"], world.rows_in(24.0)
    kind = world.kind.partition("-")[2]
    drifts = [one for one in replay.incidents if one.reason == "drift"]
    seen = f"incidents {[(one.reason, replay.opened(one) / day, replay.end(one) / day) for one in drifts]}"
    first = min((replay.opened(one) for one in drifts), default=10**9) / day
    last = replay.open_rows(25 * day, 35 * day) / (10 * day)
    return [
        Check("one incident of drift", len(drifts) == 1, seen),
        Check("in time", first <= _START_DAY + _FOUND[kind], seen),
        Check("open in the last ten days", last >= 0.98, f"{last:.2f}; {seen}"),
        Check("over within a week", all(replay.end(one) <= 42 * day for one in drifts), seen),
        Check("names the channel", all(one.newest[0].name == "ab"[seed % 2] for one in drifts), seen),
    ]


@case("seasons are taken for wear")
def slow_and_healthy(seed: int) -> list[Check]:
    """Healthy machines that follow the clock as in the history raise at most the budget."""
    replays = _replays(seed)[1]
    every = [one for name in ("machine-1", "machine-2") for one in replays[name].incidents]
    drifts = sum(one.reason == "drift" for one in every)
    weeks = 2 * _LIVE_DAYS / 7
    of = f"in {weeks:.0f} weeks"
    return [
        Check("drift within its share", drifts <= most_allowed(0.1 * weeks), f"{drifts} {of}"),
        Check("all within the budget", len(every) <= most_allowed(weeks), f"{len(every)} {of}"),
    ]
