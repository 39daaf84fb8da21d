"""On call: a real Kafka, the daemon, Prometheus and Alertmanager with the shipped files, and a pager.

`make operations` runs it and prints how long each thing took. Durations of the shipped files are divided by
`stack.FACTOR`; times that grow with them are told for both.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace

import pandas as pd
import pytest
from kafka import KafkaAdminClient

from tests.monitoring.files import ROOT, RUNBOOK_BASE, RUNBOOKS, need
from tests.operations.pumps import Pumps
from tests.operations.stack import FACTOR, Detector, Monitoring, fetch, monitoring, seconds_until
from tests.support.kafka_broker import free_ports
from trainer import fit
from trainer.demo.plant import CHANNELS, Plant

pytestmark = pytest.mark.operations
DAY_NS = 86_400_000_000_000
PUMP, CHANNEL = "pump-02", "pressure"
KEEP_SECONDS = 300 / FACTOR


class Scene(SimpleNamespace):
    """What all tests share: `detector`, `pumps`, `monitoring`."""

    detector: Detector
    pumps: Pumps
    monitoring: Monitoring
    bootstrap: str


def history(plant: Plant, end_ns: int, days: int) -> pd.DataFrame:
    readings = plant.readings(end_ns - days * DAY_NS, end_ns)
    frame = pd.DataFrame(readings.values, columns=list(CHANNELS))
    frame["series"] = [readings.names[code] for code in readings.series]
    return frame.set_index(pd.to_datetime(readings.timestamp_ns, utc=True))


@pytest.fixture(scope="module")
def scene(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for program in ("prometheus", "prometheus-alertmanager", "promtool", "amtool"):
        need(program)
    directory = tmp_path_factory.mktemp("operations")
    topic = f"readings-{uuid.uuid4().hex[:8]}"
    with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 1}})
        admin.wait_for_topics([topic])
    plant = Plant(num_pumps=6)
    start_ns = int(time.time()) // 30 * 30 * 10**9 - DAY_NS
    began = time.monotonic()
    fit(history(plant, start_ns, 4), model="linear", window=16, out=directory / "models/pump")
    config = directory / "streamgauge.toml"
    config.write_text(
        f"""
