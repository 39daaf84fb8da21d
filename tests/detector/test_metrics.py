"""Metrics: what Prometheus sees. Unknown is absent, counters are born at 0, series are bounded."""

from __future__ import annotations

import math

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from connectors.records import Batch, Reject
from detector.engine import Engine
from detector.loop import Turn
from detector.metrics import Metrics, Sources
from tests.artifacts import make_artifact
from tests.strategies import NAMES, readings_of


def scrape(metrics: Metrics) -> dict[tuple[str, tuple], float]:
    text, content_type = metrics.exposition("text/plain")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def turn_of(engine: Engine, num_rows: int, start: int = 0, **more: object) -> Turn:
    """A turn in which every series sends `num_rows` rows."""
    rng = np.random.default_rng(start)
    series = np.repeat(np.arange(3), num_rows)
    times = np.tile((start + np.arange(num_rows)) * 10**9, 3)
    batch = Batch(readings_of(series, times, rng.standard_normal((3 * num_rows, 2))), **more)
    return Turn(batch, engine.step(batch.readings), 0.2, 0.01, 0.001, 0.05)


def metrics_of(engine: Engine, max_series: int = 10) -> Metrics:
    return Metrics(engine, max_series, "1.2.3", Sources(lambda: {0: 7}, lambda: 2, lambda: True))


def test_before_anything_came_totals_are_zero_and_scores_absent() -> None:
    found = scrape(metrics_of(Engine(make_artifact())))
    assert found["streamgauge_readings_total", ()] == 0
    assert found["streamgauge_rejected_messages_total", (("reason", "not_json"),)] == 0
    assert found["streamgauge_incident_events_total", (("event", "opened"), ("severity", "critical"))] == 0
    assert not any(name in ("streamgauge_score", "streamgauge_max_score") for name, _ in found)
    assert found["streamgauge_consumer_lag_messages", (("partition", "0"),)] == 7
    assert found["streamgauge_build_info", (("python", found_python(found)), ("version", "1.2.3"))] == 1


def found_python(found: dict) -> str:
    return next(dict(labels)["python"] for name, labels in found if name == "streamgauge_build_info")


def test_an_unknown_score_is_absent_and_a_known_one_there() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    metrics.observe(turn_of(engine, 4))
    assert not any(name == "streamgauge_score" for name, _ in scrape(metrics))
    metrics.observe(turn_of(engine, 8, start=4))
    found = scrape(metrics)
    assert {dict(labels)["series"] for name, labels in found if name == "streamgauge_score"} == set(NAMES)
    assert all(math.isfinite(value) for (name, _), value in found.items() if name == "streamgauge_score")


def test_totals_follow_the_engine_and_the_turns() -> None:
    engine = Engine(make_artifact(threshold=1e-9))
    metrics = metrics_of(engine)
    reject = Reject("not_json", "", "readings", 0, 0, None, b"")
    metrics.observe(turn_of(engine, 12, rejects=(reject, reject), unknown_values=3))
    found = scrape(metrics)
    assert found["streamgauge_readings_total", ()] == 36
    assert found["streamgauge_rows_total", ()] == 33
    assert found["streamgauge_rejected_messages_total", (("reason", "not_json"),)] == 2
    assert found["streamgauge_unknown_channel_values_total", ()] == 3
    assert found["streamgauge_verdicts_total", (("state", "warming"),)] == 21
    assert found["streamgauge_verdicts_total", (("state", "anomalous"),)] == 12
    assert found["streamgauge_open_incidents", (("severity", "critical"),)] == 3
    assert found["streamgauge_incident_events_total", (("event", "opened"), ("severity", "critical"))] == 3
    assert found["streamgauge_turn_seconds_count", (("step", "step"),)] == 1


def test_series_are_bounded_worst_first_and_the_rest_counted() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine, max_series=1)
    metrics.observe(turn_of(engine, 12))
    found = scrape(metrics)
    shown = [dict(labels)["series"] for name, labels in found if name == "streamgauge_score"]
    latest = engine.latest
    assert shown == [latest.names[int(np.argmax(latest.score))]]
    assert found["streamgauge_series_left_out", ()] == 2


def test_the_highest_score_is_since_the_last_scrape() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    turn = turn_of(engine, 12)
    metrics.observe(turn)
    assert scrape(metrics)["streamgauge_max_score", ()] == np.nanmax(turn.result.verdicts.score)
    assert ("streamgauge_max_score", ()) not in scrape(metrics)
