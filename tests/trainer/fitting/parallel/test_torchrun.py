"""Training on several processes that torchrun starts: one artifact, equal to that of one process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector import Detector
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact
from streamgauge import main
from tests.trainer.fitting.parallel.trainings import CASES, train_all

ROOT = Path(__file__).parents[4]
LOSS, SCORE = 1e-4, 1e-3
"""Largest relative difference of losses and of scores; docs/distributed-training.md states both."""
LIMIT = 300.0
pytestmark = pytest.mark.distributed


def frame_of(num_rows: int) -> pd.DataFrame:
    """Four channels a minute with missing values, and a shift of one of them in the last rows."""
    rng = np.random.default_rng(0)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0, 2.0, 0.5])
    values = np.sin(angle) + rng.normal(0, 0.05, angle.shape)
    values[rng.random(values.shape) < 0.01] = np.nan
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "level", "power", "speed"])


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "pump.parquet"
    pq.write_table(pa.Table.from_pandas(frame_of(2000).reset_index(), preserve_index=False), path)
    return path


def torchrun(*arguments: object) -> list[object]:
    """The command line of torchrun, without what it is to run."""
    return [sys.executable, "-m", "torch.distributed.run", *arguments]


def started(command: list[object], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a command in the checkout with its output in a file."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )


def run(command: list[object], log: Path, **environment: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    code = started(command, log, **environment).wait(LIMIT)
    return code, log.read_text()


def two(*arguments: object, restarts: int = 0, module: str = "streamgauge") -> list[object]:
    """Two processes on this host."""
    how = ("--standalone", "--nproc-per-node", 2, "--max-restarts", restarts)
    return torchrun(*how, "-m", module, "train", *arguments)


def model(family: str, epochs: int = 4) -> tuple[object, ...]:
    return "--model", family, "--window", 16, "--max-epochs", epochs, "--name", "pump"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def scores(artifact: Artifact) -> pd.DataFrame:
    """Scores of rows of which the last ones have a fault."""
    frame = frame_of(600)
    frame.loc[frame.index[500:], "level"] += 1.0
    return Detector(artifact).score(frame)


def compare(alone: Artifact, several: Artifact) -> None:
    """Losses, scores and states are those of one process, within the stated tolerances."""
    for name in ("train_losses", "validation_losses"):
        np.testing.assert_allclose(several.spec.training[name], alone.spec.training[name], rtol=LOSS)
    assert len(alone.spec.training["train_losses"]) > 1
    expected, found = scores(alone), scores(several)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=SCORE)
    assert (found["state"] == expected["state"]).all()
    assert (expected["state"].iloc[505:] == "anomalous").any()


@pytest.mark.parametrize("family", ["conv", "lstm"])
def test_two_processes_give_the_model_of_one(family: str, history: Path, tmp_path: Path) -> None:
    """The same losses and scores from the same global batch; the output is that of one process."""
    config = written(tmp_path / "train.toml", "[fit]\nnoise = 0.1\nmask = 0.1\ntrim = 0.05\n")
    wanted = (history, "--config", config, *model(family))
    assert main(["train", *map(str, wanted), "--out", str(tmp_path / "alone")]) == 0
    code, output = run(two(*wanted, "--out", tmp_path / "several"), tmp_path / "log")
    assert code == 0, output
    assert output.count("published ") == 1
    assert output.count("calibrating") == 1
    assert len([path for path in (tmp_path / "several").iterdir() if path.is_dir()]) == 1
    compare(open_artifact(tmp_path / "alone"), open_artifact(tmp_path / "several"))


def test_every_family_learns_the_same_by_three_processes(tmp_path: Path) -> None:
    """Shares of unequal size, empty shares, masks, noise and trimmed windows; a training that diverges."""
    how = torchrun("--standalone", "--nproc-per-node", 3, "-m", "tests.trainer.fitting.parallel.trainings")
    code, output = run([*how, tmp_path / "found.json"], tmp_path / "log")
    assert code == 0, output
    found, expected = json.loads((tmp_path / "found.json").read_text()), train_all()
    assert found["diverged"] == expected["diverged"]
    assert str(expected["diverged"]["error"]).startswith("training diverged in epoch 2: ")
    for name in CASES:
        if name == "vae":  # each process draws codes of its own
            assert found[name]["train_losses"] != expected[name]["train_losses"]
            assert found[name]["train_losses"][-1] < found[name]["train_losses"][0]
            continue
        for losses in ("train_losses", "validation_losses"):
            np.testing.assert_allclose(found[name][losses], expected[name][losses], rtol=LOSS, err_msg=name)
        assert found[name]["size"] == pytest.approx(expected[name]["size"], rel=LOSS), name


@pytest.fixture(scope="module")
def undisturbed(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    directory = tmp_path_factory.mktemp("undisturbed")
    code, output = run(two(history, *model("ensemble", 3), "--out", directory / "pump"), directory / "log")
    assert code == 0, output
    return open_artifact(directory / "pump")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_replaced_and_the_bits_are_those_of_an_undisturbed_training(
    rank: int, history: Path, undisturbed: Artifact, tmp_path: Path
) -> None:
    """Killed in the middle of the second network: torchrun starts both again, from the last epoch."""
    entry = tmp_path / "killed"
    command = two(history, *model("ensemble", 3), "--out", entry, restarts=1)
    process = started(command, tmp_path / "log")
    state = entry / ".checkpoint" / "member-2" / "state"
    wait_for(state.exists, process)
    os.kill(process_of(process, rank).pid, signal.SIGKILL)
    assert process.wait(LIMIT) == 0, (tmp_path / "log").read_text()
    output = (tmp_path / "log").read_text()
    assert "resumed after epoch" in output
    assert open_artifact(entry).version == undisturbed.version, "the version is derived from the content"
    assert not state.exists()


def test_two_hosts_need_data_and_configuration_on_the_first_alone(history: Path, tmp_path: Path) -> None:
    """Two agents of torchrun, as on two hosts; the second one is given paths that it does not have."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = ("--nnodes", 2, "--nproc-per-node", 1, "--master-addr", "127.0.0.1", "--master-port", port)
    first = torchrun(*host, "--node-rank", 0, "-m", "streamgauge", "train", history, *model("conv"))
    second = torchrun(
        *host, "--node-rank", 1, "-m", "streamgauge", "train", "/nowhere", "--config", "/no.toml"
    )
    other = started([*second, "--out", tmp_path / "second"], tmp_path / "log2")
    code, output = run([*first, "--out", tmp_path / "first"], tmp_path / "log1")
    assert code == 0, output
    assert other.wait(LIMIT) == 0, (tmp_path / "log2").read_text()
    assert not (tmp_path / "second").exists()
    assert main(["train", str(history), *map(str, model("conv")), "--out", str(tmp_path / "alone")]) == 0
    compare(open_artifact(tmp_path / "alone"), open_artifact(tmp_path / "first"))


