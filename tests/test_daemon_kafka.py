"""`streamgauge run` as a process, against a real Apache Kafka."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.support.strategies import readings_of

CHANNELS = ("flow", "pressure")
BAD = {
    "not_json": b"{oops",
    "missing_field": b'{"series": "pump-1", "values": {"flow": 1}}',
    "wrong_type": b'{"series": "pump-1", "timestamp": 1700000000000, "values": {"flow": "high"}}',
    "bad_timestamp": b'{"series": "pump-1", "timestamp": 17, "values": {"flow": 1}}',
    "not_finite": b'{"series": "pump-1", "timestamp": 1700000000000, "values": {"flow": 1e999}}',
    "no_known_channel": b'{"series": "pump-1", "timestamp": 1700000000000, "values": {"mood": 1}}',
}
ODD = b'{"series": "pump-1", "timestamp": 1700000100000, "values": {"flow": 1, "mood": 2}}'


def configuration(entry: Path, bootstrap: str, topic: str, **kafka: str) -> str:
    """A daemon's configuration. Its group misses a killed member after 6 s, which the next one waits for."""
    more = "\n".join(f"{key} = {value}" for key, value in {"session_timeout": '"6s"', **kafka}.items())
    return f"""
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
{more}
[output]
prefix = "out-{topic}"
"""


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def send(bootstrap: str, messages: list[Message]) -> None:
    producer = Producer(Connection((bootstrap,)))
    producer.produce(messages)
    producer.close()


def rows(topic: str, first: int, num_rows: int) -> list[Message]:
    """Readings of three series, one a second."""
    series = np.tile(np.arange(3), num_rows)
    times = 1_700_000_000_000_000_000 + (first + np.repeat(np.arange(num_rows), 3)) * 10**9
    values = np.random.default_rng(first).standard_normal((3 * num_rows, 2))
    return encode(readings_of(series, times, values), CHANNELS, topic)


def samples(daemon: Daemon) -> dict[tuple[str, tuple], float]:
    code, text = daemon.get("/metrics")
    assert code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def seconds_behind(daemon: Daemon) -> set[float]:
    """Of all partitions."""
    return {
        value for (name, _), value in samples(daemon).items() if name == "streamgauge_consumer_lag_seconds"
    }


def scored(bootstrap: str, topic: str) -> Counter:
    """(series, timestamp) -> how often the scores topic has it."""
    found: Counter = Counter()
    for message in read_all(bootstrap, f"out-{topic}.scores"):
        body = json.loads(message.value)
        found.update((body["series"], time) for time in body["timestamp"])
    return found


