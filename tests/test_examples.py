"""The examples run unchanged."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine
from tests.support.artifacts import make_artifact
from tests.support.strategies import readings_of

ROOT = Path(__file__).parents[1]


def output_of(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_backtest_names_faults() -> None:
    printed = output_of("examples/backtest.py")
    assert "warming" in printed
    assert "pump-03 " in printed  # its flow sensor sticks
    assert re.search(r"pump-03 \w+ (cumulative|flatline): flow", printed)


@pytest.mark.slow
def test_custom_training_reports_both_models() -> None:
    printed = output_of("examples/custom_training.py").splitlines()
    assert [line.split(":")[0] for line in printed] == ["wide", "recurrent"]
    assert printed[1].endswith("for 1/month")


def test_read_alerts_prints_each_alert(kafka_bootstrap: str, kafka_topic: Callable[..., str]) -> None:
    topic = kafka_topic()
    engine = Engine(make_artifact(threshold=1e-9))
    values = np.random.default_rng(0).standard_normal((20, 2))
    result = engine.step(readings_of(np.zeros(20, int), np.arange(20) * 10**9, values))
    encoder = MessageEncoder(Topics("", topic, "", "", ""), "pump", "v1", ("flow", "pressure"))
    producer = Producer(Connection((kafka_bootstrap,)))
    producer.produce(list(encoder.incidents(result.incidents)))
    producer.close()
    printed = output_of("examples/read_alerts.py", kafka_bootstrap, topic, "3000")
    assert "opened    pump-1 critical" in printed
    assert result.incidents[0].incident.id in printed
