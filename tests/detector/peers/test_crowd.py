"""Series beside their peers: weather is nothing, one that leaves is found, in any order and any cut."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.spec import Spec
from detector.peers.crowd import Crowd, backtested, words
from detector.scoring.verdicts import State, Verdicts
from tests.detector.peers.machines import DAY_ROWS, ROW_NS, verdicts_of
from tests.detector.peers.machines import Crowd as Machines

HISTORY_ROWS, LIVE_ROWS = 14 * DAY_ROWS, 6 * DAY_ROWS
LIVE = Machines(1, rows=LIVE_ROWS, start=HISTORY_ROWS)


@cache
def spec() -> Spec:
    return Machines(1, rows=HISTORY_ROWS).spec()


def verdicts(machines: Machines = LIVE, drift: float = 0.0, series: int = 3) -> Verdicts:
    """Return the verdicts of machines of which one drifts in its heat from the second day on."""
    values = machines.values()
    values[series, DAY_ROWS:, 1] += np.linspace(0.0, drift, machines.rows - DAY_ROWS)
    return verdicts_of(machines.names, machines.timestamp_ns, values)


def test_weather_beyond_the_history_that_all_share_is_nothing() -> None:
    stormy = verdicts(replace(LIVE, sky=6.0))
    assert np.abs(stormy.actual[:, 1]).max() > 1.5 * np.abs(Machines(1, rows=HISTORY_ROWS).values()).max()
    assert backtested(spec(), [stormy]) == ()


def test_one_machine_that_drifts_within_its_own_range_is_found() -> None:
    drifting = verdicts(drift=2.0)
    past = Machines(1, rows=HISTORY_ROWS).values()[3, :, 1]
    (found,) = backtested(spec(), [drifting])
    assert (found.series, found.channel) == ("pump-3", "heat")
    assert found.strength > 1
    assert 0.5 < found.difference < 2.5
    known_at = (found.found_ns - int(LIVE.timestamp_ns[0])) // ROW_NS
    until_then = drifting.actual[drifting.series == 3][:known_at, 1]
    assert past.min() <= until_then.min()
    assert until_then.max() <= past.max()
    assert words(found).startswith("pump-3: heat")
    assert words(found).endswith("above that of its peers")


def test_it_is_found_under_weather_too_and_ends_after_the_repair() -> None:
    stormy = verdicts(replace(LIVE, sky=6.0), drift=4.0)
    values = stormy.actual.reshape(8, LIVE_ROWS, 2)
    values[3, 5 * DAY_ROWS :] = LIVE.values()[3, 5 * DAY_ROWS :]
    values[3, 5 * DAY_ROWS :, 1] += 6.0 * np.arange(5 * DAY_ROWS, LIVE_ROWS) / (LIVE_ROWS - 1)
    (found,) = backtested(spec(), [stormy])
    assert found.series == "pump-3"
    assert found.until_ns <= int(LIVE.timestamp_ns[0]) + (5 * DAY_ROWS + DAY_ROWS // 4) * ROW_NS


@pytest.mark.parametrize("seed", range(2, 5))
def test_healthy_machines_of_other_seeds_say_nothing(seed: int) -> None:
    learnt = Machines(seed, 12, HISTORY_ROWS).spec()
    healthy = Machines(seed, 12, 4 * LIVE_ROWS, HISTORY_ROWS, sky=1.0)
    assert backtested(learnt, [verdicts(healthy)]) == ()


def test_three_machines_are_no_crowd() -> None:
    assert Machines(1, 3, HISTORY_ROWS).spec().peers is None
    three = verdicts_of(LIVE.names[1:4], LIVE.timestamp_ns, verdicts(drift=9.0).actual.reshape(8, -1, 2)[1:4])
    assert backtested(spec(), [three]) == ()
    four = verdicts_of(LIVE.names[:4], LIVE.timestamp_ns, verdicts(drift=9.0).actual.reshape(8, -1, 2)[:4])
    assert [one.series for one in backtested(spec(), [four])] == ["pump-3"]


def test_a_series_that_the_model_does_not_know_is_not_compared() -> None:
    stranger = verdicts(drift=9.0)
    assert backtested(spec(), [replace(stranger, names=(*LIVE.names[:3], "new", *LIVE.names[4:]))]) == ()


def test_rows_without_values_and_rows_that_are_not_judged_count_nothing() -> None:
    idle = verdicts(drift=9.0)
    idle.state[idle.series == 3] = State.IDLE
    assert backtested(spec(), [idle]) == ()
    silent = verdicts(drift=9.0)
    silent.actual[(silent.series == 3)] = np.where(np.arange(LIVE_ROWS)[:, None] % 3 > 0, np.nan, 9.0)
    assert backtested(spec(), [silent]) == ()
    broken = verdicts()
    broken.actual[(broken.series == 3) & (np.arange(len(broken)) % 7 == 0)] = -9999.0
    assert backtested(spec(), [broken]) == ()


def pieces(whole: Verdicts, rng: np.random.Generator, skew: int) -> list[Verdicts]:
    """Cut verdicts into batches: each has some rows of each series, one series up to `skew` rows ahead."""
    taken = np.zeros(len(whole.names), np.intp)
    places = [np.flatnonzero(whole.series == at) for at in range(len(whole.names))]
    found = []
    while any(at < len(own) for at, own in zip(taken, places, strict=True)):
        until = taken.min() + rng.integers(1, skew + 1, len(taken))
        until = np.maximum(taken, np.minimum(until, [len(own) for own in places]))
        found.append(
            whole.take(np.concatenate([own[a:b] for own, a, b in zip(places, taken, until, strict=True)]))
        )
        taken = until
    return found


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.sampled_from([20, 100, 400]))
def test_a_backtest_does_not_depend_on_cuts_or_on_the_order_between_series(seed: int, skew: int) -> None:
    whole = verdicts(drift=3.0)
    assert backtested(spec(), pieces(whole, np.random.default_rng(seed), skew)) == backtested(spec(), [whole])


@settings(max_examples=8)
@given(st.integers(0, 10**6))
def test_while_it_runs_it_says_the_same_if_no_series_is_two_blocks_behind(seed: int) -> None:
    whole, told = verdicts(drift=3.0), set()
    crowd = Crowd(spec(), spec().peers)
    ended = []
    for one in pieces(whole, np.random.default_rng(seed), 40):
        crowd.add(one)
        ended += crowd.compare()
        told |= {(one.series, one.channel) for one in crowd.view().apart}
    assert (*ended, *crowd.finish()) == backtested(spec(), [whole])
    assert ("pump-3", "heat") in told


def test_a_series_that_stops_is_not_waited_for_and_is_not_away_for_ever() -> None:
    whole = verdicts(drift=9.0)
    stops = 3 * DAY_ROWS
    row = np.tile(np.arange(LIVE_ROWS), 8)
    crowd = Crowd(spec(), spec().peers)
    crowd.add(whole.take((whole.series != 3) & (row < stops) | (whole.series == 3) & (row < stops)))
    crowd.compare()
    assert [one.series for one in crowd.view().apart] == ["pump-3"]
    assert (crowd.view().known, crowd.view().compared) == (8, 8)
    crowd.add(whole.take((whole.series != 3) & (row >= stops)))
    (ended,) = crowd.compare()
    assert ended.series == "pump-3"
    assert (crowd.view().apart, crowd.view().compared) == ((), 7)


def test_the_comparison_goes_on_where_most_series_stop_and_remembers_few_blocks() -> None:
    machines = replace(LIVE, rows=LIVE_ROWS * 4)
    whole, stops = verdicts(machines, 9.0, series=0), DAY_ROWS
    row = np.tile(np.arange(machines.rows), 8)
    crowd = Crowd(spec(), spec().peers)
    for start in range(0, machines.rows, 12):
        now = (row >= start) & (row < start + 12)
        crowd.add(whole.take(now & ((whole.series < 4) | (row < stops))))
        crowd.compare()
    assert crowd.view().compared == 4
    assert [one.series for one in crowd.view().apart] == ["pump-0"]
    behind = Crowd(spec(), spec().peers)
    for start in range(0, machines.rows, 12):
        now = (row >= start) & (row < start + 12)
        behind.add(whole.take(now & ((whole.series < 1) | (row < stops))))
        behind.compare()
    assert max(len(own) for crowd in (crowd, behind) for own in crowd._blocks.ended.values()) <= 9


def test_series_that_go_to_another_process_are_forgotten() -> None:
    crowd = Crowd(spec(), spec().peers)
    crowd.add(verdicts(drift=9.0))
    crowd.compare()
    assert crowd.view().apart
    crowd.keep(LIVE.names[:3])
    assert crowd.view().apart == ()
    crowd.drop(["pump-0", "never-seen"])
    assert crowd.compare() == []
