"""Fixtures for every test."""

from __future__ import annotations

import signal
import threading

import pytest
from hypothesis import settings

from tests.kafka_broker import kafka_bootstrap, kafka_broker, kafka_topic

if threading.current_thread() is threading.main_thread():
    # Whoever runs the tests in the background makes them ignore Ctrl-C, and what they start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("default", deadline=None)
settings.load_profile("default")

__all__ = ["kafka_bootstrap", "kafka_broker", "kafka_topic"]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a Kafka is marked so, and runs in one worker: one broker is enough for all."""
    for item in items:
        if {"kafka_bootstrap", "kafka_broker"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
            item.add_marker(pytest.mark.xdist_group("kafka"))
