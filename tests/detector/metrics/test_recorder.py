"""Metrics: what Prometheus sees. Unknown is absent, counters start at 0, series are bounded."""

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from connectors.records import Batch, Reject
from detector.calibration.alarm_budget import rows_per_event
from detector.engine.engine import Engine, EngineOptions
from detector.engine.loop import Turn
from detector.metrics.recorder import Metrics
from detector.notify.stats import NotifierStats
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources
from tests.support.strategies import NAMES, readings_of


def scrape(metrics: Metrics) -> dict[tuple[str, tuple], float]:
    text, content_type = metrics.exposition("text/plain")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def turn_of(engine: Engine, num_rows: int, start: int = 0, **more: object) -> Turn:
    """Return a turn in which every series sends `num_rows` rows."""
    rng = np.random.default_rng(start)
    series = np.repeat(np.arange(3), num_rows)
    times = np.tile((start + np.arange(num_rows)) * 10**9, 3)
    batch = Batch(readings_of(series, times, rng.standard_normal((3 * num_rows, 2))), **more)
    return Turn(batch, engine.step(batch.readings), 0.2, 0.01, 0.001, 0.05)


def metrics_of(engine: Engine, max_series: int = 10, *bounds: object) -> Metrics:
    return Metrics(engine, max_series, "1.2.3", FixedSources(lag={0: 7}, rebalances=2, ready=True), *bounds)


OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def samples_of(found: dict, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of one metric by the values of its labels, in the order of label names."""
    return {tuple(value for _, value in labels): v for (one, labels), v in found.items() if one == name}


def test_at_the_start_totals_are_zero_and_scores_absent() -> None:
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


def test_every_channel_of_the_newest_row_is_drawn_with_its_band() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    turn = turn_of(engine, 12)
    metrics.observe(turn)
    found, verdicts = scrape(metrics), turn.result.verdicts
    band = engine.artifact.spec.column("band")
    for at, name in enumerate(verdicts.names):
        last = np.flatnonzero(verdicts.series == at)[-1]
        for channel, label in enumerate(engine.artifact.spec.channel_names):
            labels = (("channel", label), ("series", name))
            expected = verdicts.expected[last, channel]
            assert found["streamgauge_actual_value", labels] == verdicts.actual[last, channel]
            assert found["streamgauge_expected_value", labels] == expected
            assert found["streamgauge_expected_lower", labels] == expected - band[channel]
            assert found["streamgauge_expected_upper", labels] == expected + band[channel]
            assert found["streamgauge_contribution_ratio", labels] == verdicts.contribution[last, channel]
        assert found["streamgauge_series_threshold", (("series", name),)] == verdicts.threshold[last]


def test_channels_have_a_bound_of_their_own_and_the_rest_is_counted() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine, 3, 1)
    metrics.observe(turn_of(engine, 12))
    found = scrape(metrics)
    worst = engine.latest.names[int(np.argmax(engine.latest.score))]
    assert set(samples_of(found, "streamgauge_actual_value")) == {("flow", worst), ("pressure", worst)}
    assert found["streamgauge_channel_series_left_out", ()] == 2
    assert found["streamgauge_series_left_out", ()] == 0


@pytest.mark.parametrize("name", NAMES)
def test_series_that_are_named_come_before_the_worst(name: str) -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine, 1, 1, (f"*{name[2:]}", "no-such-*"))
    metrics.observe(turn_of(engine, 12))
    found = scrape(metrics)
    assert set(samples_of(found, "streamgauge_score")) == {(name,)}
    assert {labels[1] for labels in samples_of(found, "streamgauge_expected_value")} == {name}


def test_no_series_is_exported_where_none_may_be() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine, 0, 0)
    metrics.observe(turn_of(engine, 12))
    found = scrape(metrics)
    assert samples_of(found, "streamgauge_score") == samples_of(found, "streamgauge_actual_value") == {}
    assert found["streamgauge_series_left_out", ()] == 3


def test_the_peak_of_each_series_is_since_the_last_scrape() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    turns = [turn_of(engine, 12), turn_of(engine, 12, start=12)]
    for turn in turns:
        metrics.observe(turn)
    peaks = samples_of(scrape(metrics), "streamgauge_score_max")
    for at, name in enumerate(NAMES):
        scores = [turn.result.verdicts.score[turn.result.verdicts.series == at] for turn in turns]
        assert peaks[name,] == np.nanmax(np.concatenate(scores))
    assert samples_of(scrape(metrics), "streamgauge_score_max") == {}


def test_each_open_incident_has_a_gauge_that_names_its_channel_and_the_rest_is_counted() -> None:
    engine = Engine(make_artifact(threshold=1e-9))
    everything, bounded = metrics_of(engine), metrics_of(engine, 1)
    assert samples_of(scrape(everything), "streamgauge_incident_firing") == {}
    turn = turn_of(engine, 12)
    for metrics in (everything, bounded):
        metrics.observe(turn)
    found = scrape(everything)
    assert samples_of(found, "streamgauge_incident_firing") == {
        (one.channels[0].name, one.reason, one.series, one.severity): 1 for one in engine.open_incidents
    }
    assert found["streamgauge_incidents_left_out", ()] == 0
    worst = max(engine.open_incidents, key=lambda one: one.peak_score)
    ((_, _, series, _),) = samples_of(scrape(bounded), "streamgauge_incident_firing")
    assert series == worst.series
    assert scrape(bounded)["streamgauge_incidents_left_out", ()] == 2


def test_alarms_are_counted_beside_what_the_budget_allows() -> None:
    engine = Engine(make_artifact(threshold=1e-9))
    metrics = metrics_of(engine)
    assert scrape(metrics)["streamgauge_budgeted_alarms_total", ()] == 0
    turn = turn_of(engine, 12)
    metrics.observe(turn)
    found = scrape(metrics)
    known = np.count_nonzero(~np.isnan(turn.result.verdicts.score))
    allowed = known / rows_per_event("1/week", engine.artifact.spec.interval_ns)
    assert found["streamgauge_budgeted_alarms_total", ()] == pytest.approx(allowed)
    assert found["streamgauge_alarms_total", ()] == 3


def test_the_distribution_of_scores_is_that_of_all_final_verdicts() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    turn = turn_of(engine, 40)
    metrics.observe(turn)
    found = scrape(metrics)
    scores = turn.result.verdicts.score[~np.isnan(turn.result.verdicts.score)]
    for (bound,), num in samples_of(found, "streamgauge_score_distribution_bucket").items():
        assert num == np.count_nonzero(scores <= float(bound))
    assert found["streamgauge_score_distribution_count", ()] == len(scores)
    assert found["streamgauge_score_distribution_sum", ()] == pytest.approx(scores.sum())


@pytest.mark.parametrize("name", ["pump", 'a"b\\\n', "x" * 500, "\N{SNOWMAN}" * 200])
def test_exemplars_link_a_score_and_a_change_to_the_incident(name: str) -> None:
    engine = Engine(make_artifact(threshold=1e-9))
    metrics = metrics_of(engine)
    batch = turn_of(Engine(make_artifact()), 12).batch
    readings = dataclasses.replace(batch.readings, names=(name, "other", "third"))
    result = engine.step(readings)
    metrics.observe(Turn(Batch(readings), result, 0.0, 0.0, 0.0, 0.0))
    text, content_type = metrics.exposition(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(text.decode())}
    ids = {incident.id: incident.series for incident in engine.open_incidents}
    for metric in ("streamgauge_score_distribution", "streamgauge_incident_events", "streamgauge_alarms"):
        found = [sample.exemplar for sample in families[metric].samples if sample.exemplar]
        assert found, metric
        for exemplar in found:
            assert ids[exemplar.labels["incident_id"]].startswith(exemplar.labels["series"])


def test_both_formats_have_the_same_samples() -> None:
    engine = Engine(make_artifact(threshold=1e-9))
    metrics = metrics_of(engine)
    metrics.observe(turn_of(engine, 12))
    text = scrape(metrics)
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_openmetrics(metrics.exposition(OPENMETRICS)[0].decode())
        for sample in family.samples
    }
    ours = {key for key in text if key[0].startswith("streamgauge_") and "max" not in key[0]}
    assert {key: found[key] for key in ours} == {key: text[key] for key in ours}


def test_warming_up_is_a_share_of_the_known_series() -> None:
    engine = Engine(make_artifact(window=8))
    metrics = metrics_of(engine)
    assert samples_of(scrape(metrics), "streamgauge_warmup_ratio") == {}
    metrics.observe(turn_of(engine, 4))
    assert scrape(metrics)["streamgauge_warmup_ratio", ()] == 0
    metrics.observe(turn_of(engine, 8, start=4))
    assert scrape(metrics)["streamgauge_warmup_ratio", ()] == 1


def test_silent_series_are_counted_and_their_values_absent() -> None:
    engine = Engine(make_artifact(), EngineOptions(stale_after_ns=10))
    metrics = metrics_of(engine)
    batch = dataclasses.replace(turn_of(Engine(make_artifact()), 12).batch, tick_ns=0)
    metrics.observe(Turn(batch, engine.step(batch.readings, 0), 0.0, 0.0, 0.0, 0.0))
    assert scrape(metrics)["streamgauge_series_silent", ()] == 0
    empty = Batch(turn_of(Engine(make_artifact()), 0).batch.readings)
    metrics.observe(Turn(empty, engine.tick(11), 0.0, 0.0, 0.0, 0.0))
    found = scrape(metrics)
    assert found["streamgauge_series_silent", ()] == 3
    assert samples_of(found, "streamgauge_score") == samples_of(found, "streamgauge_actual_value") == {}


def test_series_of_lost_partitions_are_gone_and_their_peaks_with_them() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    metrics.observe(turn_of(engine, 12))
    lost = Batch(turn_of(Engine(make_artifact()), 0).batch.readings, lost=frozenset({0, 1, 2}))
    engine.drop(lost.lost)
    metrics.observe(Turn(lost, engine.step(lost.readings), 0.0, 0.0, 0.0, 0.0))
    found = scrape(metrics)
    assert samples_of(found, "streamgauge_score") == samples_of(found, "streamgauge_score_max") == {}
    assert not [key for key in found if key[0] == "streamgauge_max_score"]


def test_decoding_is_a_step_of_its_own_and_no_part_of_polling() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    turn = turn_of(engine, 12)
    batch = dataclasses.replace(turn.batch, decode_seconds=0.125)
    metrics.observe(dataclasses.replace(turn, batch=batch, poll_seconds=0.5))
    spent = samples_of(scrape(metrics), "streamgauge_turn_seconds_sum")
    assert spent["decode",] == 0.125
    assert spent["poll",] == 0.375


def test_transactions_are_counted_by_outcome_from_zero() -> None:
    metrics = metrics_of(Engine(make_artifact()))
    before = samples_of(scrape(metrics), "streamgauge_transactions_total")
    assert before == {("committed",): 0, ("aborted",): 0, ("fenced",): 0}
    metrics.transaction("fenced", 0.02)
    found = scrape(metrics)
    assert samples_of(found, "streamgauge_transactions_total") == {**before, ("fenced",): 1}
    assert found["streamgauge_transaction_seconds_sum", ()] == 0.02


def test_drift_is_absent_until_enough_rows_and_then_shows_a_change() -> None:
    artifact = make_artifact()
    rng = np.random.default_rng(1)
    calm = Engine(artifact)
    batch = turn_of(calm, 3000).batch
    verdicts = Engine(artifact).step(batch.readings).verdicts
    artifact = dataclasses.replace(artifact, held_out={"error": verdicts.score * verdicts.threshold})
    same, other = Engine(artifact), Engine(artifact)
    found = []
    for engine, factor in ((same, 1.0), (other, 1.5)):
        metrics = metrics_of(engine)
        assert samples_of(scrape(metrics), "streamgauge_error_psi") == {}
        values = factor * rng.standard_normal(batch.readings.values.shape)
        readings = dataclasses.replace(batch.readings, values=values)
        metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
        found.append(scrape(metrics)["streamgauge_error_psi", ()])
    assert found[0] < 0.1
    assert found[1] > 0.25


def test_what_others_know_is_asked_for_at_each_scrape() -> None:
    sources = FixedSources(
        lag={1: 5, 0: 0},
        lag_seconds={1: 2.5, 0: 0.0},
        replaying=2,
        replayed=40,
        notifiers=(NotifierStats("pager", 3, 2, 1, 4, 1e9), NotifierStats('"chat"')),
        reloads={"refused": 1},
        config_reloads={"loaded": 2},
    )
    found = scrape(Metrics(Engine(make_artifact()), 10, "1", sources))
    assert samples_of(found, "streamgauge_consumer_lag_seconds") == {("0",): 0, ("1",): 2.5}
    assert found["streamgauge_replaying", ()] == 2
    assert found["streamgauge_replayed_readings_total", ()] == 40
    assert samples_of(found, "streamgauge_reloads_total") == {("loaded",): 0, ("refused",): 1}
    assert samples_of(found, "streamgauge_config_reloads_total") == {("loaded",): 2, ("refused",): 0}
    assert found["streamgauge_notifications_total", (("notifier", "pager"), ("outcome", "failed"))] == 2
    assert samples_of(found, "streamgauge_notifier_backlog") == {("pager",): 4, ('"chat"',): 0}
    last = samples_of(found, "streamgauge_notifier_last_success_timestamp_seconds")
    assert last == {("pager",): 1e9}


def test_the_time_of_the_last_turn_is_absent_before_the_first() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    assert samples_of(scrape(metrics), "streamgauge_last_turn_timestamp_seconds") == {}
    metrics.observe(turn_of(engine, 1))
    (at,) = samples_of(scrape(metrics), "streamgauge_last_turn_timestamp_seconds").values()
    assert at >= scrape(metrics)["streamgauge_model_loaded_timestamp_seconds", ()]


def test_the_age_of_the_model_is_absent_where_unknown() -> None:
    artifact = make_artifact()
    assert not samples_of(scrape(metrics_of(Engine(artifact))), "streamgauge_model_trained_timestamp_seconds")
    written = Engine(dataclasses.replace(artifact, written_at=1.7e9))
    assert scrape(metrics_of(written))["streamgauge_model_trained_timestamp_seconds", ()] == 1.7e9


def test_after_a_reload_the_metrics_are_those_of_the_new_engine() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    metrics.observe(turn_of(engine, 12))
    new = Engine(dataclasses.replace(make_artifact(("level",)), version="two"))
    metrics.follow(new)
    found = scrape(metrics)
    assert (
        dict(next(labels for name, labels in found if name == "streamgauge_model_info"))["version"] == "two"
    )
    assert samples_of(found, "streamgauge_score") == samples_of(found, "streamgauge_score_max") == {}


def test_scrapes_from_many_threads_disturb_neither_each_other_nor_the_loop() -> None:
    engine = Engine(make_artifact())
    metrics = metrics_of(engine)
    with ThreadPoolExecutor(4) as pool:
        scrapes = [pool.submit(scrape, metrics) for _ in range(40)]
        for at in range(20):
            metrics.observe(turn_of(engine, 3, start=3 * at))
        counts = [done.result()["streamgauge_readings_total", ()] for done in scrapes]
    assert all(count % 9 == 0 for count in counts)
    assert scrape(metrics)["streamgauge_readings_total", ()] == 180


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is missing"
)
def test_promtool_finds_nothing_to_lint() -> None:
    engine = Engine(make_artifact(threshold=1e-9))
    sources = FixedSources(lag={0: 1}, notifiers=(NotifierStats("pager", last_success=1.0),))
    metrics = Metrics(engine, 10, "1", sources)
    metrics.observe(turn_of(engine, 12))
    outcome = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics.exposition("text/plain")[0],
        capture_output=True,
        check=False,
    )
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, b"", b"")


def test_after_a_replay_the_newest_rows_are_shown_before_anything_new_comes() -> None:
    """The batch that ends a replay has no live readings, and the replay is over when it is observed."""
    engine = Engine(make_artifact())
    sources = FixedSources(replayed=0)
    metrics = Metrics(engine, 10, "1.2.3", sources)
    before = turn_of(engine, 4)
    metrics.observe(before)
    engine.step_in_silence(turn_of(Engine(make_artifact()), 40, 4).batch.readings)
    sources.replayed = lambda: 120  # type: ignore[method-assign]
    nothing = Batch(readings_of(np.empty(0, int), np.empty(0, int), np.empty((0, 2))))
    metrics.observe(Turn(nothing, engine.step(nothing.readings), 0.0, 0.0, 0.0, 0.0))
    assert metrics.snapshot.latest.timestamp_ns.tolist() == [42 * 10**9] * 3