[model]
path = "{directory}/models/pump"
[kafka]
bootstrap_servers = ["{kafka_bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
group_instance_id = "one"
session_timeout = "6s"
[incidents]
for_rows = 2
of_rows = 3
critical_score = 1.2
"""
    )
    detector = Detector(config, free_ports(1)[0])
    pumps = Pumps(plant, kafka_bootstrap, topic, start_ns)
    with monitoring(directory, detector.address) as made:
        scene = Scene(detector=detector, pumps=pumps, monitoring=made, bootstrap=kafka_bootstrap)
        detector.start()
        pumps.start(40)
        everybody = f'streamgauge_series{{state="ok"}} >= {plant.num_pumps - 1}'
        seconds_until(lambda: made.query(everybody), "all pumps to be judged")
        made.tell("trained, started, judging", time.monotonic() - began)
        yield scene
        pumps.stop()
        detector.end()
        print((directory / "detector.log").read_text()[-2000:])


def page_of(scene: Scene, alert: str, status: str, since: int, **labels: str) -> float:
    """Seconds until the pager has it."""
    pager = scene.monitoring.pager
    return seconds_until(lambda: pager.of(alert, status, since, **labels), f"{alert} {status} {labels}")


def calm(scene: Scene) -> int:
    """Wait until nothing critical fires; how many pages there were."""
    firing = 'ALERTS{alertstate="firing",severity="critical"}'
    seconds_until(lambda: not scene.monitoring.query(firing), "quiet")
    return len(scene.monitoring.pager.pages)


def test_a_fault_pages_outlives_the_detector_and_resolves_with_the_fault(scene: Scene) -> None:
    made, detector = scene.monitoring, scene.detector
    since = calm(scene)
    critical = {"series": PUMP, "severity": "critical"}

    scene.pumps.faulty = {PUMP: CHANNEL}
    made.tell("fault to page", page_of(scene, "StreamgaugeAnomaly", "firing", since, **critical))
    page = made.pager.of("StreamgaugeAnomaly", "firing", since, **critical)[0]
    assert page.receiver == "on-call"
    assert page.annotations["channel"] == CHANNEL
    assert page.annotations["summary"] == f"{PUMP} is anomalous (critical): channel {CHANNEL}"
    values = rf"Channel {CHANNEL} is \S+ now, normal is \S+ to \S+\. Highest score"
    assert re.search(values, page.annotations["description"])
    assert page.annotations["runbook_url"] == f"{RUNBOOK_BASE}{page.name}.md"

    detector.end(signal.SIGKILL)
    made.tell("kill -9 to page", page_of(scene, "StreamgaugeDown", "firing", since))
    until = time.monotonic() + 1.5 * KEEP_SECONDS
    while time.monotonic() < until:  # longer than keep_firing_for alone would hold it
        assert made.is_firing("StreamgaugeAnomaly", **critical)
        time.sleep(0.5)

    dead = len(made.pager.pages)
    detector.start()
    made.tell("start to Down resolved", page_of(scene, "StreamgaugeDown", "resolved", dead))
    told = f'streamgauge_incident_firing{{series="{PUMP}"}} and on (instance) streamgauge_ready == 1'
    seconds_until(lambda: made.query(told), "the incident to be told again")
    assert not made.pager.of("StreamgaugeAnomaly", "resolved", since, **critical)

    scene.pumps.faulty = {}
    made.tell("fault over to resolved", page_of(scene, "StreamgaugeAnomaly", "resolved", since, **critical))


def test_a_detector_that_is_stopped_but_not_dead_is_down(scene: Scene) -> None:
    since = calm(scene)
    scene.detector.send(signal.SIGSTOP)
    try:
        scene.monitoring.tell("SIGSTOP to page", page_of(scene, "StreamgaugeDown", "firing", since))
        stopped = len(scene.monitoring.pager.pages)
    finally:
        scene.detector.send(signal.SIGCONT)
    scene.monitoring.tell("SIGCONT to resolved", page_of(scene, "StreamgaugeDown", "resolved", stopped))


def suppressed(scene: Scene) -> bool:
    """By Alertmanager: at least five series are anomalous, and each of them is held back."""
    body = fetch(f"{scene.monitoring.alertmanager}/api/v2/alerts?filter=alertname=StreamgaugeAnomaly")
    alerts = json.loads(body or "[]")
    held = [one for one in alerts if one["status"]["inhibitedBy"]]
    return len({one["labels"]["series"] for one in held}) >= 5 and len(held) == len(alerts)


def test_many_series_at_once_are_one_page(scene: Scene) -> None:
    since = calm(scene)
    scene.pumps.faulty = {f"pump-{number:02d}": CHANNEL for number in range(1, 7)}
    scene.monitoring.tell("six faults to one page", page_of(scene, "StreamgaugeManySeries", "firing", since))
    seconds_until(lambda: suppressed(scene), "every single series to be held back")
    scene.pumps.faulty = {}
    scene.monitoring.tell(
        "six faults over to resolved", page_of(scene, "StreamgaugeManySeries", "resolved", since)
    )


def test_lag_that_grows_pages_and_lag_that_is_worked_off_resolves(scene: Scene) -> None:
    since = calm(scene)
    scene.detector.end(signal.SIGTERM)
    scene.detector.start("[service]\nmax_poll_records = 2")  # some hundred messages a second at most
    seconds_until(scene.detector.is_ready, "the detector")
    scene.pumps.pace = 200  # times six
    took = page_of(scene, "StreamgaugeLagGrowing", "firing", since, partition="0")
    scene.monitoring.tell("overload to page", took)
    scene.pumps.pace = 2
    high = len(scene.monitoring.pager.pages)
    scene.detector.end(signal.SIGTERM)
    scene.detector.start()
    scene.monitoring.tell("relief to resolved", page_of(scene, "StreamgaugeLagGrowing", "resolved", high))


def commands() -> list[str]:
    """What the runbooks say to type, and what this stack can answer."""
    text = "\n".join(path.read_text() for path in sorted(RUNBOOKS.glob("*.md")))
    typed = re.findall(r"^    ((?:promtool query|curl|amtool|python) .*)$", text, re.MULTILINE)
    return sorted(set(typed), key=lambda line: (line.startswith("amtool"), line))  # silences last


def test_what_the_runbooks_say_to_type_works(scene: Scene) -> None:
    calm(scene)
    places = {
        "localhost:9108": scene.detector.address,
        "localhost:9090": scene.monitoring.prometheus.removeprefix("http://"),
        "localhost:9093": scene.monitoring.alertmanager.removeprefix("http://"),
        "localhost:9092": scene.bootstrap,
        "pump-7": PUMP,
        " 10000": " 1000",
    }
    refused = []
    for command in commands():
        line = command
        for name, place in places.items():
            line = line.replace(name, place)
        outcome = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
        )
        if outcome.returncode:
            refused.append((line, outcome.stdout[-300:], outcome.stderr[-300:]))
    assert len(commands()) > 30
    assert refused == []
