"""The command starts without the libraries of models: a backtest is shown at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import urllib3

from tests.detector.explore.explored import START_NS, incident, scores_of, write_backtest

PATHS = ("source", "fleet", "groups", "series?name=a", "incidents/aa11", "whatif", "decisions")


def test_a_backtest_is_shown_without_torch(tmp_path: Path) -> None:
    """A process of its own has mapped no library of torch when it has answered all that its pages ask."""
    scores = scores_of(np.full(60, "a", dtype=object), START_NS + np.arange(60) * 60_000_000_000, 5, 0.0)
    told = [incident("aa11", "a", "2026-01-01T00:10:00Z", "2026-01-01T00:12:00Z")]
    out = write_backtest(tmp_path / "out", scores, told)
    command = [sys.executable, "-m", "streamgauge", "explore", str(out), "--no-browser", "--port", "0"]
    root = Path(__file__).parent.parent.parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            site = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+/", line)))
            http = urllib3.PoolManager(retries=20)
            for path in PATHS:
                assert http.request("GET", f"{site}api/v1/{path}").status == 200, path
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
        finally:
            process.kill()
    assert "duckdb" in mapped
    assert "libtorch" not in mapped
