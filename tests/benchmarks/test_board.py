"""The board compares methods at the same delay: its wrapper lets no score see later rows than it may."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.board import tables
from benchmarks.board.causal import at_delay
from benchmarks.board.methods import OURS, PEERS
from benchmarks.board.runs import SCRIPTS, Task, perform
from trainer.evaluation.file_evaluation import evaluate_file
from trainer.evaluation.options import EvaluationOptions

ENDS = st.lists(st.one_of(st.just(np.nan), st.floats(0, 1e6)), min_size=1, max_size=40).map(np.array)


@given(ENDS, st.integers(1, 12), st.one_of(st.none(), st.integers(0, 15)))
def test_a_score_is_the_mean_of_the_windows_that_it_may_see(
    ends: np.ndarray, reach: int, delay: int | None
) -> None:
    found = at_delay(ends, reach, delay)
    later = reach - 1 if delay is None else min(delay, reach - 1)
    for row in range(len(ends)):
        seen = ends[row : row + later + 1]
        seen = seen[~np.isnan(seen)]
        if len(seen):
            assert found[row] == pytest.approx(seen.mean(), rel=1e-6, abs=1e-6 * (1 + np.nanmax(ends)))
        else:
            assert found[row] == found.min()


@given(ENDS.filter(lambda ends: len(ends) > 3), st.integers(1, 12), st.integers(0, 15), st.data())
def test_later_rows_than_the_delay_change_nothing(
    ends: np.ndarray, reach: int, delay: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(ends) - 1))
    other = np.concatenate([ends[:cut], np.full(len(ends) - cut, 5e5)])
    rows = max(0, cut - delay)
    known = [row for row in range(rows) if not np.isnan(ends[row : row + min(delay, reach - 1) + 1]).all()]
    before, after = at_delay(ends, reach, delay), at_delay(other, reach, delay)
    np.testing.assert_allclose(before[known], after[known], rtol=1e-6, atol=1.0)


PEER = """
import numpy as np, protocol

def honest(train, window):
    return lambda rows: np.abs(rows).sum(axis=1), 1

def peeking(train, window):
    return lambda rows: np.abs(rows - rows.mean(axis=0)).sum(axis=1), 1

protocol.main({"honest": honest, "peeking": peeking})
"""


@pytest.mark.parametrize(("method", "leaks"), [("honest", False), ("peeking", True)])
def test_a_method_that_uses_later_rows_is_found_out(method: str, leaks: bool, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 2)).cumsum(axis=0).astype(np.float32)
    np.savez(tmp_path / "in.npz", train=rows[:50], rows=rows, window=8)
    script = tmp_path / "peer.py"
    script.write_text(PEER)
    command = [sys.executable, script, method, tmp_path / "in.npz", tmp_path / "out.npz"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(SCRIPTS)}, timeout=60)
    found = np.load(tmp_path / "out.npz")
    assert len(found["ends"]) == 200
    assert (float(found["leak"]) > 1e-3) is leaks


def test_members_trained_once_for_several_delays_are_those_of_a_training_for_each(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=400) + 3 * np.sin(np.arange(400) / 5)
    label = np.zeros(400, np.int64)
    label[300:310] = 1
    rows[300:310] += 9
    frame = pd.DataFrame(
        {
            "timestamp": pd.date_range("2026-01-01", periods=400, freq="min", tz="UTC"),
            "value": rows,
            "label": label,
            "split": np.where(np.arange(400) < 250, "train", "test"),
        }
    )
    path = tmp_path / "one.parquet"
    frame.to_parquet(path)
    perform(Task(path, "conv"), tmp_path)
    found = json.loads((tmp_path / "results" / f"{tmp_path.name}.one.conv.json").read_text())
    for delay in (0, 8):
        alone = evaluate_file(path, "one", EvaluationOptions("conv", causal=delay == 0, delay=delay))
        expected = {"vus_pr": alone.model.vus_pr, "auc_pr": alone.model.auc_pr}
        assert found[str(delay)] == pytest.approx(expected, rel=1e-9)


def test_every_peer_has_a_script_and_an_environment() -> None:
    for peer in PEERS:
        assert f'"{peer.name}":' in (SCRIPTS / peer.script).read_text()
        requirements = SCRIPTS.parent / "environments" / f"{peer.environment}.txt"
        assert all("==" in line for line in requirements.read_text().split())


def test_the_table_states_failures_and_the_means_of_the_others(tmp_path: Path) -> None:
    figures = {delay: {"vus_pr": 0.5, "auc_pr": 0.4} for delay in tables.COLUMNS}
    done = {**figures, "fit_seconds": 2.0, "rows_per_second": 1000.0}
    found = {
        ("set", "a", "linear"): done,
        ("set", "b", "linear"): {"failed": "no memory"},
        ("set", "a", "usad"): {"failed": "no memory"},
    }
    lines = tables.table(found, "set").splitlines()
    assert lines[2].startswith(f"| **{OURS['linear']}** | 1 of 2 | 0.500 (0.50 to 0.50) |")
    assert lines[3].startswith("| USAD (TSB-AD) | 0 of 1 | - |")
    tables.write_csv(found, tmp_path / "board.csv")
    assert "set,b,linear,0,,,no memory" in (tmp_path / "board.csv").read_text()
