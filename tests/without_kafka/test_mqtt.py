"""`streamgauge run` as a process on a real Mosquitto: persistent sessions, kills, outputs, logins."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors.errors import MqttError
from connectors.local.source import LocalSource, SourceOptions
from connectors.local.store import LocalStore
from connectors.wide_json.decoder import JsonWideCodec
from detector.artifact.registry import publish as publish_artifact
from detector.config.input.source import MqttSection
from tests.support.artifacts import make_artifact
from tests.support.certificates import Authority
from tests.support.daemon import running, wait_for
from tests.without_kafka.mosquitto import Listener, Mosquitto, mosquitto, program, publish
from tests.without_kafka.test_files_and_pipes import BAD, events, lines, num_scored, scored, undisturbed

program()  # skips all of this file where there is none
from connectors.mqtt.client import MqttClient, MqttOptions  # noqa: E402
from connectors.mqtt.feed import MqttFeed  # noqa: E402
from detector.service.local.mqtt_client import connected  # noqa: E402

BATCH = 15


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as running_broker:
        yield running_broker


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish_artifact(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def configuration(entry: Path, directory: Path, port: int, topic: str, output: str = "") -> str:
    output = output or f'to = "files"\ndirectory = "{directory}/out"'
    return f"""
[model]
path = "{entry}"
[source]
kind = "mqtt"
topics = ["{topic}/#"]
state = "{directory}/state"
[mqtt]
host = "127.0.0.1"
port = {port}
client_id = "{topic}"
[output]
prefix = "out"
{output}
[service]
max_poll_records = {BATCH}
"""


def to_topics(topic: str, found: list[bytes]) -> list[tuple[str, bytes]]:
    return [(f"{topic}/{json.loads(line)['series']}", line.strip()) for line in found]


def test_kills_lose_nothing_and_double_no_verdict(broker: Mosquitto, entry: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of anything, and a restart of the broker; messages come while nobody reads."""
    num_kills, rows = 4, 30
    parts = [lines(at * rows, rows) for at in range(num_kills + 1)]
    expected = undisturbed(entry, tmp_path / "undisturbed", b"".join(line for part in parts for line in part))
    killed = tmp_path / "killed"
    killed.mkdir()
    config = configuration(entry, killed, broker.port, "kills")
    with running(config, killed) as daemon:  # makes the session
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        assert daemon.terminate() == 0
    for number, part in enumerate(parts):
        publish(broker.port, to_topics("kills", part))
        if number == 2:
            broker.stop()
            broker.start()
        before = num_scored(killed)
        with running(config, killed) as daemon:
            if number < num_kills:
                wait_for(lambda at=before + 9 * number: num_scored(killed) > at, f"verdicts; {daemon.log}")
                daemon.process.kill()
            else:
                wait_for(lambda: num_scored(killed) >= 3 * rows * (num_kills + 1) - 3, "the end")
                assert daemon.terminate() == 0
    assert scored(killed) == scored(expected)
    assert events(killed) == events(expected)


def test_messages_become_results_on_topics(broker: Mosquitto, entry: Path, tmp_path: Path) -> None:
    config = configuration(entry, tmp_path, broker.port, "results", 'to = "mqtt"')
    with Listener(broker.port, "out/#") as listener, running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        publish(broker.port, [*to_topics("results", lines(0, 30)), ("results/x", BAD.strip())])
        wait_for(lambda: len(times(listener)) >= 3 * 29, "verdicts")
        wait_for(lambda: any(topic == "out/dead-letters" for topic, _ in listener.messages), "the letter")
        counter = 'streamgauge_rejected_messages_total{reason="not_json"} 1.0'
        wait_for(lambda: counter in daemon.get("/metrics")[1], "the count of the letter")
        assert daemon.terminate() == 0
    topics = {topic for topic, _ in listener.messages}
    assert {"out/scores/pump-1", "out/alerts/pump-1", "out/dead-letters"} <= topics
    (letter,) = [json.loads(payload) for topic, payload in listener.messages if topic == "out/dead-letters"]
    assert (letter["reason"], letter["message"], letter["topic"]) == ("not_json", "{oops", "results/x")


def test_kills_lose_no_result_on_topics_and_repeat_at_most_a_batch_each(
    broker: Mosquitto, entry: Path, tmp_path: Path
) -> None:
    """kill -9 while results go to topics: all arrive, and those that come twice are the same."""
    num_kills, rows = 4, 30
    parts = [lines(at * rows, rows) for at in range(num_kills + 1)]
    expected = undisturbed(entry, tmp_path / "undisturbed", b"".join(line for part in parts for line in part))
    config = configuration(entry, tmp_path, broker.port, "topics", 'to = "mqtt"')
    config = config.replace('prefix = "out"', 'prefix = "topics-out"')
    with running(config, tmp_path) as daemon:  # makes the session
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        assert daemon.terminate() == 0
    with Listener(broker.port, "topics-out/#") as listener:
        for number, part in enumerate(parts):
            publish(broker.port, to_topics("topics", part))
            before = len(told(listener))
            with running(config, tmp_path) as daemon:
                if number < num_kills:
                    wait_for(
                        lambda at=before + 9 * number: len(told(listener)) > at, f"verdicts; {daemon.log}"
                    )
                    daemon.process.kill()
                else:
                    wait_for(lambda: told(listener).keys() >= scored(expected).keys(), "the end")
                    assert daemon.terminate() == 0
        found = told(listener)
        alerts = [json.loads(payload) for topic, payload in listener.messages if "/alerts/" in topic]
    assert {row: set(scores) for row, scores in found.items()} == {
        row: {score} for row, score in scored(expected).items()
    }
    assert sum(len(scores) - 1 for scores in found.values()) <= num_kills * 2 * BATCH
    assert {(one["event"], one["id"], one["at"]) for one in alerts} == set(events(expected))


