"""The tutorial works as it stands: its Python blocks and commands run in the order of the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

pytestmark = pytest.mark.docs
PAGE = Path(__file__).parent.parent.parent / "docs" / "own-data.md"
TUTORIAL = PAGE.read_text(encoding="utf-8").partition("## What a CSV file may look like")[0]
PATIENCE_S = 300


def steps(page: str = TUTORIAL) -> list[str]:
    """The Python blocks and the lines of our command, in the order of the page."""
    blocks = re.findall(r"```python\n(.*?)```|^    (streamgauge [^\n]*)$", page, re.DOTALL | re.MULTILINE)
    return [python or command for python, command in blocks]


def run(step: str, directory: Path) -> str:
    """Run a step and return what it printed; a failure fails the test with all of that."""
    words = shlex.split(step) if step.startswith("streamgauge ") else []
    command = [sys.executable, "-m", *words] if words else [sys.executable, "-c", step]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def explore(step: str, directory: Path) -> bytes:
    """Run the explorer until its first page arrives, and return that page."""
    command = [sys.executable, "-m", *shlex.split(step), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = (word for line in process.stdout for word in line.split())
            address = next(word for word in words if word.startswith("http://"))
            return urllib3.request("GET", address).data
        finally:
            process.terminate()


def test_every_step_of_the_tutorial_works(tmp_path: Path) -> None:
    printed: dict[str, str] = {}
    for step in steps():
        if step.startswith("streamgauge explore"):
            assert b"Streamgauge" in explore(step, tmp_path)
        else:
            printed[step.split("\n")[0]] = run(step, tmp_path)
    assert len(printed) >= 7
    backtest = next(text for step, text in printed.items() if step.startswith("streamgauge backtest"))
    assert "1 incident of" in backtest
    assert "pressure" in backtest
    assert "anomalous" in printed["import pandas as pd"]
