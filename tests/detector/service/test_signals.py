"""Signals of a process: a hang-up never ends it, however early, and a stop is asked for once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from detector.service.signals import Signals

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield Signals()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_hang_up_during_start_up_is_remembered(signals: Signals) -> None:
    calls: list[str] = []
    os.kill(os.getpid(), signal.SIGHUP)
    signals.on_hang_up(lambda: calls.append("model"), lambda: calls.append("configuration"))
    assert calls == ["model", "configuration"]
    os.kill(os.getpid(), signal.SIGHUP)
    assert len(calls) == 4
    assert not signals.stop.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_stop_is_an_event_and_the_second_one_would_end_the_process(
    signals: Signals, number: signal.Signals
) -> None:
    os.kill(os.getpid(), number)
    assert signals.stop.is_set()
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == signal.SIG_DFL