def told(listener: Listener) -> dict[tuple[str, int], list[float]]:
    """(series, timestamp) -> each score that was published of it."""
    found: dict[tuple[str, int], list[float]] = {}
    for topic, payload in list(listener.messages):
        if "/scores/" in topic:
            body = json.loads(payload)
            for time, score in zip(body["timestamp"], body["score"], strict=True):
                found.setdefault((body["series"], time), []).append(score)
    return found


def times(listener: Listener) -> set[tuple[str, int]]:
    found = [json.loads(payload) for topic, payload in listener.messages if topic.startswith("out/scores/")]
    return {(one["series"], time) for one in found for time in one["timestamp"]}


def test_the_series_may_come_from_a_level_of_the_topic(
    broker: Mosquitto, entry: Path, tmp_path: Path
) -> None:
    more = '[input]\nseries = "topic:2"\ntime = "broker"\nvalues = "$"\n'
    config = configuration(entry, tmp_path, broker.port, "levels", 'to = "mqtt"') + more
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        publish(broker.port, [("levels/hall-7/now", b'{"flow": 1.0, "pressure": 2.0}')])
        wait_for(lambda: daemon.readings() == 1, "the reading")
        assert "hall-7" in daemon.get("/api/status")[1]


def client_of(port: int, name: str, **more: object) -> MqttClient:
    return MqttClient(MqttOptions("127.0.0.1", port, name, (f"{name}/#",), **more))  # type: ignore[arg-type]


def feed_rows(source: LocalSource, num: int) -> list[float]:
    found: list[float] = []
    wait_for(lambda: found.extend(read_once(source)) or len(found) >= num, f"{num} readings")
    return found


def read_once(source: LocalSource) -> list[float]:
    batch = source.poll(0.2)
    assert batch is not None
    return batch.readings.values[:, 0].tolist()


def reading(number: int) -> bytes:
    return b'{"series":"p","timestamp":%d,"values":{"flow":%d}}' % (1_700_000_000_000 + number * 1000, number)


def test_what_is_not_committed_comes_again_and_what_is_never(broker: Mosquitto) -> None:
    stop, store = threading.Event(), LocalStore(None)
    client = client_of(broker.port, "commits")
    client.connect(60, stop)
    source = LocalSource(MqttFeed(client), store, JsonWideCodec(("flow",)), SourceOptions("mqtt", 4))
    publish(broker.port, [("commits/a", reading(number)) for number in range(10)])
    assert feed_rows(source, 10) == list(range(10))
    source.commit({("mqtt", 0): 6})
    source.start_over()
    assert feed_rows(source, 4) == [6, 7, 8, 9], "what this process has taken"
    broker.stop()
    broker.start()
    wait_for(lambda: client.is_connected, "the connection")
    publish(broker.port, [("commits/a", reading(10))])
    assert feed_rows(source, 1) == [10], "redelivered copies are not given twice"
    client.close()
    wait_for(lambda: broker.has_ended("commits") == 1, "the broker to have read all of the first connection")
    again = client_of(broker.port, "commits")
    again.connect(60, stop)
    second = LocalSource(MqttFeed(again), store, JsonWideCodec(("flow",)), SourceOptions("mqtt", 4))
    assert feed_rows(second, 5) == [6, 7, 8, 9, 10], "a new process gets all that was not acknowledged"
    second.commit({("mqtt", 0): 11})
    again.close()
    wait_for(lambda: broker.has_ended("commits") == 2, "the broker to have read all of the second connection")
    third = client_of(broker.port, "commits")
    third.connect(60, stop)
    publish(broker.port, [("commits/a", reading(11))])
    feed = MqttFeed(third)
    assert [one.payload for one in third.take(10, 30.0)] == [reading(11)]
    assert feed.is_connected
    third.close()
    store.close()


# The client leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_login_over_tls_and_what_is_refused(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    files, passwords = authority.issue("localhost", "127.0.0.1"), tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gauge", "secret-7"], check=True)
    passwords.chmod(0o600)
    settings = (
        f"allow_anonymous false\npassword_file {passwords}\ncafile {authority.file}\n"
        f"certfile {files.certificate}\nkeyfile {files.key}"
    )
    stop = threading.Event()
    with mosquitto(tmp_path / "broker", settings) as closed:
        section = MqttSection(
            host="localhost",
            port=closed.port,
            username="gauge",
            password=SecretStr("secret-7"),
            tls=True,
            ssl_cafile=str(authority.file),
            startup_timeout=60.0,
        )
        client = connected(section, ("a/#",), stop)
        assert client.is_connected
        client.close()
        wrong = section.model_copy(update={"password": SecretStr("wrong")})
        with pytest.raises(MqttError, match=r"Not authorized.*\[mqtt\] username"):
            connected(wrong, ("a/#",), stop)
        unknown = section.model_copy(update={"ssl_cafile": str(stranger.file), "startup_timeout": 2.0})
        with pytest.raises(MqttError, match=r"certificate verify failed.*gave up after 2 s"):
            connected(unknown, ("a/#",), stop)
    with pytest.raises(MqttError, match=r"refused.*gave up after 2 s"):
        connected(section.model_copy(update={"startup_timeout": 2.0}), ("a/#",), stop)