def test_readings_become_scores_alerts_dead_letters_and_metrics(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    bad = [Message(topic, b"pump-1", value) for value in BAD.values()]
    good = rows(topic, 0, 40)
    send(kafka_bootstrap, [*good[:60], *bad, *good[60:], Message(topic, b"pump-1", ODD)])
    with running(configuration(entry, kafka_bootstrap, topic), tmp_path, prefix=()) as daemon:
        wait_for(lambda: daemon.readings() == 121, f"121 readings; see {daemon.log}")
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        assert daemon.get("/healthz") == (200, "alive\n")
        assert "pump-2" in daemon.get("/api/status")[1]
        assert "<h1>" in daemon.get("/")[1]
        wait_for(lambda: seconds_behind(daemon) == {0}, "the end of the topic")
        found = samples(daemon)
        assert daemon.terminate() == 0
        events = [entry["event"] for entry in daemon.events()]
    assert found["streamgauge_readings_total", ()] == 121
    for reason in BAD:
        assert found["streamgauge_rejected_messages_total", (("reason", reason),)] == 1, reason
    assert found["streamgauge_unknown_channel_values_total", ()] == 1
    assert ("streamgauge_score", (("series", "pump-2"),)) in found
    assert ("streamgauge_expected_value", (("channel", CHANNELS[0]), ("series", "pump-2"))) in found
    assert found["streamgauge_transactions_total", (("outcome", "committed"),)] >= 1
    assert found["streamgauge_transaction_seconds_count", ()] >= 1
    assert found["streamgauge_turn_seconds_sum", (("step", "decode"),)] > 0
    assert found["streamgauge_replaying", ()] == 0
    assert found["streamgauge_model_trained_timestamp_seconds", ()] > 1e9
    assert "started" in events
    assert events[-1] == "stopped"

    letters = read_all(kafka_bootstrap, f"out-{topic}.dead-letters")
    assert {dict(m.headers)["reason"].decode(): m.value for m in letters} == BAD
    assert {dict(m.headers)["topic"].decode() for m in letters} == {topic}
    times = scored(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    assert sum(series == "pump-3" for series, _ in times) == 39  # the newest row is still open
    alerts = [json.loads(m.value) for m in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
    assert {alert["event"] for alert in alerts} >= {"opened"}
    assert all(alert["model"] == "pump" and alert["channels"] for alert in alerts)


def test_a_restart_goes_on_where_it_was_committed(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    config = configuration(entry, kafka_bootstrap, topic)
    for first in (0, 30):
        send(kafka_bootstrap, rows(topic, first, 30))
        with running(config, tmp_path) as daemon:
            wait_for(lambda: daemon.readings() == 90, f"90 readings; see {daemon.log}")
            assert daemon.terminate() == 0
    assert set(scored(kafka_bootstrap, topic).values()) == {1}


def test_two_members_share_the_partitions_and_one_takes_over(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(4)
    config = configuration(entry, kafka_bootstrap, topic)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with running(config, tmp_path / "one") as one, running(config, tmp_path / "two") as two:
        wait_for(lambda: one.get("/readyz")[0] == two.get("/readyz")[0] == 200, "both members")
        send(kafka_bootstrap, rows(topic, 0, 20))
        wait_for(lambda: one.readings() + two.readings() == 60, f"60 readings; see {one.log}")
        assert one.terminate() == 0
        before = two.readings()
        send(kafka_bootstrap, rows(topic, 20, 20))
        wait_for(lambda: two.readings() == before + 60, f"the other's partitions; see {two.log}")
        assert two.terminate() == 0


def test_silence_by_the_services_clock_opens_an_incident_and_the_next_reading_resolves_it(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    """Also over a restart: who comes next knows that the series was silent, and tells it once."""
    topic = kafka_topic()
    one = [message for message in rows(topic, 0, 20) if json.loads(message.value)["series"] == "pump-1"]
    others = [message for message in rows(topic, 0, 20) if message not in one]
    config = configuration(entry, kafka_bootstrap, topic) + '[watchdog]\nseries_after = "3s"\n'

    def told() -> list[tuple[str, str]]:
        """Events of silence, in order."""
        bodies = [json.loads(message.value) for message in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
        return [(body["event"], body["series"]) for body in bodies if body["reason"] == "silent"]

    send(kafka_bootstrap, [*one, *others])
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        wait_for(lambda: len(told()) == 3, f"three silent series; see {daemon.log}")
        daemon.process.kill()
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        send(kafka_bootstrap, [m for m in rows(topic, 20, 1) if json.loads(m.value)["series"] == "pump-1"])
        wait_for(lambda: ("resolved", "pump-1") in told(), f"its return; see {daemon.log}")
        assert daemon.terminate() == 0
    names = [f"pump-{number}" for number in (1, 2, 3)]
    assert sorted(told()[:3]) == [("opened", name) for name in names]
    assert told()[3] == ("resolved", "pump-1")


@pytest.mark.kafka_changes
def test_a_series_that_vanishes_leaves_nothing_behind_though_the_process_is_killed(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    config = configuration(entry, kafka_bootstrap, topic)
    config += '[watchdog]\nseries_after = "1s"\n[service]\nforget_after = "6s"\n'
    one = [m for m in rows(topic, 0, 20) if json.loads(m.value)["series"] == "pump-1"]
    others = [m for m in rows(topic, 0, 20) if json.loads(m.value)["series"] != "pump-1"]
    later = iter(range(20, 10_000))

    def others_go_on() -> None:
        send(
            kafka_bootstrap,
            [m for m in rows(topic, next(later), 1) if json.loads(m.value)["series"] != "pump-1"],
        )

    def of_vanished() -> list[tuple[str, str, str | None]]:
        bodies = [json.loads(message.value) for message in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
        mine = [body for body in bodies if body["series"] == "pump-1" and body["event"] != "escalated"]
        return [(body["id"], body["event"], body["ending"]) for body in mine]

    def saved() -> dict[bytes, bytes]:
        return {message.key: message.value for message in read_all(kafka_bootstrap, f"out-{topic}.state")}

    send(kafka_bootstrap, [*one, *others])
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        wait_for(of_vanished, f"silence; see {daemon.log}")
        wait_for(lambda: saved().get(b"pump-1"), "its snapshot")
        daemon.process.kill()
    with running(config, tmp_path) as daemon:
        wait_for(lambda: (others_go_on(), saved().get(b"pump-1") == b"")[1], f"a tombstone; see {daemon.log}")
        found = samples(daemon)
        page = daemon.get("/api/status")[1]
        daemon.process.kill()
    assert found["streamgauge_forgotten_series_total", ()] == 1
    assert not [labels for _, labels in found if ("series", "pump-1") in labels]
    assert "pump-2" in page
    assert "pump-1" not in page
    opened = {one for one, event, _ in of_vanished() if event == "opened"}
    assert {(one, event, "retired" if event == "resolved" else None) for one, event, _ in of_vanished()} == {
        (one, event, ending)
        for one in opened
        for event, ending in (("opened", None), ("resolved", "retired"))
    } | {entry for entry in of_vanished() if entry[2] == "over"}
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        assert "pump-1" not in daemon.get("/api/status")[1]
        send(kafka_bootstrap, [m for m in rows(topic, 500, 3) if json.loads(m.value)["series"] == "pump-1"])
        wait_for(lambda: "pump-1" in daemon.get("/api/status")[1], "its return as a new series")
        status = json.loads(daemon.get("/api/status")[1])
        assert daemon.terminate() == 0
    assert "warming" in str(status)


def test_an_unreachable_broker_is_waited_for_and_then_an_error(entry: Path, tmp_path: Path) -> None:
    config = configuration(entry, "127.0.0.1:9", "readings", startup_timeout='"1s"')
    with running(config, tmp_path) as daemon:
        assert daemon.process.wait(60) == 1
        last = daemon.log.read_text().splitlines()[-1]
    assert last.startswith("streamgauge: error: ")
    assert "127.0.0.1:9" in last
    assert "Traceback" not in daemon.log.read_text()


def test_a_missing_model_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with running(configuration(tmp_path / "nothing", "127.0.0.1:9", "readings"), tmp_path) as daemon:
        assert daemon.process.wait(60) == 2
    assert "not an artifact" in daemon.log.read_text().splitlines()[-1]
