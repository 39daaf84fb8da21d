"""A history that stands still after a lively start: what moved then is normal, and so is standing still."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from detector.api import backtest
from trainer import fit
from trainer.calibrate import HeldOut, with_lively_rows
from trainer.still_rows import is_still, lively_rows

ROWS, CHANNELS, WINDOW = 1_000, 8, 16


def history(kind: str, lively: int, seed: int) -> NDArray[np.float64]:
    """Return rows that move up to row `lively` and are constant then, float64 [ROWS, CHANNELS]."""
    rng = np.random.default_rng([seed, lively])
    shape = (ROWS, CHANNELS)
    if kind == "drifting":
        values = np.cumsum(0.1 * rng.standard_normal(shape), axis=0) + 0.2 * rng.standard_normal(shape)
    else:
        values = rng.integers(0, 2 if kind == "two-valued" else 5, shape).astype(np.float64)
    values[lively:] = values[lively - 1] if kind == "drifting" else 0.0
    return values


def frame(values: NDArray[np.float64], day: str, series: str) -> pd.DataFrame:
    names = [f"c{at}" for at in range(CHANNELS)]
    index = pd.date_range(day, periods=len(values), freq="1min", tz="UTC")
    return pd.DataFrame(values, index, names).assign(series=series)


@pytest.mark.parametrize(
    ("kind", "lively", "num_series"),
    [("two-valued", 250, 1), ("two-valued", 600, 3), ("multi-level", 400, 1), ("drifting", 300, 1)],
)
def test_stillness_and_movement_of_the_history_are_usual_and_a_fault_is_not(
    kind: str, lively: int, num_series: int
) -> None:
    past = [history(kind, lively, seed) for seed in range(num_series)]
    parts = [frame(one, "2026-01-01", f"m{at}") for at, one in enumerate(past)]
    model = fit(pd.concat(parts), model="linear", window=WINDOW)
    still = np.repeat(past[0][-1:], 500, axis=0)
    moved, broken = still.copy(), still.copy()
    moved[300:340] = past[0][lively - 40 : lively]
    spread = past[0][:lively].std(axis=0)
    broken[300:340, 2] += 15 * spread[2]
    highest = {}
    for name, rows in (("still", still), ("moved", moved), ("broken", broken)):
        verdicts = backtest(model, frame(rows, "2026-02-01", "m0")).verdicts
        highest[name] = float(np.nanmax(verdicts["score"]))
    assert highest["still"] < 1.0
    assert highest["moved"] < 2.0, highest
    assert highest["broken"] > 2.0 * max(1.0, highest["moved"]), highest


def held_out(statistics: NDArray[np.float64]) -> HeldOut:
    rows = np.arange(len(statistics))
    return HeldOut(np.zeros(len(rows), np.int64), rows, statistics, statistics)


def test_only_still_rows_are_joined_by_lively_ones() -> None:
    rng = np.random.default_rng(0)
    usual, still = rng.gamma(20, 0.05, (300, 2)), np.zeros((100, 2))
    fitted = held_out(np.concatenate([usual[:30], np.zeros((200, 2))]))
    assert not is_still(usual)
    assert is_still(still)
    assert is_still(np.stack([usual[:100, 0], still[:, 1]], axis=1))  # one statistic is enough
    assert lively_rows(still, fitted.final).tolist() == list(range(30))
    joined = with_lively_rows(held_out(still), fitted)
    assert len(joined.final) == 30 + 100
    np.testing.assert_array_equal(joined.final[:30], usual[:30])
    assert (joined.segment[:30] < joined.segment[30:].min()).all()
    never = held_out(np.zeros((50, 2)))
    unchanged = held_out(still)
    assert with_lively_rows(unchanged, never) is unchanged


def test_few_lively_rows_do_not_replace_the_measure_of_normal_errors() -> None:
    """A single lively row beside a single held-out one once set levels and threshold."""
    still = held_out(np.random.default_rng(0).uniform(0.0, 0.01, (400, 2)))
    fitted = held_out(np.concatenate([np.ones((1, 2)), np.zeros((200, 2))]))
    joined = with_lively_rows(still, fitted)
    assert len(joined.final) == 1 + 256
    np.testing.assert_array_equal(joined.final[1:], still.final[-256:])


def test_rows_without_a_statistic_are_neither_still_nor_lively() -> None:
    usual = np.ones((50, 2))
    holes = usual.copy()
    holes[::2, 1] = np.nan
    assert not is_still(holes)
    assert not is_still(np.full((5, 2), np.nan))
    found = lively_rows(np.zeros((50, 2)), holes)
    assert found.tolist() == list(range(1, 50, 2))
