"""Run a method on a file at every delay.

Each result is a small JSON file, and is not repeated while it exists.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.board import series
from benchmarks.board.causal import at_delay
from benchmarks.board.environments import python_of
from benchmarks.board.methods import Peer
from trainer.config import ENSEMBLE
from trainer.evaluation.file_evaluation import fit_file
from trainer.evaluation.labelled import read_labelled
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.row_scores import score_rows

DELAYS = (0, 8, 32, 128)
TWO_SIDED = "two-sided"
SCRIPTS = Path(__file__).parent / "peers"
MOST_SECONDS = 1_800
"""A peer that needs longer for one file is recorded as too slow."""
MOST_LEAK = 1e-3
"""A score that later rows change by more than this, in spreads of the scores, is not causal."""


@dataclass(frozen=True, slots=True)
class Task:
    """One method on one file; `method` is one of our families or a peer."""

    path: Path
    method: str | Peer

    @property
    def name(self) -> str:
        """Return the name of the file of its result."""
        method = self.method if isinstance(self.method, str) else self.method.name
        return f"{self.path.parent.name}.{self.path.stem}.{method}"


def perform(task: Task, out: Path) -> None:
    """Run a task, and write its result below `out`."""
    target = out / "results" / f"{task.name}.json"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    found = _ours(task) if isinstance(task.method, str) else _of_peer(task.path, task.method, out)
    target.write_text(json.dumps(found, indent=1) + "\n")


def _ours(task: Task) -> dict[str, object]:
    """Fit one of our families for each delay, since levels depend on it, and rank all rows.

    A single family is trained once for all delays. The ensemble has other members for some delays.
    """
    assert isinstance(task.method, str)
    data = read_labelled(task.path, None)
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for delay in (*DELAYS, TWO_SIDED):
            options = EvaluationOptions(
                family=task.method, causal=delay == 0, delay=delay if isinstance(delay, int) else None
            )
            started = time.perf_counter()
            members = str(delay) if task.method == ENSEMBLE else task.method
            artifact = fit_file(data, options, Path(scratch) / members)
            fitted = time.perf_counter()
            score = score_rows(artifact, data.timestamp_ns, data.values).score
            seconds = time.perf_counter() - fitted
            found[str(delay)] = series.ranked(data, np.nan_to_num(score, nan=0.0))
            if delay == 0:
                rate = len(score) / max(seconds, 1e-9)
                found |= {"fit_seconds": fitted - started, "rows_per_second": rate}
    return found


def _of_peer(path: Path, peer: Peer, out: Path) -> dict[str, object]:
    """Run a peer's script in its environment; a failure is a result with its reason."""
    one = series.read(path)
    python = python_of(peer.environment, out / "environments")
    with tempfile.TemporaryDirectory() as scratch:
        given, taken = Path(scratch) / "in.npz", Path(scratch) / "out.npz"
        np.savez(given, train=one.rows[one.train], rows=one.rows, window=one.window)
        command = [str(python), str(SCRIPTS / peer.script), peer.name, str(given), str(taken)]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=MOST_SECONDS, cwd=scratch
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"more than {MOST_SECONDS} s"}
        if done.returncode:
            return {"failed": (done.stderr.strip() or "no output").splitlines()[-1][:300]}
        return _measured(one, dict(np.load(taken)))


def _measured(one: series.Series, given: dict[str, np.ndarray]) -> dict[str, object]:
    if (leak := float(given["leak"])) > MOST_LEAK:
        return {"failed": f"not causal: later rows change a score by {leak:.3g} spreads"}
    ends, reach = given["ends"], int(given["reach"])
    found: dict[str, object] = {
        str(delay): series.ranked(one.labelled, at_delay(ends, reach, delay)) for delay in DELAYS
    }
    found[TWO_SIDED] = series.ranked(one.labelled, at_delay(ends, reach, None))
    seconds = float(given["score_seconds"])
    return found | {
        "fit_seconds": float(given["fit_seconds"]),
        "rows_per_second": len(ends) / max(seconds, 1e-9),
        "leak": leak,
    }
