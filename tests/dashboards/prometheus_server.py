"""A real Prometheus that scrapes a daemon of the tests, asked as Grafana asks it."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.daemon import Daemon, wait_for
from tests.support.kafka_broker import WITH_US, free_ports

JOB = "streamgauge"
SPAN_SECONDS, STEP_SECONDS = 240, 5
FILLED = {"__rate_interval": "20s", "__range": f"{SPAN_SECONDS}s", "__interval": "5s"}
"""What Grafana would put in for a scrape interval of a second or so."""


@dataclass(frozen=True, slots=True)
class Found:
    """A series of a result: its labels and, where they are numbers, its values and their times in seconds."""

    labels: dict[str, str]
    values: list[float]
    times: list[float]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    address: str

    def ask(self, path: str, **query: object) -> Any:
        """`data` of an answer of the API; a refusal is a failure."""
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(query, doseq=True)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def now(self, expr: str) -> list[Found]:
        """An instant query."""
        result = self.ask("query", query=expr)["result"]
        return _with_numbers([(one["metric"], [one["value"]]) for one in result])

    def over_time(self, expr: str) -> list[Found]:
        """A range query over the last minutes."""
        end = time.time()
        span = {"start": end - SPAN_SECONDS, "end": end, "step": STEP_SECONDS}
        result = self.ask("query_range", query=expr, **span)["result"]
        return _with_numbers([(one["metric"], one["values"]) for one in result])

    def label_values(self, selector: str, label: str) -> list[str]:
        """What a variable of a dashboard offers."""
        values: list[str] = self.ask(f"label/{label}/values", **{"match[]": selector})
        return values

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def _with_numbers(results: list[tuple[dict[str, str], list[tuple[float, str]]]]) -> list[Found]:
    found = []
    for labels, samples in results:
        numbers = [(at, float(value)) for at, value in samples if math.isfinite(float(value))]
        if numbers:
            found.append(Found(labels, [value for _, value in numbers], [at for at, _ in numbers]))
    return found


def needed(program: str) -> str:
    """Where a program is; without it the test is skipped, or fails where a Kafka is required."""
    found = shutil.which(program)
    if found is None:
        reason = f"no {program}: install Debian's package prometheus"
        if os.environ.get("STREAMGAUGE_REQUIRE_KAFKA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def scraping(daemon: Daemon, directory: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the daemon every second while the context lasts."""
    program = needed("prometheus")
    (port,) = free_ports(1)
    target = daemon.address.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [target]}]}],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [
        *WITH_US,
        program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_for(server.is_ready, f"Prometheus; see {directory / 'prometheus.log'}")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)
