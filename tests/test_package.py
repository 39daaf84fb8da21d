"""The wheel: what is in it, and that everything works from it, away from the checkout."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, wait_for

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.package

HISTORY = """
import sys
import numpy as np
import pandas as pd

rows = np.arange(4000)
noise = np.random.default_rng(7).normal(size=(2, len(rows)))
wave = np.sin(2 * np.pi * rows / 96)
frame = pd.DataFrame({
    "timestamp": pd.to_datetime(1_767_225_600 + rows * 60, unit="s", utc=True),
    "flow": 20 + 3 * wave + 0.1 * noise[0],
    "pressure": 5 - wave + 0.1 * noise[1],
})
frame.loc[3900:3909, "pressure"] += 8
frame[:3600].to_parquet(sys.argv[1])
frame[3600:].to_parquet(sys.argv[2])
"""


CONFIG = """
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
[http]
port = {port}
"""


def execute(
    *command: str | Path, cwd: Path, timeout_seconds: float = 500
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    outcome = execute(*command, cwd=cwd)
    assert outcome.returncode == 0, f"{command}\n{outcome.stdout}\n{outcome.stderr}"
    return outcome.stdout


@dataclass(frozen=True, slots=True)
class Installation:
    """A clean environment with the wheel and nothing else of ours, and an empty directory to work in."""

    python: Path
    command: Path
    directory: Path


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The source archive, and the wheel built from it."""
    out = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=ROOT)
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def wheel(distributions: list[Path]) -> Path:
    return next(path for path in distributions if path.suffix == ".whl")


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    home = tmp_path_factory.mktemp("installation")
    environment = home / "environment"
    uv = (sys.executable, "-m", "uv")
    succeed(*uv, "venv", "--quiet", "--python", sys.executable, environment, cwd=home)
    python = environment / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = (*uv, "pip", "install", "--quiet", "--python", python, "--constraint", constraints)
    succeed(*install, f"{wheel}[demo]", cwd=home)
    work = home / "work"
    work.mkdir()
    return Installation(python, environment / "bin" / "streamgauge", work)


def test_twine_accepts_the_distributions(distributions: list[Path]) -> None:
    assert len(distributions) == 2
    succeed(sys.executable, "-m", "twine", "check", "--strict", *distributions, cwd=ROOT)


