"""Slow drift over blocks of a quarter of a day: what adds up, and what does not depend on the cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.drift import BLOCK_NS, Drift
from detector.artifact.sum_limits import SumLimits
from detector.scoring.context.drift import DriftEvidence
from detector.scoring.context.spoken import ScaledRows, Spoken
from tests.support.artifacts import make_artifact

HOUR_NS = 3_600 * 10**9
ROWS = BLOCK_NS // HOUR_NS
LIMITS = SumLimits((6.0, 6.0), (0.75, 0.75), (0.0, 0.0), ((0.0, 0.0),) * 5, 4)
DRIFT = Drift(((0.0, 0.0), (0.5, 0.0), (0.0, 0.0), (-0.5, 0.0)), (0.2, 0.2), LIMITS, {"known": (1.0, 0.0)})


def evidence() -> DriftEvidence:
    one = DriftEvidence(DRIFT, make_artifact(("worn", "steady"), interval_ns=HOUR_NS).spec)
    one.name(np.array([0, 1], np.int32), ["known", "stranger"])
    return one


def healthy(blocks: int, seed: int = 0) -> np.ndarray:
    """Return rows of a known series, float32 [blocks * 6, 2]: a daily cycle and noise."""
    rng = np.random.default_rng(seed)
    usual = np.array(DRIFT.usual)[np.arange(blocks) % 4]
    rows = np.repeat(usual + np.array([1.0, 0.0]), ROWS, axis=0) + 0.1 * rng.normal(size=(blocks * ROWS, 2))
    return rows.astype(np.float32)


def told(one: DriftEvidence, scaled: np.ndarray, first: int = 0, slot: int = 0) -> Spoken:
    row = first + np.arange(len(scaled))
    alarm = np.zeros(len(row), np.bool_)
    return one.add(ScaledRows(np.full(len(row), slot, np.int32), row, row * HOUR_NS, scaled, alarm))


def worn(blocks: int = 120, start: int = 40, a_block: float = 0.05) -> np.ndarray:
    rows = healthy(blocks)
    rows[:, 0] += a_block * np.maximum(np.arange(len(rows)) / ROWS - start, 0)
    return rows


def test_a_daily_cycle_says_nothing_and_a_slow_ramp_speaks_to_the_end_and_blames_its_channel() -> None:
    assert not told(evidence(), healthy(400)).paged.any()
    spoken = told(evidence(), worn())
    first = int(np.flatnonzero(spoken.paged)[0])
    assert 40 * ROWS < first < 60 * ROWS
    assert spoken.paged[first:].all()
    assert spoken.blame is not None
    assert (spoken.blame[first:, 0] > 10 * spoken.blame[first:, 1]).mean() > 0.9
    assert spoken.expected is not None
    np.testing.assert_allclose(spoken.expected[::ROWS, 0], 1.0 + np.array(DRIFT.usual)[np.arange(120) % 4, 0])


def test_it_ends_some_days_after_the_repair() -> None:
    rows = np.concatenate([worn(80), healthy(60, seed=3)])
    spoken = told(evidence(), rows)
    assert spoken.paged[80 * ROWS - 1]
    assert not spoken.paged[100 * ROWS :].any()


@pytest.mark.parametrize("scatter", [0.0, 1.0])
def test_a_series_unknown_to_the_model_is_watched_after_a_week_of_its_own(scatter: float) -> None:
    noise = scatter * np.repeat(np.random.default_rng(3).normal(size=(160, 2)), ROWS, axis=0)
    quiet = told(evidence(), (healthy(160) + 5.0 + noise).astype(np.float32), slot=1)
    assert np.isnan(quiet.cumulative[: 28 * ROWS]).all()
    assert not quiet.paged.any()
    spoken = told(evidence(), (worn(160, 60, 0.05 + 0.2 * scatter) + 5.0 + noise).astype(np.float32), slot=1)
    assert not spoken.paged[: 60 * ROWS].any()
    assert spoken.paged[-20 * ROWS :].all()
    assert spoken.lines is not None
    scale = make_artifact(("worn", "steady"), interval_ns=HOUR_NS).spec.column("scale")[0]
    assert spoken.lines[-1][0].a_day == pytest.approx(4 * (0.05 + 0.2 * scatter) * scale, rel=0.2)


def test_rows_in_alarm_are_no_part_of_the_week_that_an_unknown_series_learns() -> None:
    rows = healthy(120)
    row, alarm = np.arange(len(rows)), np.zeros(len(rows), np.bool_)
    alarm[6 * ROWS : 20 * ROWS] = True
    rows[alarm] += 9.0
    spoken = evidence().add(ScaledRows(np.full(len(row), 1, np.int32), row, row * HOUR_NS, rows, alarm))
    assert np.isnan(spoken.cumulative[: 42 * ROWS]).all()
    assert not spoken.paged.any()


def test_a_block_with_less_than_half_of_its_rows_says_nothing() -> None:
    rows = worn(120, 40, 0.2)
    rows[np.arange(len(rows)) % ROWS < 4] = np.nan
    assert not told(evidence(), rows).paged.any()


def test_an_accepted_level_is_quiet_and_a_further_drift_speaks_again() -> None:
    one = evidence()
    assert told(one, worn(80)).paged[-1]
    one.accept(0)
    rows = healthy(160, seed=5)
    rows[:, 0] += 2.0
    later = rows.copy()
    later[80 * ROWS :, 0] += np.linspace(0, 4, 80 * ROWS)
    spoken = told(one, later, 80 * ROWS)
    assert not spoken.paged[: 80 * ROWS].any()
    assert spoken.paged[-1]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=12), st.integers(0, 99))
def test_the_cut_and_a_restart_do_not_matter(cuts: list[int], seed: int) -> None:
    slot, rows = seed % 2, worn(80, 5 + 30 * (seed % 2), 0.1)[: sum(cuts)]
    rows[np.random.default_rng(seed).random(len(rows)) < 0.2] = np.nan
    whole = told(evidence(), rows, slot=slot)
    one, parts, at = evidence(), list[Spoken](), 0
    for cut in cuts:
        part = rows[at : at + cut]
        if len(part):
            parts.append(told(one, part, at, slot))
        at += cut
        again = evidence()
        for kept, new in zip(one.arrays(), again.arrays(), strict=True):
            kept.reserve(2)
            new.reserve(2)
            new.data[:2] = kept.data[:2]
        one = again
    np.testing.assert_array_equal(np.concatenate([part.cumulative for part in parts]), whole.cumulative)
    np.testing.assert_array_equal(np.concatenate([part.paged for part in parts]), whole.paged)
    assert whole.lines is not None
    lines = [line for part in parts if part.lines is not None for line in part.lines]
    assert lines == whole.lines.tolist()
    assert all((line is not None) == pages for line, pages in zip(lines, whole.paged, strict=True))


def test_the_lines_are_in_the_units_of_the_channels() -> None:
    artifact = make_artifact(("worn", "steady"), interval_ns=HOUR_NS)
    scale, center = artifact.spec.column("scale")[0], artifact.spec.column("center")[0]
    spoken = told(evidence(), worn(120, 40, 0.05))
    assert spoken.lines is not None
    line = spoken.lines[-1][0]
    assert line.a_day == pytest.approx(4 * 0.05 * scale, rel=0.05)
    now = line.level + line.a_day * line.days
    assert now == pytest.approx(center + scale * (1.0 + 0.05 * 78.5), abs=0.2 * scale)
    assert spoken.lines[-1][1] is None or spoken.lines[-1][1].trend().may_be_zero
