"""Self-checks between turns: when they run, what they publish, and that they leave the engine alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectors.records import Readings
from detector.engine.engine import Engine
from detector.metrics.recorder import Metrics
from detector.metrics.sources import NoSources
from detector.scoring.verdicts import Verdicts
from detector.selfcheck.check import Sense
from detector.service.self_checks import SelfChecks
from detector.status.status import Status
from tests.detector.selfcheck.test_check import MODEL, with_channel
from tests.support.sines import frame_of

NOTHING = Verdicts.empty(3)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def turns(checks: SelfChecks, num: int = 60) -> None:
    for _ in range(num):
        checks.on_turn(NOTHING)


def readings_of(num_rows: int) -> Readings:
    frame = frame_of(num_rows, seed=6)
    zeros = np.zeros(num_rows, np.int32)
    return Readings(
        ("pump",), zeros, frame.index.as_unit("ns").asi8, frame.to_numpy(), zeros, np.arange(num_rows)
    )


class SenseSources(NoSources):
    def __init__(self, checks: SelfChecks) -> None:
        self._checks = checks

    def sense(self) -> Sense:
        return self._checks.sense

    def self_checks(self) -> dict[str, int]:
        return self._checks.counts


def test_one_check_at_the_load_and_one_each_hour() -> None:
    clock = Clock()
    checks = SelfChecks(Engine(MODEL), 3600.0, clock)
    assert checks.sense.outcome == "unknown"
    turns(checks)
    assert checks.counts == {"ok": 1}
    clock.now = 3599.0
    turns(checks)
    assert checks.counts == {"ok": 1}
    clock.now = 3600.0
    turns(checks)
    assert checks.counts == {"ok": 2}


def test_without_an_interval_only_a_new_model_is_checked() -> None:
    clock = Clock()
    checks = SelfChecks(Engine(MODEL), 0.0, clock)
    turns(checks)
    clock.now = 1e9
    turns(checks)
    assert checks.counts == {"ok": 1}
    checks.follow()
    turns(checks)
    assert checks.counts == {"ok": 2}


def test_a_check_leaves_state_and_counters_of_the_engine_as_they_are() -> None:
    engines = [Engine(MODEL), Engine(MODEL)]
    checks = SelfChecks(engines[0], 3600.0, Clock())
    for engine in engines:
        engine.step(readings_of(300))
    turns(checks)
    assert checks.counts == {"ok": 1}
    assert engines[0].counters == engines[1].counters
    saved, other = (engine.save(engine.slots_of(["pump"])) for engine in engines)
    assert [one.cells for one in saved] == [one.cells for one in other]
    assert engines[0].latest.names == ("pump",)


def test_page_metrics_and_log_say_deaf_and_why(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(with_channel(MODEL, 1, scale=1e6 * MODEL.spec.channels[1].scale))
    checks = SelfChecks(engine, 3600.0, Clock())
    metrics = Metrics(engine, 10, "test", SenseSources(checks))
    assert Status(metrics).json()["sense"]["state"] == "unknown"
    assert b"detectable_ratio{" not in metrics.exposition("")[0]
    turns(checks)
    sense = Status(metrics).json()["sense"]
    assert sense["state"] == "deaf"
    assert "promised to be found" in sense["deaf_channels"]["pressure"]
    problems = Status(metrics).json()["overview"]["problems"]
    assert [one for one in problems if one.startswith("Deaf in channel pressure: ")]
    text = metrics.exposition("")[0].decode()
    [ratio] = [line for line in text.splitlines() if 'detectable_ratio{channel="pressure"}' in line]
    assert float(ratio.split()[-1]) < 0.9
    assert 'streamgauge_self_checks_total{outcome="deaf"} 1.0' in text
    assert "self-check failed" in caplog.text


def test_an_old_model_is_unknown_without_a_ratio() -> None:
    engine = Engine(replace(MODEL, spec=replace(MODEL.spec, detectable=()), sample=()))
    checks = SelfChecks(engine, 3600.0, Clock())
    turns(checks)
    assert checks.counts == {"unknown": 1}
    metrics = Metrics(engine, 10, "test", SenseSources(checks))
    assert Status(metrics).json()["overview"]["problems"] == []
    assert "\nstreamgauge_series_deaf " not in metrics.exposition("")[0].decode()
