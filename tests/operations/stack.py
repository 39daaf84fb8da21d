"""Prometheus and Alertmanager with the shipped files, and a detector to be killed, stopped and started."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.files import ALERTMANAGER, PROMETHEUS, ROOT, RULES, need
from tests.operations.receiver import Pager, paging
from tests.operations.scaling import scaled
from tests.support.kafka_broker import WITH_US, free_ports

FACTOR = 15  # every duration of the shipped files is divided by it
PATIENCE_SECONDS = 240.0  # a bound on hanging, not an expectation


def seconds_until(condition: Callable[[], object], what: str) -> float:
    """Wait for the condition; how long it took. Fails after a generous bound."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + PATIENCE_SECONDS, f"waited {PATIENCE_SECONDS:.0f} s for {what}"
        time.sleep(0.1)
    return time.monotonic() - start


def fetch(url: str) -> str:
    """The body of an HTTP GET; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: str = answer.read().decode()
            return body
    except OSError:
        return ""


@dataclass
class Detector:
    """`streamgauge run` on a port that stays."""

    config: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, more: str = "") -> None:
        """Start it on the configuration, with `more` tables behind it."""
        path = self.config.with_name("running.toml")
        path.write_text(f"{self.config.read_text()}\n[http]\nport = {self.port}\n{more}\n")
        with self.config.with_name("detector.log").open("ab") as log:
            command = [*WITH_US, sys.executable, "-m", "streamgauge", "run", str(path)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def is_ready(self) -> bool:
        return bool(fetch(f"http://{self.address}/readyz"))

    def send(self, which: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(which)

    def end(self, which: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(which)
            self.process.wait(60)


@dataclass
class Monitoring:
    """The addresses of what runs."""

    prometheus: str
    alertmanager: str
    pager: Pager
    shown: list[str] = field(default_factory=list)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression."""
        body = fetch(f"{self.prometheus}/api/v1/query?query={urllib.parse.quote(expression)}")
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"] if body else []
        return found

    def is_firing(self, alert: str, **labels: str) -> bool:
        """By Prometheus."""
        chosen = "".join(f',{name}="{value}"' for name, value in labels.items())
        return bool(self.query(f'ALERTS{{alertname="{alert}",alertstate="firing"{chosen}}}'))

    def tell(self, what: str, seconds: float) -> None:
        """Print a measured time."""
        print(f"{what:<72}{seconds:6.1f} s", flush=True)


def write_configs(directory: Path, detector: str, ports: list[int], pager: Pager) -> None:
    """The shipped files: scaled, with these targets, and the pager as every receiver but `nobody`."""
    (directory / "rules").mkdir()
    for path in RULES:
        (directory / "rules" / path.name).write_text(scaled(path.read_text(), FACTOR))
    text = scaled(PROMETHEUS.read_text(), FACTOR)
    text = text.replace("detector:9108", detector).replace("alertmanager:9093", f"127.0.0.1:{ports[1]}")
    prometheus = yaml.safe_load(text.replace("localhost:9090", f"127.0.0.1:{ports[0]}"))
    prometheus["global"]["scrape_timeout"] = prometheus["global"]["scrape_interval"]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(prometheus))
    alertmanager = yaml.safe_load(scaled(ALERTMANAGER.read_text(), FACTOR))
    for receiver in alertmanager["receivers"]:
        if receiver["name"] != "nobody":
            receiver["webhook_configs"] = [{"url": pager.url}]
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(alertmanager))


@contextmanager
def monitoring(directory: Path, detector: str) -> Iterator[Monitoring]:
    """Prometheus, Alertmanager and a pager while the context lasts."""
    ports = free_ports(2)
    with paging() as pager, ExitStack() as stack:
        write_configs(directory, detector, ports, pager)
        stack.enter_context(
            program(
                directory,
                "prometheus-alertmanager",
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager-data",
                f"--web.listen-address=127.0.0.1:{ports[1]}",
                "--cluster.listen-address=",
            )
        )
        stack.enter_context(
            program(
                directory,
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus-data",
                f"--web.listen-address=127.0.0.1:{ports[0]}",
                "--enable-feature=exemplar-storage",
            )
        )
        made = Monitoring(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", pager)
        seconds_until(lambda: fetch(f"{made.alertmanager}/-/ready"), "Alertmanager")
        seconds_until(lambda: fetch(f"{made.prometheus}/-/ready"), "Prometheus")
        yield made


@contextmanager
def program(directory: Path, name: str, *arguments: str) -> Iterator[None]:
    """A Debian program while the context lasts; its log is beside its data."""
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*WITH_US, need(name), *arguments], cwd=directory, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()
