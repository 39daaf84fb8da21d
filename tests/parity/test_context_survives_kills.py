"""Modes, season and drift through Kafka under kill -9: as in a replay, nothing lost, nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.calibration.p_values import PValues
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine
from tests.faults.expected import read_committed
from tests.parity.context_stream import (
    CHANNELS,
    LEAKING_RUN,
    PUMPS,
    SLOW_RUN,
    WRONG,
    live,
    model,
)
from tests.support.daemon import running, wait_for
from tests.test_daemon_kafka import configuration

pytestmark = pytest.mark.kafka_changes
HURRIED = 2
"""So many rows are sent right before a kill, so that it may come in the middle of a transaction."""


def columns_of(messages: Iterable[Message]) -> dict[tuple[str, int], list[object]]:
    """Every verdict as published, by series and time; each must come once."""
    found: dict[tuple[str, int], list[object]] = {}
    for message in messages:
        body = json.loads(message.value)
        detail = body["channels"]
        for at, time_ms in enumerate(body["timestamp"]):
            assert (body["series"], time_ms) not in found, "a verdict came twice"
            row = [body[name][at] for name in ("state", "score", "cumulative", "evidence", "mode")]
            row += [values[at] for name in CHANNELS for values in detail[name].values()]
            found[body["series"], time_ms] = row
    return found


def alerts_of(messages: Iterable[Message]) -> list[str]:
    return sorted(json.dumps(json.loads(one.value), sort_keys=True) for one in messages)


def replayed(artifact: Artifact) -> tuple[dict[tuple[str, int], list[object]], list[str]]:
    """Verdicts and alerts of one replay, with whole rows left open as a stream leaves them."""
    spec, (readings, _) = artifact.spec, live()
    assert spec.modes is not None
    encoder = MessageEncoder(
        *(Topics.of("x"), spec.name, artifact.version, spec.channel_names, "all", "full"),
        *(PValues.of(artifact), spec.modes.names),
    )
    result = Engine(artifact).step(readings)
    return columns_of(encoder.verdicts(result.verdicts)), alerts_of(encoder.incidents(result.incidents))


def test_kills_in_a_mode_change_a_wrong_hour_and_a_mode_that_is_not_judged(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic, artifact = kafka_topic(2), publish(model(), tmp_path / "models" / "pumps")
    text = configuration(tmp_path / "models" / "pumps", kafka_bootstrap, topic)
    text = text.replace("[output]", '[output]\ndetail = "full"')
    readings, runs = live()
    messages = encode(readings, CHANNELS, topic)
    producer, sent = Producer(Connection((kafka_bootstrap,))), 0

    def send_to(row: int) -> None:
        """Send the rows of all pumps before this one."""
        nonlocal sent
        producer.produce(messages[sent : row * len(PUMPS)])
        sent = row * len(PUMPS)

    def scores() -> dict[tuple[str, int], list[object]]:
        return columns_of(read_committed(kafka_bootstrap, f"out-{topic}.scores"))

    def alerts() -> list[dict]:
        return [json.loads(one.value) for one in read_committed(kafka_bootstrap, f"out-{topic}.alerts")]

    def is_open(event: str, series: str, reason: str) -> bool:
        told = [one for one in alerts() if (one["series"], one["reason"]) == (series, reason)]
        return bool(told) and told[-1]["event"] == event

    def state(series: int, row: int) -> object:
        time_ms = int(readings.timestamp_ns[row * len(PUMPS)]) // 1_000_000
        return scores().get((PUMPS[series], time_ms), [None])[0]

    start, stop = runs[1][SLOW_RUN][0], runs[1][LEAKING_RUN][2]
    kills: list[tuple[int, Callable[[], bool]]] = [
        (WRONG[0] + 15, lambda: is_open("opened", PUMPS[0], "season")),
        (start + 4, lambda: state(1, start + 2) == "transition"),
        (start + 13, lambda: is_open("opened", PUMPS[1], "mode")),
        (stop + 26, lambda: any(one["event"] == "unjudged" for one in alerts())),
    ]
    for row, is_there in kills:
        with running(text, tmp_path) as daemon:
            wait_for(
                lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}"
            )  # called at once
            send_to(row)
            wait_for(is_there, f"what comes before row {row}; see {daemon.log}")
            send_to(row + HURRIED)
            daemon.process.kill()
    expected, wanted = replayed(artifact)
    with running(text, tmp_path) as daemon:
        send_to(len(readings) // len(PUMPS))
        wait_for(lambda: len(scores()) >= len(expected), f"the last row; see {daemon.log}")
        assert daemon.terminate() == 0
    producer.close()
    found = scores()
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] != expected[key]] == []
    assert alerts_of(read_committed(kafka_bootstrap, f"out-{topic}.alerts")) == wanted
    events = {(one["event"], one["reason"]) for one in map(json.loads, wanted)}
    assert events >= {("opened", reason) for reason in ("season", "mode", "drift", "score")}
    assert {"unjudged", "judged"} <= {event for event, _ in events}
