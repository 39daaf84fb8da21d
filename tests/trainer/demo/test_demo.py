"""The demo, for real and shortened: it finds faults, ends by itself and leaves no process behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_demo_ends_by_itself_with_a_summary_and_leaves_its_directory_alone(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "streamgauge", "demo", "--out", str(out), "--seconds", "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"everything stays in {out}" in done.stdout
    assert "FOUND stuck on flow" in done.stdout
    assert "of 10 faults found" in done.stdout
    assert {path.name for path in out.iterdir()} == {"history", "models", "logs", "conv.toml", "lstm.toml"}
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(out) in str(p.info["cmdline"])]
    assert left == []


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = subprocess.run(
        [sys.executable, "-m", "streamgauge", "demo", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "not empty; name a new directory" in done.stderr
