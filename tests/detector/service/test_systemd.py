"""What systemd hears from us: readiness, status, the watchdog's beat, the end, and no lie."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connectors.records import Batch
from detector.engine.engine import Engine
from detector.engine.loop import run
from detector.service import systemd
from detector.service.systemd import Supervision, notify, watchdog_seconds
from tests.support.artifacts import make_artifact
from tests.support.service_manager import ServiceManager
from tests.support.strategies import readings_of


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with ServiceManager(str(tmp_path / "notify")) as listening:
        yield listening


class Nothing:
    """A sink for whoever looks at the loop alone."""

    def write(self, result: object, batch: object) -> None: ...

    def commit(self, position: object) -> None: ...

    def close(self) -> None: ...


class Hanging:
    """A source that plays a few batches and then does not come back until it is let go."""

    def __init__(self, num_batches: int) -> None:
        self._left = num_batches
        self.hangs, self.let_go = threading.Event(), threading.Event()

    def poll(self, timeout_seconds: float) -> Batch | None:
        if self._left == 0:
            self.hangs.set()
            self.let_go.wait()
            return None
        self._left -= 1
        return Batch(readings_of(np.zeros(1, int), np.array([self._left * 10**9]), np.zeros((1, 2))))

    def close(self) -> None: ...


def test_assignments_arrive_in_one_datagram(manager: ServiceManager) -> None:
    assert notify("READY=1", "STATUS=judging", environ=manager.environ)
    assert manager.drain() == ["READY=1", "STATUS=judging"]


def test_an_abstract_socket_is_reached_as_well() -> None:
    with ServiceManager(f"@streamgauge-{uuid.uuid4().hex}") as manager:
        assert notify("READY=1", environ=manager.environ)
        assert manager.drain() == ["READY=1"]


@pytest.mark.parametrize(
    "name", ["", "/nowhere/at/all", "vsock:2:1234", "@nobody-listens-here", "/" + 200 * "x"]
)
def test_a_manager_that_cannot_be_told_stops_nothing(name: str) -> None:
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": name})


def test_a_manager_that_does_not_read_stops_nothing(manager: ServiceManager) -> None:
    taken = [notify("STATUS=" + 1000 * "x", environ=manager.environ) for _ in range(10_000)]
    assert taken[0]
    assert not taken[-1]  # its queue is full: the loop must not wait for it


def test_ready_is_said_once_and_only_when_it_is_true(manager: ServiceManager) -> None:
    supervision = Supervision(manager.environ)
    for is_ready in (False, True, False, True):
        supervision.on_turn(is_ready, "judging" if is_ready else "waiting for partitions")
    said = manager.drain()
    assert said.count("READY=1") == 1
    assert said.index("STATUS=waiting for partitions") < said.index("READY=1")
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in said[: said.index("READY=1")])


def test_a_long_start_is_extended_as_long_as_the_loop_turns(
    manager: ServiceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(systemd.time, "monotonic", lambda: float(next(clock)))
    supervision = Supervision(manager.environ)
    for _ in range(5):
        supervision.on_turn(False, "waiting for partitions")
    assert len([line for line in manager.drain() if line.startswith("EXTEND_TIMEOUT_USEC=")]) == 5


def test_a_status_has_one_line(manager: ServiceManager) -> None:
    Supervision(manager.environ).on_turn(True, "one\nREADY=0\ttwo")
    assert manager.drain() == ["READY=1", "STATUS=one READY=0 two"]


def test_a_reload_begins_with_its_time_and_ends_with_ready(
    manager: ServiceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.environ["NOTIFY_SOCKET"])
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    supervision = Supervision()
    supervision.reloaded()  # before we were ever ready it would be a lie
    supervision.on_turn(True, "judging")
    systemd.reloading()
    supervision.reloaded()
    systemd.stopping()
    said = manager.drain()
    stamp = next(line for line in said if line.startswith("MONOTONIC_USEC="))
    assert before <= int(stamp.partition("=")[2]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    order = [line.partition("=")[0] for line in said]
    assert order == [
        "READY",
        "STATUS",
        "RELOADING",
        "MONOTONIC_USEC",
        "READY",
        "STATUS",
        "STOPPING",
        "STATUS",
    ]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-5"}, 0.0),
    ],
)
def test_the_watchdog_is_fed_when_it_is_ours_to_feed(environ: dict[str, str], seconds: float) -> None:
    assert watchdog_seconds(environ) == seconds


def test_nothing_beats_where_nobody_watches(manager: ServiceManager) -> None:
    supervision = Supervision(manager.environ)
    for _ in range(5):
        supervision.on_turn(True, "judging")
    assert "WATCHDOG=1" not in manager.drain()


def test_the_beat_comes_four_times_a_period_however_fast_the_loop_turns(
    manager: ServiceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(np.arange(0.0, 20.0, 0.01).tolist())
    monkeypatch.setattr(systemd.time, "monotonic", lambda: next(clock))
    supervision = Supervision({**manager.environ, "WATCHDOG_USEC": "20000000"})
    for _ in range(2000):
        supervision.on_turn(True, "judging")
    assert manager.drain().count("WATCHDOG=1") == 4


def test_a_loop_that_hangs_is_no_longer_vouched_for(manager: ServiceManager) -> None:
    supervision = Supervision({**manager.environ, "WATCHDOG_USEC": "4"})  # a beat at every turn
    source = Hanging(5)
    loop = threading.Thread(
        target=run,
        args=(source, Engine(make_artifact()), Nothing()),
        kwargs={"on_turn": lambda turn: supervision.on_turn(True, "judging")},
    )
    loop.start()
    try:
        assert source.hangs.wait(60)
        assert manager.drain().count("WATCHDOG=1") == 5
        assert manager.drain(seconds=0.3) == []  # thousands of periods long
    finally:
        source.let_go.set()
        loop.join()