# Errors


def errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("streamgauge: error: ")]


def test_an_error_of_the_first_process_ends_all_with_one_message(tmp_path: Path) -> None:
    code, output = run(two(tmp_path / "none", "--out", tmp_path / "model"), tmp_path / "log")
    assert code == 1, output
    assert errors(output) == [f"streamgauge: error: {tmp_path}/none: no such file or directory"]
    assert "exitcode  : 2" in output


def test_an_error_of_another_process_ends_all_with_one_message(history: Path, tmp_path: Path) -> None:
    broken = two(
        *(history, *model("conv"), "--out", tmp_path / "model"),
        module="tests.trainer.fitting.parallel.broken_worker",
    )
    code, output = run(broken, tmp_path / "log")
    assert code == 1, output
    (line,) = errors(output)
    host = socket.gethostname()
    assert line == (
        f"streamgauge: error: process 1 of 2 on {host} failed: RuntimeError: out of memory: tried to allocate"
        " 3 GiB"
    )
    assert not (tmp_path / "model" / "current").exists()


def test_a_process_that_hangs_ends_all_after_the_timeout(history: Path, tmp_path: Path) -> None:
    entry = tmp_path / "model"
    command = two(history, *model("conv", 12), "--out", entry)
    process = started(command, tmp_path / "log", STREAMGAUGE_PROCESS_TIMEOUT="3")
    wait_for((entry / ".checkpoint" / "member-0" / "state").exists, process)
    hung = process_of(process, 1)
    hung.suspend()
    wait_for(lambda: len(errors((tmp_path / "log").read_text())) == 1, process)
    hung.resume()  # torchrun ends it by a signal that a suspended process does not get
    assert process.wait(LIMIT) == 1
    (line,) = errors((tmp_path / "log").read_text())
    assert "process 0 of 2 on " in line
    assert "lost another one (Timed out" in line
    assert line.endswith("with --max-restarts torchrun goes on from the last epoch")


def wait_for(condition: object, process: subprocess.Popen[bytes]) -> None:
    """Wait until a condition holds; the process must run so long."""
    end = time.monotonic() + LIMIT
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end
        time.sleep(0.01)


def process_of(launcher: subprocess.Popen[bytes], rank: int) -> psutil.Process:
    """The process of a rank, as its environment states."""
    (found,) = (one for one in workers(launcher) if one.environ().get("RANK") == str(rank))
    return found


def workers(launcher: subprocess.Popen[bytes]) -> Iterator[psutil.Process]:
    for child in psutil.Process(launcher.pid).children(recursive=True):
        if "streamgauge" in child.cmdline():
            yield child
