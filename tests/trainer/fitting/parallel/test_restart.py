"""When a training goes on from a checkpoint: asked by a person, or as the run that wrote it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.artifact.registry import open_artifact
from streamgauge import main
from trainer.fitting.parallel.launch import Launch
from trainer.fitting.parallel.restart import checkpoints_of

KILLED_AFTER_TWO_EPOCHS = """
import os, signal, sys
import trainer.fitting.checkpoint
from streamgauge import main

save = trainer.fitting.checkpoint.Checkpoints.save

def save_and_die(self, state):
    save(self, state)
    if state.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

trainer.fitting.checkpoint.Checkpoints.save = save_and_die
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("before", "now", "demanded", "expected"),
    [
        (Launch(), Launch(), False, False),
        (Launch(), Launch(), True, True),
        (Launch(run="a"), Launch(restarts=1, run="a"), False, True),
        (Launch(run="a"), Launch(run="a"), False, True),  # an agent joined: its count begins at 0
        (Launch(run="a"), Launch(run="b"), False, False),
        (Launch(run="a"), Launch(restarts=1, run="b"), False, False),
        (Launch(run="a"), Launch(run="b"), True, True),
        (Launch(run="a"), Launch(), False, False),
        (Launch(), Launch(run="a"), False, False),
        (Launch(), Launch(restarts=1), False, True),  # no id: torchrun with --master-addr
        (Launch(run="a"), Launch(restarts=1), False, False),
    ],
)
def test_a_checkpoint_of_the_same_run_is_kept_and_any_other_is_removed(
    before: Launch, now: Launch, demanded: bool, expected: bool, tmp_path: Path
) -> None:
    first, _ = checkpoints_of(tmp_path / "kept", False, before)
    state = first.member(0).directory / "state"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"state")
    checkpoints, goes_on = checkpoints_of(tmp_path / "kept", demanded, now)
    assert (goes_on, state.exists()) == (expected, expected)
    again, goes_on = checkpoints_of(tmp_path / "kept", False, Launch(restarts=3, run=now.run))
    assert goes_on, "a later restart of this run goes on from it"
    assert checkpoints.demanded == demanded
    again.clear()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def history(tmp_path: Path) -> Path:
    angle = np.arange(300)[:, None] * 0.2 + np.array([0.0, 1.0])
    values = np.sin(angle) + np.random.default_rng(0).normal(0, 0.05, angle.shape)
    index = pd.date_range("2026-01-01", periods=300, freq="min", tz="UTC", name="timestamp")
    table = pa.Table.from_pandas(pd.DataFrame(values, index=index, columns=["flow", "level"]).reset_index())
    pq.write_table(table, tmp_path / "history.parquet")
    return tmp_path / "history.parquet"


def test_a_restart_goes_on_or_starts_anew_and_never_refuses(
    history: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process of torchrun is killed; a joining host goes on, and one with another seed starts anew."""
    small = ("--model", "conv", "--nodes", "4", "--layers", "1", "--window", "8", "--max-epochs", "3")
    command = ["train", str(history), *small, "--out", str(tmp_path / "pump")]
    assert main([*command[:-1], str(tmp_path / "whole" / "pump")]) == 0
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "job"}.items():
        monkeypatch.setenv(name, value)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    killed = [sys.executable, "-c", KILLED_AFTER_TWO_EPOCHS, *command]
    stopped = subprocess.run(killed, check=False, capture_output=True, text=True, env=environment)
    assert stopped.returncode == -signal.SIGKILL, stopped.stderr
    kept = tmp_path / "pump" / ".checkpoint"
    copy = {path.relative_to(kept): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(command) == 0
    assert "resumed after epoch 2, " in capsys.readouterr().err
    assert not kept.exists()
    whole = open_artifact(tmp_path / "whole" / "pump").version
    assert open_artifact(tmp_path / "pump").version == whole
    for change, code in (((), 0), (("--resume",), 2)):
        for path, content in copy.items():
            (kept / path).parent.mkdir(parents=True, exist_ok=True)
            (kept / path).write_bytes(content)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
        assert main([*command, "--seed", "5", *change]) == code
        printed = capsys.readouterr().err + caplog.text
        caplog.clear()
        assert "resumed after" not in printed
        assert "it belongs to other data or another configuration" in printed
