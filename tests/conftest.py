"""Fixtures for every test."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.security.secure_kafka import secure_kafka
from tests.support import secrets
from tests.support.kafka_broker import kafka_bootstrap, kafka_broker, kafka_topic

if threading.current_thread() is threading.main_thread():
    # Whoever runs the tests in the background makes them ignore Ctrl-C, and what they start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
_LEAKS = pytest.StashKey[tuple[int, list[str]]]()
secrets.plant()
settings.register_profile("default", deadline=None)
settings.load_profile("default")

__all__ = ["kafka_bootstrap", "kafka_broker", "kafka_topic", "secure_kafka"]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """No log of the session's daemons may hold a secret: every byte of them is searched."""
    yield
    if secrets.is_owner():
        num_logs, found = secrets.search()
        session.config.stash[_LEAKS] = (num_logs, found)
        if found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    num_logs, found = config.stash.get(_LEAKS, (0, []))
    if num_logs:
        terminalreporter.write_line(f"{num_logs} logs of daemons searched for secrets: {len(found)} found")
    for leak in found:
        terminalreporter.write_line(f"a secret in a log: {leak}", red=True)


_BROKERS = {"cluster", "secure_kafka", "kafka_broker", "kafka_bootstrap"}
"""Fixtures that start a Kafka."""


_LONG_FILES = (
    "test_faults.py",
    "test_members.py",
    "test_stream_equals_backtest.py",
    "test_trust.py",
    "test_examples.py",
    "test_reload_kafka.py",
    "test_source.py",
    "test_train_command.py",
    "test_operators.py",
    "test_evaluate.py",
    "test_denoise.py",
    "test_gradient.py",
    "test_silence.py",
)
"""Files of more than half a minute, the longest first. They begin first: no worker is alone with one at the
end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a Kafka is marked so; long files come first."""
    rank = {name: number for number, name in enumerate(_LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
    for item in items:
        if _BROKERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
