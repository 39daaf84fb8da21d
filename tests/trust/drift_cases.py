"""Cases of wear: a level that moves slowly over weeks, and healthy levels that follow the clock."""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmarks.plants.draws import Draws, Rows, Values
from detector.incidents.rules import IncidentRules, LevelLimit
from detector.scoring.context.trend import Trend
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
        Check("names the channel", all(one.at_start[0].name == "ab"[seed % 2] for one in drifts), seen),
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


_RATES = (0.1, 0.2, 0.35, 0.6, 1.0)
_RATE_DAYS, _RATE_START = 26, 4
_LIMIT_DAYS = 12.0
"""So long after the last row the level would reach the limit."""


def _part_time(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return two channels of a pump that runs part of the day, at a daily and a weekly load; hourly rows."""
    draws = Draws(seed, machine)
    day = rows / (24 * hour)
    runs = (rows // hour % 24 >= 6) & (rows // hour % 24 < 6 + (9, 12)[seed % 2])
    load = 0.5 * np.sin(2 * np.pi * day) + 0.6 * (day % 7 < 5)
    columns = [10.0 + load + draws.white(name, rows) for name in ("a", "b")]
    values = np.stack(columns, axis=1)
    values[~runs] = np.nan
    return values


def _hourly(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return two channels, white or with a memory of some hours, in rows of an hour."""
    draws = Draws(seed, machine)
    names = ("a", "b")
    drawn = [draws.smooth(name, rows, 6) if seed % 2 else draws.white(name, rows) for name in names]
    return 10.0 + np.stack(drawn, axis=1)


LAWS |= {
    "drift-rate": Law(_hourly, ("a", "b"), 2, 28 * 24, 3_600, 8),
    "drift-part-time": Law(_part_time, ("a", "b"), 2, 42 * 24, 3_600, 8),
}


@cache
def _trends(seed: int) -> dict[float, tuple[Trend | None, str]]:
    """Return what incidents of drifts of several rates, in spreads a day, state at the end of the stream."""
    world = World(seed, "drift-rate")
    rows = world.rows_in(24.0 * _RATE_DAYS)
    days, sign = np.arange(rows) / world.rows_in(24.0), (1.0, -1.0)[seed // 2 % 2]
    found = {}
    for rate in _RATES:
        end = 10.0 + sign * rate * (_RATE_DAYS - _RATE_START + _LIMIT_DAYS)
        limit = LevelLimit(upper=end) if sign > 0 else LevelLimit(lower=end)
        values = world.normal("machine-0", rows)
        values[:, 0] += sign * rate * np.maximum(days - _RATE_START, 0.0)
        rules = IncidentRules(limits={"a": limit})
        replay = replayed(world, model_of(world), {"machine-0": values}, rules)["machine-0"]
        open_ones = [one for one in replay.incidents if one.end_ns is None]
        trends = [one.trend for one in open_ones if one.drifting and one.drifting.name == "a"]
        found[sign * rate] = (trends[0] if trends else None, replay.life())
    return found


@case("an incident of drift has no rate, so nobody knows how urgent it is")
def the_rate_of_a_drift(seed: int) -> list[Check]:
    """Drifts of .1 to 1 spreads a day: the stated interval of the rate holds the true one, and is narrow."""
    checks = []
    for rate, (trend, life) in _trends(seed).items():
        seen = f"{rate:+} a day: {trend}; {life}"
        is_slow = abs(rate) < 0.2  # where a channel has a memory, it may not be found in these weeks
        checks.append(Check("stated", trend is not None or is_slow, seen))
        if trend is not None:
            checks.append(Check("within its interval", trend.low <= rate <= trend.high, seen))
            checks.append(Check("of known sign", not trend.may_be_zero or is_slow, seen))
    return checks


@case("an incident of drift has no date of its limit, so the repair is not planned")
def days_until_a_limit(seed: int) -> list[Check]:
    """The day at which the level reaches a limit is within the stated interval for four of five rates."""
    held, seen = 0, list[str]()
    for rate, (trend, _) in _trends(seed).items():
        if trend is None or trend.days is None or trend.days_low is None:
            held += abs(rate) < 0.2  # nothing is stated
            seen.append(f"{rate:+}: {trend}")
            continue
        last = float("inf") if trend.days_high is None else trend.days_high
        held += trend.days_low <= _LIMIT_DAYS + 0.25 and last >= _LIMIT_DAYS
        seen.append(f"{rate:+}: {trend.days:.1f} ({trend.days_low:.1f} to {last:.1f})")
    return [Check("four of five hold", held >= 4, "; ".join(seen))]


@case("a pump that runs part of the day has too few rows in each block, and nothing is watched")
def a_drift_of_a_pump_that_runs_part_time(seed: int) -> list[Check]:
    """A drift of .3 spreads a day is found where rows come for some hours a day; healthy pumps are quiet."""
    world = World(seed, "drift-part-time")
    rows = world.rows_in(24.0 * 35)
    live = {f"machine-{at}": world.normal(f"machine-{at}", rows) for at in range(2)}
    live["machine-0"][:, seed % 2] += _A_DAY * np.maximum(np.arange(rows) / world.rows_in(24.0) - 5.0, 0.0)
    replays = replayed(world, model_of(world), live)
    drifts = [one for one in replays["machine-0"].incidents if one.reason == "drift"]
    false = [one for one in replays["machine-1"].incidents if one.reason == "drift"]
    seen = f"drifting {replays['machine-0'].life()}; healthy {replays['machine-1'].life()}"
    return [
        Check("found", any(one.end_ns is None for one in drifts), seen),
        Check("no false drift", len(false) <= most_allowed(0.5), seen),
    ]


_WANDER_DAYS, _WANDER_RATE = 60, 0.5


def _wandering(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return two channels whose level wanders by itself, with a memory of one to four days; hourly rows."""
    draws, memory = Draws(seed, machine), (24, 48, 96)[seed % 3] * hour
    size = (0.5, 1.5)[seed % 2]
    columns = [size * draws.smooth(f"{one}/level", rows, memory) + draws.white(one, rows) for one in "ab"]
    return 10.0 + np.stack(columns, axis=1)


LAWS["drift-wander"] = Law(_wandering, ("a", "b"), 3, _WANDER_DAYS * 24, 3_600, 8)


@case("a level that wanders by itself is called a drift, with a rate that is not there")
def a_level_that_wanders(seed: int) -> list[Check]:
    """Levels that wander for days as in the history raise at most the budget, and have no sure rate."""
    world = World(seed, "drift-wander")
    day, rows = world.rows_in(24.0), world.rows_in(24.0 * _WANDER_DAYS)
    live = {f"machine-{at}": world.normal(f"machine-{at}", rows) for at in range(3)}
    ramp = _WANDER_RATE * np.maximum(np.arange(rows) / day - 20.0, 0.0)
    live["machine-0"][:, seed % 2] += ramp
    replays = replayed(world, model_of(world), live)
    healthy = [one for name in ("machine-1", "machine-2") for one in replays[name].incidents]
    weeks = 2 * _WANDER_DAYS / 7
    drifts = [one for one in healthy if one.reason == "drift"]
    stated = [one.trend for one in healthy if one.trend is not None]
    wrong = [one for one in stated if not one.may_be_zero]
    seen = f"{len(drifts)} of {len(healthy)} in {weeks:.0f} weeks, rates {stated}"
    found = [one for one in replays["machine-0"].incidents if one.end_ns is None and one.trend is not None]
    trend = found[0].trend if found else None
    away = np.inf if trend is None else 2.0 * abs(trend.a_day - _WANDER_RATE) / (trend.high - trend.low)
    return [
        Check("drift within its share", len(drifts) <= most_allowed(0.1 * weeks), seen),
        Check("all within the budget", len(healthy) <= most_allowed(weeks), seen),
        Check("no rate that is not there", len(wrong) <= most_allowed(0.1 * len(stated)), seen),
        Check("a drift beside it is found", trend is not None, replays["machine-0"].life()),
        Check("and has its rate", away <= 1.5, str(trend)),  # the interval itself holds nine of ten
    ]
