"""A disk that is full while the trainer writes: the limit of a file's size stands for it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamgauge import main

ROOT = Path(__file__).parents[2]


def history(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=2_000, freq="s", tz="UTC", name="timestamp")
    wave = np.sin(np.arange(2_000) / 7.0)
    frame = pd.DataFrame({"flow": wave + 0.1 * rng.standard_normal(2_000)}, index=index)
    frame.reset_index().to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a first model."""
    directory = tmp_path_factory.mktemp("disk")
    assert main(command(history(directory / "first.parquet", 0), directory / "models" / "pump")) == 0
    return directory / "models" / "pump"


def command(data: Path, registry: Path) -> list[str]:
    return ["train", str(data), "--out", str(registry), "--model", "linear", "--window", "16"]


def train_limited(data: Path, registry: Path, most_bytes: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamgauge", *command(data, registry)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )


def contents(registry: Path) -> dict[str, bytes]:
    return {str(one.relative_to(registry)): one.read_bytes() for one in registry.rglob("*") if one.is_file()}


@pytest.mark.parametrize("most_bytes", [1_000, 9_000])  # no room for the scratch file; none for the weights
def test_a_full_disk_is_an_error_with_the_path_and_the_old_model_stays(
    registry: Path, tmp_path: Path, most_bytes: int
) -> None:
    before = contents(registry)
    assert before
    second = train_limited(history(tmp_path / "second.parquet", 1), registry, most_bytes)
    assert second.returncode in (1, 2)
    assert "streamgauge: error: " in second.stderr
    assert "File too large" in second.stderr
    assert "Traceback" not in second.stderr
    assert contents(registry) == before
