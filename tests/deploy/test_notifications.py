"""The real daemon under a stand-in for systemd, against a real Apache Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from connectors.connection import Connection
from connectors.encoder import encode
from connectors.producer import Producer
from detector.registry import publish
from tests.artifacts import make_artifact
from tests.daemon import running, wait_for
from tests.service_manager import ServiceManager
from tests.strategies import readings_of

CONFIG = """
[model]
path = "{model}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
[output]
prefix = "{topic}-out"
"""


def test_systemd_hears_of_the_start_of_work_and_of_the_end(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    model = tmp_path / "models" / "pump"
    publish(make_artifact(), model)
    config = CONFIG.format(model=model, bootstrap=kafka_bootstrap, topic=topic)
    with ServiceManager(str(tmp_path / "notify")) as manager:
        environ = {**manager.environ, "WATCHDOG_USEC": "4000000"}
        with running(config, tmp_path, environ) as daemon:
            assert kafka_bootstrap in manager.wait_for("STATUS=waiting for Kafka")
            manager.wait_for("READY=1")
            assert daemon.get("/readyz")[0] == 200  # it was no promise
            times = 1_700_000_000_000_000_000 + np.arange(30) * 10**9
            producer = Producer(Connection((kafka_bootstrap,)))
            values = np.zeros((30, 2))
            producer.produce(
                encode(readings_of(np.zeros(30, int), times, values), ("flow", "pressure"), topic)
            )
            producer.close()
            wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
            manager.wait_for("STATUS=30 readings judged")
            for _ in range(3):
                manager.wait_for("WATCHDOG=1")
            assert daemon.terminate() == 0
            said = manager.drain()
        assert "STOPPING=1" in said
        assert "READY=1" not in said
        assert json.loads(daemon.log.read_text().splitlines()[-1])["event"] == "stopped"