def test_the_wheel_holds_the_three_packages_and_the_front_door(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    tops = {name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")}
    assert tops == {"connectors", "detector", "trainer", "streamgauge.py"}
    packed = {name.as_posix() for name in names if name.suffix == ".py"}
    sources = {path for top in tops for path in (ROOT / top).rglob("*.py")} | {ROOT / "streamgauge.py"}
    assert packed == {path.relative_to(ROOT).as_posix() for path in sources}
    static = [path for path in (ROOT / "detector/explore/static").iterdir() if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in static} <= {name.as_posix() for name in names}


def test_the_command_runs_from_the_wheel_and_not_from_the_checkout(installation: Installation) -> None:
    assert "usage: streamgauge" in succeed(installation.command, "--help", cwd=installation.directory)
    code = "import connectors, detector, trainer, streamgauge as s; print(detector.__file__, s.__file__)"
    places = succeed(installation.python, "-c", code, cwd=installation.directory)
    assert str(ROOT) not in places


def test_training_and_backtest_work_from_the_wheel(installation: Installation) -> None:
    here = installation.directory
    command = installation.command
    succeed(installation.python, "-c", HISTORY, "history.parquet", "present.parquet", cwd=here)
    train = (command, "train", "history.parquet", "--out", "models/pump", "--window", "16")
    succeed(*train, "--max-epochs", "3", "--seed", "7", cwd=here)
    assert "pressure" in succeed(command, "inspect", "models/pump", cwd=here)
    backtest = (command, "backtest", "models/pump", "present.parquet")
    outcome = json.loads(succeed(*backtest, "--out", "report", "--json", cwd=here))
    assert outcome["rows"] == 400
    assert (here / "report" / "scores.parquet").stat().st_size > 0
    assert execute(*backtest, "--fail-on-incident", cwd=here).returncode == 3


@pytest.fixture(scope="module")
def detector(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel without any extra: without PyTorch."""
    home = tmp_path_factory.mktemp("detector")
    environment = home / "environment"
    uv = (sys.executable, "-m", "uv")
    succeed(*uv, "venv", "--quiet", "--python", sys.executable, environment, cwd=home)
    python = environment / "bin" / "python"
    constraints = ("--constraint", ROOT / "constraints.txt")
    succeed(*uv, "pip", "install", "--quiet", "--python", python, *constraints, wheel, cwd=home)
    succeed(python, "-c", HISTORY, "history.parquet", "present.parquet", cwd=home)
    publish(make_artifact(family="lstm", window=16, interval_ns=60 * 10**9), home / "models/pump")
    return Installation(python, environment / "bin" / "streamgauge", home)


def test_without_torch_the_detector_judges_and_training_names_the_remedy(detector: Installation) -> None:
    here, command = detector.directory, detector.command
    assert execute(detector.python, "-c", "import torch", cwd=here).returncode != 0
    assert "usage: streamgauge" in succeed(command, "--help", cwd=here)
    outcome = json.loads(succeed(command, "backtest", "models/pump", "present.parquet", "--json", cwd=here))
    assert outcome["rows"] == 400
    assert "lstm, window 16" in succeed(command, "inspect", "models/pump", cwd=here)
    succeed(command, "encode", "models/pump", "present.parquet", "--out", "codes.parquet", cwd=here)
    for verb in ("train history.parquet --out models/other", "demo"):
        refused = execute(command, *verb.split(), cwd=here)
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1].endswith("install it: pip install 'streamgauge[train]'")
        assert "Traceback" not in refused.stderr


def test_without_torch_the_daemon_starts_in_little_memory(
    detector: Installation, kafka_bootstrap: str, kafka_topic: Callable[..., str]
) -> None:
    topic, here, log = kafka_topic(1), detector.directory, detector.directory / "daemon.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = CONFIG.format(entry=here / "models/pump", bootstrap=kafka_bootstrap, topic=topic, port=port)
    (here / "streamgauge.toml").write_text(config)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [detector.command, "run", "streamgauge.toml"], cwd=here, stdout=output, stderr=output
        )
    daemon = Daemon(process, f"http://127.0.0.1:{port}", log)
    try:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"the daemon is ready; see {log}")
        assert psutil.Process(process.pid).memory_info().rss < 200 * 2**20
        assert daemon.terminate() == 0
    finally:
        process.kill()
        process.wait()


def test_every_wheel_of_the_detector_exists_for_arm(tmp_path: Path) -> None:
    """Resolved for ARM from wheels alone; what `make dist-check` shows stands in docs/operate.md."""
    uv = (sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--only-binary", ":all:")
    arm = ("--python-platform", "aarch64-unknown-linux-gnu", "--python-version", "3.12")
    constraints = ("--constraint", ROOT / "constraints.txt")
    found = succeed(*uv, *arm, *constraints, ROOT / "pyproject.toml", "--no-header", cwd=tmp_path)
    names = {line.partition("==")[0].strip() for line in found.splitlines() if "==" in line}
    assert {"numpy", "pyarrow", "safetensors", "msgspec", "orjson"} <= names
    assert "torch" not in names


def test_the_demo_ends_by_itself_with_a_summary_and_leaves_its_directory_alone(
    installation: Installation,
) -> None:
    """The second of the two commands of the README, for real."""
    here = installation.directory
    out, before = here / "plant", {path.name for path in here.iterdir()}
    outcome = succeed(installation.command, "demo", "--out", out, "--seconds", "5", cwd=here)
    assert f"everything stays in {out}" in outcome
    assert "explorer: http://127.0.0.1:" in outcome
    assert "FOUND stuck on flow" in outcome
    assert "of 10 faults found" in outcome
    assert {path.name for path in here.iterdir()} - before == {"plant"}
    left_there = {"history", "models", "logs", "linear.toml", "lstm.toml", "linear-explorer"}
    assert {path.name for path in out.iterdir()} == left_there
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(out) in str(p.info["cmdline"])]
    assert left == []
