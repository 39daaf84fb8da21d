"""The command starts without the libraries of models: a backtest and a running group are shown at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import urllib3

from detector.artifact.registry import publish
from tests.detector.explore.explored import START_NS, incident, scores_of, write_backtest
from tests.support.kafka_broker import free_ports
from tests.support.sines import linear_artifact

PATHS = ("source", "fleet", "groups", "whatif", "decisions")
ROOT = Path(__file__).parent.parent.parent.parent
HTTP = urllib3.PoolManager(retries=20)


@contextmanager
def explored(source: Path) -> Iterator[tuple[str, int]]:
    """The address of an explorer in a process of its own, and the id of the process."""
    command = [sys.executable, "-m", "streamgauge", "explore", str(source), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            site = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+/", line)))
            yield site, process.pid
        finally:
            process.kill()


def libraries_after(source: Path, paths: tuple[str, ...]) -> str:
    """What an explorer has mapped when it has answered these paths of the API."""
    with explored(source) as (site, pid):
        for path in paths:
            assert HTTP.request("GET", f"{site}api/v1/{path}").status == 200, path
        return Path(f"/proc/{pid}/maps").read_text()


def test_a_backtest_is_shown_without_torch(tmp_path: Path) -> None:
    """A process of its own has mapped no library of torch when it has answered all that its pages ask."""
    scores = scores_of(np.full(60, "a", dtype=object), START_NS + np.arange(60) * 60_000_000_000, 5, 0.0)
    told = [incident("aa11", "a", "2026-01-01T00:10:00Z", "2026-01-01T00:12:00Z")]
    out = write_backtest(tmp_path / "out", scores, told)
    mapped = libraries_after(out, (*PATHS, "series?name=a", "incidents/aa11"))
    assert "duckdb" in mapped
    assert "libtorch" not in mapped


def test_a_running_group_is_shown_without_torch(tmp_path: Path) -> None:
    """It reads topics and the description of the model. The broker need not run yet."""
    publish(linear_artifact(), tmp_path / "models" / "pump")
    config = tmp_path / "group.toml"
    config.write_text(
        f'[model]\npath = "{tmp_path}/models/pump"\n[kafka]\ntopic = "readings"\n'
        f'bootstrap_servers = ["127.0.0.1:{free_ports(1)[0]}"]\n'
    )
    mapped = libraries_after(config, PATHS)
    assert "duckdb" in mapped
    assert "libtorch" not in mapped
