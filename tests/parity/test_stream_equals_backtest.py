"""The same readings through Kafka and the daemon, and through a replay: the same verdicts and incidents."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from connectors.parquet.writer import TableWriter
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.delivery.messages import incident_json
from detector.engine.engine import Engine, StepResult
from tests.support.daemon import read_all, running, wait_for
from tests.support.data import need
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day
from trainer.pipeline import fit_source, source_of

LAST_ROWS = 9_000
"""So many rows of a real series are compared: an engine that differs does so within a few windows."""
HOUR_NS = 3_600_000_000_000


def replay(artifact: Artifact, data: Path) -> list[StepResult]:
    """All batches through the engine, without closing the rows that are still open at the end."""
    source, engine, results = ParquetSource(discover(data)), Engine(artifact), []
    while (batch := source.poll(0)) is not None:
        results.append(engine.step(batch.readings))
    return results


def alarming(artifact: Artifact, data: Path) -> Artifact:
    """The artifact with a threshold that some rows exceed, so that incidents come and go."""
    score = np.concatenate([result.verdicts.score for result in replay(artifact, data)])
    error = float(np.nanquantile(score, 0.95)) ** (1 / artifact.spec.threshold.sharpness)
    value = artifact.spec.threshold.value * error
    threshold = dataclasses.replace(artifact.spec.threshold, value=value)
    return dataclasses.replace(artifact, spec=dataclasses.replace(artifact.spec, threshold=threshold))


def scores_of(results: list[StepResult]) -> dict[tuple[str, int], tuple[str, float]]:
    """(series, timestamp in ms) -> state and score."""
    from detector.scoring.verdicts import State

    found = {}
    for verdicts in (result.verdicts for result in results):
        for at in range(len(verdicts)):
            key = (verdicts.names[verdicts.series[at]], int(verdicts.timestamp_ns[at]) // 1_000_000)
            found[key] = (State(int(verdicts.state[at])).label, float(verdicts.score[at]))
    return found


def produce(bootstrap: str, topic: str, data: Path, channels: tuple[str, ...]) -> int:
    """The file's readings as wide JSON; how many."""
    source, producer, num = ParquetSource(discover(data)), Producer(Connection((bootstrap,))), 0
    while (batch := source.poll(0)) is not None:
        producer.produce(encode(batch.readings, channels, topic))
        num += len(batch.readings)
    producer.close()
    return num


def stream(
    bootstrap: str, topic: str, entry: Path, expected: int, directory: Path
) -> tuple[dict, list[dict]]:
    """Scores and alerts that the daemon wrote of the topic."""
    prefix = f"out-{topic}"
    config = f"""
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
[input]
max_future = "36500d"
[output]
prefix = "{prefix}"
[service]
max_poll_records = 1777
"""
    with running(config, directory) as daemon:
        wait_for(lambda: daemon.readings() >= expected, f"{expected} readings scored; see {daemon.log}")
        assert daemon.terminate() == 0

    found: dict[tuple[str, int], tuple[str, float]] = {}
    for message in read_all(bootstrap, f"{prefix}.scores"):
        body = json.loads(message.value)
        columns = zip(body["timestamp"], body["state"], body["score"], strict=True)
        for time_ms, state, score in columns:
            assert (body["series"], time_ms) not in found, "a verdict came twice"
            found[body["series"], time_ms] = (state, float("nan") if score is None else score)
    alerts = [json.loads(message.value) for message in read_all(bootstrap, f"{prefix}.alerts")]
    return found, alerts


def check_parity(bootstrap: str, topic: str, artifact: Artifact, data: Path, directory: Path) -> None:
    artifact = publish(alarming(artifact, data), directory / "models" / "parity")
    results = replay(artifact, data)
    expected, events = scores_of(results), [event for result in results for event in result.incidents]
    num = produce(bootstrap, topic, data, artifact.spec.channel_names)
    found, alerts = stream(bootstrap, topic, directory / "models" / "parity", num, directory)
    assert found.keys() == expected.keys()
    for key, (state, score) in expected.items():
        assert found[key][0] == state, key
        np.testing.assert_allclose(found[key][1], score, rtol=1e-5, err_msg=str(key))
    assert len(events) > 2, "the data must raise incidents to compare"
    by_id = lambda alert: (alert["id"], alert["event"])  # noqa: E731  # a sort key
    wanted = [{"event": event.kind, "id": event.incident.id} for event in events]
    assert sorted(map(by_id, alerts)) == sorted(map(by_id, wanted))
    resolved = {e.incident.id: incident_json(e.incident) for e in events if e.kind == "resolved"}
    for alert in alerts:
        if alert["event"] == "resolved":
            same = resolved[alert["id"]]
            assert (alert["start"], alert["end"], alert["series"]) == (
                same["start"],
                same["end"],
                same["series"],
            )
            assert alert["peak_score"] == pytest.approx(same["peak_score"], rel=1e-5)


def quick(data: Path, family: str) -> Artifact:
    config = TrainConfig(
        name="parity",
        model=ModelOptions(family=family, window=32),
        fit=FitOptions(max_epochs=1, windows_per_epoch=1_000, refit=False),
    )
    return fit_source(source_of(data), config)


@pytest.mark.parametrize("family", ["conv", "lstm"])
def test_generated_plant(
    family: str, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    start_ns = 1_760_000_400_000_000_000
    plant = Plant(num_pumps=5, interval_seconds=60)
    plant = dataclasses.replace(plant, faults=faults_of_a_day(plant, start_ns))
    readings: Readings = plant.readings(start_ns, start_ns + 20 * HOUR_NS)
    columns = {name: readings.values[:, at] for at, name in enumerate(CHANNELS)}
    series = np.array(readings.names, dtype=object)[readings.series]
    with TableWriter(tmp_path / "data.parquet", {"interval_s": "60"}) as writer:
        writer.write({"timestamp": readings.timestamp_ns, "series": series, **columns})
    artifact = quick(tmp_path / "data.parquet", family)
    check_parity(kafka_bootstrap, kafka_topic(4), artifact, tmp_path / "data.parquet", tmp_path)


@pytest.mark.parametrize(
    "name",
    ["nab/realKnownCause__machine_temperature_system_failure.parquet", "smd/machine-1-6.parquet"],
)
def test_real_series(
    name: str, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    table = pq.read_table(need(name))
    path = tmp_path / "data.parquet"
    pq.write_table(table.slice(len(table) - LAST_ROWS), path)
    check_parity(kafka_bootstrap, kafka_topic(4), quick(path, "linear"), path, tmp_path)
