"""The real daemon under a stand-in for systemd, against a real Apache Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.daemon import running, wait_for
from tests.support.service_manager import ServiceManager
from tests.support.strategies import readings_of

_CONFIG = """
[model]
path = "{model}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
[output]
prefix = "{topic}-out"
"""


def configuration(model: Path, bootstrap: str, topic: str) -> str:
    """Of a daemon with topics and a group of its own."""
    return _CONFIG.format(model=model, bootstrap=bootstrap, topic=topic)


def send(bootstrap: str, topic: str, num_readings: int) -> None:
    """A reading a second of one series."""
    times = 1_700_000_000_000_000_000 + np.arange(num_readings) * 10**9
    readings = readings_of(np.zeros(num_readings, int), times, np.zeros((num_readings, 2)))
    producer = Producer(Connection((bootstrap,)))
    producer.produce(encode(readings, ("flow", "pressure"), topic))
    producer.close()


def test_systemd_hears_of_the_start_of_work_and_of_the_end(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    model = tmp_path / "models" / "pump"
    publish(make_artifact(), model)
    config = configuration(model, kafka_bootstrap, topic)
    with ServiceManager(str(tmp_path / "notify")) as manager:
        environ = {**manager.environ, "WATCHDOG_USEC": "4000000"}
        with running(config, tmp_path, environ, prefix=()) as daemon:
            assert kafka_bootstrap in manager.wait_for("STATUS=waiting for Kafka")
            manager.wait_for("READY=1")
            assert daemon.get("/readyz")[0] == 200  # it was no promise
            send(kafka_bootstrap, topic, 30)
            wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
            manager.wait_for("STATUS=30 readings processed")
            for _ in range(3):
                manager.wait_for("WATCHDOG=1")
            assert daemon.terminate() == 0
            said = manager.drain()
        assert "STOPPING=1" in said
        assert "READY=1" not in said
        assert json.loads(daemon.log.read_text().splitlines()[-1])["event"] == "stopped"
