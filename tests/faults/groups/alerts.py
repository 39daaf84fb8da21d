"""The shipped rules of Prometheus beside a soak: which alerts have fired, by name."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.monitoring.files import PROMETHEUS, RULES
from tests.operations.scaling import scaled
from tests.operations.stack import FACTOR, fetch, program, seconds_until
from tests.support.kafka_broker import free_ports


@dataclass(frozen=True)
class Alerts:
    """What Prometheus has found; durations of the rules are divided by `tests.operations.stack.FACTOR`."""

    address: str
    settings: Path

    def connect_again(self) -> None:
        """Make Prometheus open new connections: a changed configuration of a job has new clients."""
        found = yaml.safe_load(self.settings.read_text())
        (job,) = found["scrape_configs"]
        job["honor_labels"] = not job.get("honor_labels", False)  # no metric here has such labels
        self.settings.write_text(yaml.safe_dump(found))
        reload = urllib.request.Request(f"{self.address}/-/reload", method="POST")
        urllib.request.urlopen(reload, timeout=30).close()

    def firing(self, name: str) -> bool:
        """Whether an alert fires now."""
        return bool(self._names(f'ALERTS{{alertname="{name}",alertstate="firing"}}'))

    def ever(self) -> list[str]:
        """Every alert that has fired since the start, sorted."""
        return sorted(self._names('count_over_time(ALERTS{alertstate="firing"}[1d])'))

    def _names(self, expression: str) -> set[str]:
        body = fetch(f"{self.address}/api/v1/query?query={urllib.parse.quote(expression)}")
        found = json.loads(body)["data"]["result"] if body else []
        return {one["metric"]["alertname"] for one in found}


@contextmanager
def watching(directory: Path, targets: Sequence[str], authority: Path) -> Iterator[Alerts]:
    """Prometheus with the shipped rules over these targets by HTTPS, while the context lasts."""
    (directory / "rules").mkdir(parents=True)
    for path in RULES:
        (directory / "rules" / path.name).write_text(scaled(path.read_text(), FACTOR))
    settings = yaml.safe_load(scaled(PROMETHEUS.read_text(), FACTOR))
    settings["global"]["scrape_timeout"] = settings["global"]["scrape_interval"]
    settings["scrape_configs"] = [
        {
            "job_name": "streamgauge",
            "scheme": "https",
            "tls_config": {"ca_file": str(authority)},
            "static_configs": [{"targets": list(targets)}],
        }
    ]
    del settings["alerting"]
    written = directory / "prometheus.yml"
    written.write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    arguments = (
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
        "--web.enable-lifecycle",
    )
    with program(directory, "prometheus", *arguments):
        made = Alerts(f"http://{address}", written)
        seconds_until(lambda: fetch(f"{made.address}/-/ready"), "Prometheus")
        yield made
