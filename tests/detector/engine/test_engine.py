"""The engine: the same verdicts however its input is cut or ordered, and what each state means."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectors.records import Readings
from detector.artifact.spec import Artifact, Level, PageLimit, Scoring
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.incidents.rules import IncidentRules
from detector.scoring.inference import Threads
from detector.scoring.verdicts import State
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS, cuts_of, order_within, part, readings_of, reordered, streams

COLUMNS = ("score", "contribution", "expected")
SHORT = (("linear", 4),)
FOLLOWING = PageLimit(alarms_a_row=0.02, rise=1.4)
KINDS = [
    {},
    {"scoring": Scoring(delay=3)},
    {"scoring": Scoring(delay=7), "more": SHORT},
    {"scoring": Scoring(delay=2), "stride": 4},
    {"more": (("lstm", 8, 3), ("linear", 4))},
    {"scoring": Scoring(delay=3), "more": (("conv", 8, 5), ("linear", 4, 2))},
    {"scoring": Scoring(delay=2, combine="mean"), "more": (("memory", 6), ("linear", 4))},
    {"executor": "numpy", "more": SHORT},
    {"executor": "numpy", "family": "lstm", "scoring": Scoring(delay=3)},
    {"threshold": 1.05, "limit": FOLLOWING, "has_reference": True},
    {"threshold": 1.15, "limit": FOLLOWING, "scoring": Scoring(delay=2), "more": SHORT},
]
RULES = IncidentRules(for_rows=2, of_rows=3, quiet_rows=2)


def engine_of(artifact: Artifact, lateness_ns: int = 0, **options: object) -> Engine:
    return Engine(artifact, EngineOptions(lateness_ns=lateness_ns, rules=RULES, **options))


def outcome(results: Iterable[StepResult]) -> tuple[list[tuple], list[str]]:
    """Verdicts with the exact bits of their scores, and incident events, in a canonical order."""
    rows, events = [], []
    for result in results:
        v = result.verdicts
        for i in range(len(v)):
            exact = v.expected[i].tobytes() + v.contribution[i].tobytes() + v.actual[i].tobytes()
            exact += v.threshold[i].tobytes() + v.cumulative[i].tobytes() + v.paged[i].tobytes()
            name = v.names[v.series[i]]
            rows.append((name, int(v.timestamp_ns[i]), float(v.score[i]).hex(), int(v.state[i]), exact))
        events += [f"{e.incident.series} {e.at_ns:09d} {e!r}" for e in result.incidents]
    return sorted(rows), sorted(events)


def feed(engine: Engine, readings: Readings, cuts: list[int]) -> tuple[list[tuple], list[str]]:
    bounds = itertools.pairwise(cuts)
    results = [engine.step(part(readings, start, stop)) for start, stop in bounds]
    return outcome([*results, engine.flush()])


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=20)
@given(data=st.data(), readings=streams(max_rows=200))
def test_any_cut_gives_bit_equal_verdicts_incidents_and_counters(
    kind: dict[str, Any], data: st.DataObject, readings: Readings
) -> None:
    artifact = make_artifact(**kind, interval_ns=INTERVAL_NS, flatline_rows=9)
    whole, pieces = engine_of(artifact, 20), engine_of(artifact, 20)
    expected = feed(whole, readings, [0, len(readings)])
    assert feed(pieces, readings, data.draw(cuts_of(len(readings)))) == expected
    assert pieces.counters == whole.counters


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=15)
@given(readings=streams(max_rows=200), seed=st.integers(0, 10**6))
def test_any_order_within_lateness_gives_the_same_outcome(
    kind: dict[str, Any], readings: Readings, seed: int
) -> None:
    artifact = make_artifact(**kind, interval_ns=INTERVAL_NS)
    in_order = reordered(readings, np.argsort(readings.timestamp_ns, kind="stable"))
    shuffled = reordered(in_order, order_within(in_order, 30, seed))
    cuts = [0, len(readings)]
    one, other = engine_of(artifact, 30), engine_of(artifact, 30)
    found, expected = feed(one, shuffled, cuts), feed(other, in_order, cuts)
    # Steps are those of arrival: a series of many long ones may get another interval earlier or later.
    assume(one.counters.grid.interval_changes == other.counters.grid.interval_changes == 0)
    assert found == expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "limit" in kind], ids=str)
def test_the_limited_kinds_do_alarm_and_are_limited(kind: dict[str, Any]) -> None:
    """The two tests above are only useful if page levels move."""
    engine = engine_of(make_artifact(**kind))
    results = [engine.step(regular(400)), engine.flush()]
    thresholds = np.concatenate([result.verdicts.threshold for result in results])
    assert sum(event.kind == "opened" for result in results for event in result.incidents) > 2
    assert len(np.unique(thresholds)) > 20
    cumulative = np.concatenate([result.verdicts.cumulative for result in results])
    assert (cumulative > 1).any() == ("has_reference" in kind)


def regular(num_rows: int, series: int = 0, start: int = 0, num_channels: int = 2, seed: int = 0) -> Readings:
    """`num_rows` readings of one series, one each second, of noise."""
    values = np.random.default_rng(seed).standard_normal((num_rows, num_channels))
    times = (start + np.arange(num_rows)) * 10**9
    return readings_of(np.full(num_rows, series), times, values)


def verdicts_of(engine: Engine, readings: Readings) -> pd.DataFrame:
    """All verdicts of one run, as a frame by time."""
    results = [engine.step(readings), engine.flush()]
    parts = [
        pd.DataFrame(
            {
                "time": r.verdicts.timestamp_ns,
                "series": [r.verdicts.names[i] for i in r.verdicts.series],
                "score": r.verdicts.score,
                "state": [State(s) for s in r.verdicts.state],
            }
        )
        for r in results
    ]
    return pd.concat(parts).sort_values(["series", "time"]).reset_index(drop=True)


def by_hand(artifact: Artifact, window_WC: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """The statistics of one window with the identity for whitening: the mean square residual, and the mean
    over channels of log(1 + the channel's mean square)."""
    known = np.ones(window_WC.shape, bool) if known is None else known
    x = torch.tensor(window_WC, dtype=torch.float32)[None]
    with torch.no_grad():
        residual = (x - artifact.module[0].autoencoder(x))[0].numpy()
    rows, square = window_WC.shape[0], np.where(known, window_WC, 0.0) ** 2
    joint = (np.where(known, residual, 0.0) ** 2).sum() / known.sum()
    alone = square.sum(axis=0) / rows / (known.sum(axis=0) / rows)
    return np.array([joint, np.log1p(alone).mean()])


def error_of(statistics: np.ndarray) -> float:
    """Of levels with high 0 and spread 2: the root of the statistics' geometric mean."""
    return float(np.exp(np.log(statistics + 0.01).mean() / 2))


def test_a_score_is_the_windows_whitened_distances_on_a_common_scale() -> None:
    artifact = make_artifact(threshold=0.5)
    readings = regular(12)
    frame = verdicts_of(engine_of(artifact), readings)
    expected = error_of(by_hand(artifact, readings.values[2:10])) / 0.5
    assert frame["score"][9] == pytest.approx(expected, rel=1e-5)


def with_random_levels(artifact: Artifact, seed: int) -> Artifact:
    """Whitening, levels (others for provisional verdicts) and thresholds as no two members have them."""
    rng = np.random.default_rng(seed)
    members = []
    for at, member in enumerate(artifact.spec.members):
        whitening = artifact.module[at].whitening
        for matrix in (whitening.joint, whitening.alone, whitening.scale):
            matrix.copy_(torch.tensor(np.abs(rng.normal(0.2, 0.1, matrix.shape))))
        settled, fresh = (
            tuple(Level(*rng.uniform([-1.0, 0.5], [1.0, 2.0])) for _ in range(2)) for _ in range(2)
        )
        members.append(dataclasses.replace(member, settled=settled, fresh=fresh))
    threshold = dataclasses.replace(artifact.spec.threshold, value=0.7, fresh=0.4)
    spec = dataclasses.replace(artifact.spec, members=tuple(members), threshold=threshold)
    return dataclasses.replace(artifact, spec=spec)


def whitened_by_hand(
    artifact: Artifact, at: int, window_WC: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The member's statistics [2] of a window, each channel's blame, and the last row it expects."""
    member = artifact.module[at]
    x = torch.tensor(window_WC, dtype=torch.float32)[None]
    with torch.no_grad():
        y = member.autoencoder(x)[0].double().numpy()
    joint, alone, scale = (
        part.double().numpy()
        for part in (member.whitening.joint, member.whitening.alone, member.whitening.scale)
    )
    residual = window_WC - y
    each = [np.mean((channel @ matrix) ** 2) for channel, matrix in zip(window_WC.T, alone, strict=True)]
    statistics = np.array([np.mean((residual.ravel() @ joint) ** 2), np.log1p(each).mean()])
    return statistics, ((residual / scale) ** 2).mean(axis=0), y[-1]


def test_an_ensembles_verdict_is_what_a_computation_by_hand_says() -> None:
    artifact = with_random_levels(make_artifact(more=(("linear", 8), ("linear", 4))), seed=3)
    readings = regular(12)
    engine = engine_of(artifact)
    results = [engine.step(readings), engine.flush()]
    row = {name: np.concatenate([getattr(r.verdicts, name) for r in results])[9] for name in COLUMNS}
    scaled, blame, expected = [], np.zeros(2), []
    for at, member in enumerate(artifact.spec.members):
        found = whitened_by_hand(artifact, at, readings.values[10 - member.window : 10])
        blame += found[1]
        expected.append(found[2])
        high, spread = np.array([(level.high, level.spread) for level in member.settled]).T
        scaled.append((np.log(found[0] + 0.01) - high) / spread)
    worst = max(np.concatenate(scaled[:2]).mean(), scaled[2].mean())
    unit = np.mean([level.spread for member in artifact.spec.members for level in member.settled]) / 2
    assert row["score"] == pytest.approx(np.exp(unit * worst) / 0.7, rel=1e-4)
    np.testing.assert_allclose(row["contribution"], blame / blame.sum(), rtol=1e-4)
    np.testing.assert_allclose(row["expected"], expected[0], rtol=1e-4)


def test_between_the_windows_of_a_member_with_a_stride_its_newest_output_holds() -> None:
    artifact = with_random_levels(make_artifact(more=(("conv", 8, 3),)), seed=5)
    readings = regular(30)
    engine = engine_of(artifact)
    results = [engine.step(readings), engine.flush()]
    score = np.concatenate([result.verdicts.score for result in results])
    assert engine.counters.windows == 23 + 9  # the second member: the first one, then every third
    for last in range(8, 30):
        read = max(8 - 1, last - (last + 1) % 3)
        scaled = []
        for at, end in ((0, last), (1, read)):
            statistics = whitened_by_hand(artifact, at, readings.values[end - 7 : end + 1])[0]
            high, spread = np.array([(one.high, one.spread) for one in artifact.spec.members[at].settled]).T
            scaled.append((np.log(statistics + 0.01) - high) / spread)
        unit = np.mean([one.spread for member in artifact.spec.members for one in member.settled]) / 2
        expected = np.exp(unit * np.concatenate(scaled).mean()) / 0.7
        assert score[last] == pytest.approx(expected, rel=1e-4)


def test_a_delay_averages_the_distances_of_the_windows_over_the_row() -> None:
    artifact = make_artifact(scoring=Scoring(delay=5))
    readings = regular(30)
    frame = verdicts_of(engine_of(artifact), readings)
    windows = [readings.values[end - 7 : end + 1] for end in range(15, 21)]
    expected = error_of(np.mean([by_hand(artifact, one) for one in windows], axis=0))
    assert frame["score"][15] == pytest.approx(expected, rel=1e-4)


def test_a_provisional_verdict_comes_at_once_and_is_the_causal_one() -> None:
    readings = regular(30)
    causal = verdicts_of(engine_of(make_artifact()), readings)
    engine = engine_of(make_artifact(scoring=Scoring(delay=5)))
    early = [engine.step(part(readings, at, at + 1)) for at in range(30)]
    first = [result.provisional for result in early if len(result.provisional)]
    assert [int(one.timestamp_ns[0]) for one in first] == causal["time"][:29].tolist()
    np.testing.assert_allclose([one.score[0] for one in first], causal["score"][:29], rtol=1e-12)
    final = [int(t) for result in early for t in result.verdicts.timestamp_ns]
    assert final == causal["time"][:24].tolist()  # a row waits for 5 more
    assert len(verdicts_of(engine_of(make_artifact()), readings)) == 30


def test_a_provisional_verdict_goes_by_its_own_levels_and_threshold() -> None:
    artifact = with_random_levels(make_artifact(scoring=Scoring(delay=3), more=SHORT), seed=5)
    spec = artifact.spec
    causal = dataclasses.replace(
        spec,
        members=tuple(dataclasses.replace(member, settled=member.fresh) for member in spec.members),
        scoring=Scoring(),
        threshold=dataclasses.replace(spec.threshold, value=0.4),
    )
    first = engine_of(artifact).step(regular(30)).provisional
    alone = engine_of(dataclasses.replace(artifact, spec=causal)).step(regular(30)).verdicts
    np.testing.assert_allclose(first.score, alone.score, rtol=1e-12)
    np.testing.assert_array_equal(first.state, alone.state)


def test_between_two_windows_nothing_is_provisional_and_the_newest_verdict_stays() -> None:
    readings, engine = regular(40), engine_of(make_artifact(stride=4, scoring=Scoring(delay=2)))
    provisional, newest = [], []
    for at in range(40):
        provisional += (engine.step(part(readings, at, at + 1)).provisional.timestamp_ns // 10**9).tolist()
        newest.append((int(engine.latest.timestamp_ns[0]) // 10**9, int(engine.latest.state[0])))
    assert provisional == list(range(3, 39, 4))
    assert all(state != State.WARMING for _, state in newest[8:])
    assert newest == sorted(newest, key=lambda one: one[0])


def test_without_a_delay_nothing_is_provisional() -> None:
    assert len(engine_of(make_artifact()).step(regular(20)).provisional) == 0


def test_of_several_windows_the_worst_counts_and_the_shortest_speaks_first() -> None:
    readings = regular(20)
    both, long = make_artifact(more=SHORT), make_artifact()
    scores = verdicts_of(engine_of(both), readings)["score"]
    assert scores[:3].isna().all()
    assert scores[3:].notna().all()
    assert (scores[7:] >= verdicts_of(engine_of(long), readings)["score"][7:] - 1e-9).all()


@pytest.mark.parametrize("factor", [4, 6, 20])
def test_a_level_that_lasts_is_one_incident_until_it_is_over(factor: int) -> None:
    readings = regular(6_000)
    readings.values[300:5_300] *= factor
    limit = dataclasses.replace(FOLLOWING, alarms_a_row=1e-4)
    engine = engine_of(make_artifact(threshold=1.6, limit=limit))
    results = [engine.step(readings), engine.flush()]
    events = [(e.kind, e.at_ns // 10**9) for r in results for e in r.incidents if e.kind != "escalated"]
    assert [kind for kind, _ in events] == ["opened", "resolved"]
    assert 300 <= events[0][1] < 310
    assert 5_300 <= events[1][1] < 5_330
    level = np.concatenate([result.verdicts.threshold for result in results])
    assert len(np.unique(level[310:5_300])) == 1  # it stands still
    assert level[-1] <= level[310]  # and was not raised by what lasted


def test_the_page_level_moves_no_score() -> None:
    still, moving = (
        engine_of(make_artifact(threshold=1.1, limit=limit)).step(regular(300)).verdicts
        for limit in (None, FOLLOWING)
    )
    assert (still.threshold == 1.0).all()
    assert len(np.unique(moving.threshold)) > 20
    np.testing.assert_array_equal(moving.score, still.score)
    np.testing.assert_array_equal(moving.paged, moving.score > moving.threshold)
    np.testing.assert_array_equal(still.paged, still.score > 1.0)
    assert moving.paged.any()


def test_series_of_dropped_partitions_start_from_the_calibrated_threshold() -> None:
    engine = engine_of(make_artifact(threshold=1.1, limit=FOLLOWING))
    assert engine.step(regular(300)).verdicts.threshold[-1] != 1.0
    engine.drop(frozenset([0]))
    assert engine.step(regular(3, start=300)).verdicts.threshold[0] == 1.0


def test_an_outage_in_the_middle_of_an_alarm_does_not_blind_a_series() -> None:
    before, after = regular(300), regular(300, start=20_000, seed=1)
    before.values[290:] *= 6
    after.values[150:] *= 6
    engine = engine_of(make_artifact(threshold=1.6, limit=FOLLOWING))
    engine.step(before)
    verdicts = engine.step(after).verdicts
    again = verdicts.take(verdicts.timestamp_ns >= 20_150 * 10**9)
    assert (again.state[:8] == State.ANOMALOUS).any()


def test_a_stride_scores_every_row_once_a_window_ends_after_it() -> None:
    frame = verdicts_of(engine_of(make_artifact(stride=4)), regular(32))
    assert frame["score"].notna().tolist() == [False] * 4 + [True] * 28  # rows 4..7: window that ends at 7


def test_rows_are_warming_until_the_window_is_full_never_ok() -> None:
    frame = verdicts_of(engine_of(make_artifact()), regular(10))
    assert frame["state"][:7].tolist() == [State.WARMING] * 7
    assert frame["score"][:7].isna().all()
    assert frame["score"][7:].notna().all()


def test_a_call_shorter_than_the_window_is_no_error() -> None:
    frame = verdicts_of(engine_of(make_artifact()), regular(3))
    assert frame["state"].tolist() == [State.WARMING] * 3


def test_a_short_gap_is_unknown_and_keeps_the_window() -> None:
    readings = reordered(regular(20), np.delete(np.arange(20), [10, 11]))
    frame = verdicts_of(engine_of(make_artifact()), readings)
    assert frame["state"][10:12].tolist() == [State.GAP] * 2
    assert frame["score"][10:12].isna().all()
    assert frame["score"][12:].notna().all()


def test_a_long_gap_empties_the_window_and_recovery_is_not_flagged() -> None:
    readings = reordered(regular(40), np.delete(np.arange(40), np.arange(15, 25)))
    frame = verdicts_of(engine_of(make_artifact(threshold=1e-9)), readings)
    after = frame[frame["time"] >= 25 * 10**9]
    assert len(frame) == 30
    assert after["state"][:7].tolist() == [State.WARMING] * 7
    assert after["state"].iloc[7] == State.ANOMALOUS


def test_missing_values_are_masked_not_filled_and_judged() -> None:
    readings = regular(12)
    holes = readings.values.copy()
    holes[9, 1] = np.nan
    artifact = make_artifact()
    frame = verdicts_of(engine_of(artifact), dataclasses.replace(readings, values=holes))
    filled = holes.copy()
    filled[9, 1] = filled[8, 1]  # the window's last row has one neighbour
    with torch.no_grad():  # then what the model makes of it
        again = artifact.module[0].autoencoder(torch.tensor(filled[2:10], dtype=torch.float32)[None])
    filled[9, 1] = float(again[0, -1, 1])
    known = ~np.isnan(holes[2:10])
    assert frame["score"][9] == pytest.approx(error_of(by_hand(artifact, filled[2:10], known)), rel=1e-5)


def test_a_row_of_nulls_is_a_gap() -> None:
    readings = regular(12)
    readings.values[9] = np.nan
    assert verdicts_of(engine_of(make_artifact()), readings)["state"][9] == State.GAP


def test_a_window_mostly_missing_is_not_judged() -> None:
    readings = regular(30)
    readings.values[10:16] = np.nan
    readings.values[16:18, 0] = np.nan
    frame = verdicts_of(engine_of(make_artifact()), readings)
    assert np.isnan(frame["score"][17])
    assert frame["state"][17] == State.WARMING


def test_a_stuck_channel_is_a_flatline_and_blamed() -> None:
    readings = regular(40)
    readings.values[20:, 1] = 0.25
    engine = engine_of(make_artifact(flatline_rows=6, threshold=1e9))
    verdicts = engine.step(readings).verdicts
    stuck = verdicts.state == State.FLATLINE
    assert np.flatnonzero(stuck).tolist() == list(range(25, 39))
    np.testing.assert_array_equal(verdicts.contribution[stuck], [[0.0, 1.0]] * 14)


def test_values_outside_the_declared_range_are_out_of_range_even_while_warming() -> None:
    artifact = make_artifact(threshold=1e9)
    channels = tuple(dataclasses.replace(c, valid_min=-50.0, valid_max=50.0) for c in artifact.spec.channels)
    artifact = dataclasses.replace(artifact, spec=dataclasses.replace(artifact.spec, channels=channels))
    readings = regular(20)
    readings.values[3, 0] = 51.0
    readings.values[15, 1] = -51.0
    frame = verdicts_of(engine_of(artifact), readings)
    assert np.flatnonzero(frame["state"] == State.OUT_OF_RANGE).tolist() == [3, 15]


def test_silence_makes_a_series_stale_once_by_the_given_clock() -> None:
    engine = engine_of(make_artifact(), stale_after_ns=60)
    engine.step(regular(10), now_ns=1_000)
    assert len(engine.tick(1_060).verdicts) == 0
    stale = engine.tick(1_061).verdicts
    assert (stale.names, stale.state.tolist()) == (("pump-1",), [State.STALE])
    assert np.isnan(stale.score).all()
    assert len(engine.tick(2_000).verdicts) == 0
    assert engine.latest.state.tolist() == [State.STALE]


def test_wild_values_keep_scores_finite() -> None:
    readings = regular(20)
    readings.values[12] = [1e300, -1e300]
    frame = verdicts_of(engine_of(make_artifact()), readings)
    assert np.isfinite(frame["score"][7:]).all()
    assert frame["state"][12] == State.ANOMALOUS


def test_dropped_partitions_are_forgotten_and_the_others_kept() -> None:
    engine = engine_of(make_artifact())
    engine.step(regular(20, series=0))
    engine.step(regular(20, series=1, seed=1))
    engine.drop(frozenset([0]))
    assert engine.latest.names == ("pump-2",)
    again = engine.step(regular(20, series=0, start=5)).verdicts
    assert again.state[:7].tolist() == [State.WARMING] * 7
    more = engine.step(regular(3, series=1, start=20, seed=2)).verdicts
    assert set(more.names) == {"pump-2"}
    assert np.isfinite(more.score).all()


def test_an_empty_step_is_nothing() -> None:
    engine = engine_of(make_artifact())
    assert len(engine.step(Readings.empty(2)).verdicts) == 0
    assert len(engine.flush().verdicts) == 0


def test_many_series_in_one_step_equal_each_alone() -> None:
    each = [regular(30, series=i, seed=i) for i in range(3)]
    together = readings_of(
        np.concatenate([r.partition for r in each]),
        np.concatenate([r.timestamp_ns for r in each]),
        np.concatenate([r.values for r in each]),
    )
    alone = [row for r in each for row in feed(engine_of(make_artifact()), r, [0, 30])[0]]
    assert feed(engine_of(make_artifact()), together, [0, 90])[0] == sorted(alone)


@pytest.mark.parametrize("kind", [{"more": (("linear", 4), ("lstm", 6))}, {"family": "vae"}], ids=str)
def test_any_number_of_threads_gives_bit_equal_verdicts(kind: dict[str, Any]) -> None:
    readings = regular(300)  # 19 batches of 16
    artifact = make_artifact(**kind)
    one, four = (feed(engine_of(artifact, threads=number), readings, [0, 300]) for number in (1, 4))
    assert one == four


def test_a_failure_in_a_thread_is_raised_to_the_caller() -> None:
    def fail(item: int) -> None:
        if item == 7:
            raise MemoryError(item)

    with pytest.raises(MemoryError):
        Threads(3).each(fail, range(10))
