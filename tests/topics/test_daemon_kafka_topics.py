"""`streamgauge run` over several topics in several forms, against a real Apache Kafka."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient

from connectors.kafka.admin.growth import look_up
from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.delivery.decisions.known_incidents import known_series
from detector.delivery.messages import Topics
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.support.strategies import readings_of

CHANNELS = ("flow", "pressure")
START_NS = 1_700_000_000_000_000_000
LINES = """
[[inputs]]
topics = ["{topic}-*"]
format = "line_protocol"
rename = {{ m_flow = "flow", m_pressure = "pressure" }}
"""


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def configuration(entry: Path, bootstrap: str, kafka: str, group: str, more: str = "") -> str:
    return f"""
[model]
path = "{entry}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
group_id = "{group}"
session_timeout = "6s"
{kafka}
[output]
prefix = "out-{group}"
[recovery]
max_replay_rows = 40
{more}
"""


def send(bootstrap: str, messages: list[Message]) -> None:
    producer = Producer(Connection((bootstrap,)))
    producer.produce(messages)
    producer.close()


def drawn(first: int, num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series 0 to 2, one row a second each: series, time in nanoseconds, values."""
    series = np.tile(np.arange(3), num_rows)
    times = START_NS + (first + np.repeat(np.arange(num_rows), 3)) * 10**9
    return series, times, np.random.default_rng(first).standard_normal((3 * num_rows, 2))


def pumps(topic: str, first: int, num_rows: int) -> list[Message]:
    """Wide JSON of pump-1 to pump-3."""
    return encode(readings_of(*drawn(first, num_rows)), CHANNELS, topic)


def presses(topic: str, first: int, num_rows: int) -> list[Message]:
    """Line protocol of press-0 to press-2."""
    return [
        Message(
            topic,
            f"press-{one}".encode(),
            f"m,host=press-{one} flow={flow},pressure={pressure} {time}".encode(),
        )
        for one, time, (flow, pressure) in zip(*drawn(first, num_rows), strict=True)
    ]


def scored(bootstrap: str, group: str) -> Counter:
    """(series, time, score as JSON) -> how often the topic of scores has it."""
    return Counter(
        (body["series"], time, json.dumps(score))
        for message in read_all(bootstrap, f"out-{group}.scores")
        for body in [json.loads(message.value)]
        for time, score in zip(body["timestamp"], body["score"], strict=True)
    )


def letters(bootstrap: str, group: str) -> Counter:
    """(topic, partition, offset) -> how often it is a dead letter."""
    found = [dict(message.headers) for message in read_all(bootstrap, f"out-{group}.dead-letters")]
    return Counter((one["topic"], one["partition"], one["offset"]) for one in found)


def of_end(bootstrap: str, group: str, num: int, daemon: Daemon) -> Counter:
    """The scores, once there are so many."""
    wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
    wait_for(lambda: scored(bootstrap, group).total() >= num, f"{num} scores; see {daemon.log}")
    return scored(bootstrap, group)


def create(bootstrap: str, topic: str, num_partitions: int = 1) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": num_partitions}})
        admin.wait_for_topics([topic])


@pytest.fixture
def make_topic(kafka_bootstrap: str) -> Callable[..., str]:
    """Makes topics whose names are given."""

    def make(topic: str, num_partitions: int = 1) -> str:
        create(kafka_bootstrap, topic, num_partitions)
        return topic

    return make


@pytest.mark.kafka_changes
def test_two_topics_in_two_forms_are_scored_once_through_kills(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], make_topic, tmp_path: Path
) -> None:
    """The rows and dead letters are those of a daemon that was never killed, bit for bit."""
    topic = kafka_topic(2)
    lines = make_topic(f"{topic}-lines", 3)
    kafka = f'topics = ["{topic}", "{topic}-*"]'

    def of(group: str) -> str:
        return configuration(entry, kafka_bootstrap, kafka, group, LINES.format(topic=topic))

    for part in range(2):
        bad = [Message(topic, b"pump-1", b"{oops"), Message(lines, b"press-1", b"m,host=press-1 flow=")]
        chunk = [*pumps(topic, 30 * part, 30), *presses(lines, 30 * part, 30), *bad]
        order = np.random.default_rng(part).permutation(6)
        send(kafka_bootstrap, [chunk[at] for n in sorted(order) for at in range(n, len(chunk), 6)])
        with running(of(f"{topic}-killed"), tmp_path) as daemon:
            before = 0 if part == 0 else scored(kafka_bootstrap, f"{topic}-killed").total()
            wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
            wait_for(
                lambda b=before: scored(kafka_bootstrap, f"{topic}-killed").total() > b,
                f"scores; see {daemon.log}",
            )
            daemon.process.kill()
    num = 6 * (2 * 30 - 1)  # the newest row of each series is still open
    with running(of(f"{topic}-killed"), tmp_path) as daemon:
        found = of_end(kafka_bootstrap, f"{topic}-killed", num, daemon)
        assert daemon.terminate() == 0
    with running(of(f"{topic}-calm"), tmp_path) as daemon:
        wanted = of_end(kafka_bootstrap, f"{topic}-calm", num, daemon)
        assert daemon.terminate() == 0
    assert wanted.total() == num
    assert found == wanted
    refused = letters(kafka_bootstrap, f"{topic}-killed")
    assert refused == letters(kafka_bootstrap, f"{topic}-calm")
    assert {one[0] for one in refused} == {topic.encode(), lines.encode()}
    assert set(refused.values()) == {1}
    assert refused.total() == 4


@pytest.mark.kafka_changes
def test_topics_that_come_later_are_read_from_their_first_message(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], make_topic, tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    late, lines = f"{topic}.late", f"{topic}-7"
    kafka = f'topics = ["{topic}", "{late}", "{topic}-*"]\nauto_offset_reset = "latest"'
    config = configuration(entry, kafka_bootstrap, kafka, topic, LINES.format(topic=topic))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        send(kafka_bootstrap, pumps(topic, 0, 20))
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        missing = {one["topic"] for one in daemon.events() if "waiting until" in one["event"]}
        assert missing == {late, f"{topic}-*"}
        for one, partitions in ((late, 1), (lines, 3)):
            create(kafka_bootstrap, one, partitions)
        renamed = [message.value.replace(b"pump-", b"fan-") for message in pumps(late, 0, 20)]
        send(kafka_bootstrap, [Message(late, b"fan", value) for value in renamed])
        send(kafka_bootstrap, presses(lines, 0, 20))
        wait_for(lambda: daemon.readings() == 180, f"180 readings; see {daemon.log}")
        wanted = {
            one: {"partitions": num, "lag_messages": 0} for one, num in ((topic, 1), (late, 1), (lines, 3))
        }
        wait_for(
            lambda: json.loads(daemon.get("/api/status")[1])["topics"] == wanted,
            f"the end of all topics; see {daemon.log}",
        )
        text = daemon.get("/metrics")[1]
        assert daemon.terminate() == 0
    for partition in range(3):
        assert f'consumer_lag_messages{{partition="{partition}",topic="{lines}"}}' in text
    assert set(scored(kafka_bootstrap, topic).values()) == {1}
    keys = {message.key for message in read_all(kafka_bootstrap, f"out-{topic}.state")}
    assert f"\0{late}\0fan-1".encode() in keys
    known = known_series(Connection((kafka_bootstrap,)), Topics.of(f"out-{topic}"))
    assert {"pump-1", "fan-1", "press-0"} <= known.keys()


@pytest.mark.kafka_changes
def test_a_name_that_is_missing_is_waited_for(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    """Without patterns, and at first without any topic at all."""
    named = [f"{kafka_topic(1)}.{which}" for which in ("one", "two")]
    shown = ", ".join(f'"{one}"' for one in named)
    config = configuration(entry, kafka_bootstrap, f"topics = [{shown}]", named[0])
    with running(config, tmp_path) as daemon:
        for num, topic in enumerate(named, 1):
            wait_for(
                lambda n=num: len([e for e in daemon.events() if "waiting until" in e["event"]]) == 2,
                f"two missing topics; see {daemon.log}",
            )
            create(kafka_bootstrap, topic, 2)
            values = [message.value.replace(b"pump", topic.encode()) for message in pumps(topic, 0, 20)]
            send(kafka_bootstrap, [Message(topic, b"a", value) for value in values])
            wait_for(lambda n=num: daemon.readings() == 60 * n, f"its readings; see {daemon.log}")
        assert daemon.terminate() == 0
    assert scored(kafka_bootstrap, named[0]).total() == 2 * 3 * 19


@pytest.mark.kafka_changes
def test_the_state_of_one_topic_is_taken_over_by_a_daemon_of_several_and_back(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], make_topic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    lines = make_topic(f"{topic}-lines", 1)
    several = f'topics = ["{topic}", "{topic}-*"]'
    one = f'topic = "{topic}"'
    for part, kafka in enumerate((one, several, several, one, several)):
        send(kafka_bootstrap, [*pumps(topic, 30 * part, 30), *presses(lines, 30 * part, 30)])
        more = LINES.format(topic=topic) if kafka == several else ""
        with running(configuration(entry, kafka_bootstrap, kafka, topic, more), tmp_path) as daemon:
            presses_read = (0, 60, 90, 90, 150)[part]
            num = 3 * (30 * (part + 1) - 1) + max(0, 3 * (presses_read - 1))
            of_end(kafka_bootstrap, topic, num, daemon)
            daemon.process.kill()
        assert "no saved state, though" not in daemon.log.read_text()
    found = scored(kafka_bootstrap, topic)
    calm = configuration(entry, kafka_bootstrap, several, f"{topic}-calm", LINES.format(topic=topic))
    with running(calm, tmp_path) as daemon:
        wanted = of_end(kafka_bootstrap, f"{topic}-calm", 6 * 149, daemon)
        assert daemon.terminate() == 0
    assert found == wanted


@pytest.mark.kafka_changes
def test_a_series_of_two_topics_is_reported(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    one, two = kafka_topic(1), kafka_topic(1)
    config = configuration(entry, kafka_bootstrap, f'topics = ["{one}", "{two}"]', one)
    send(kafka_bootstrap, [*pumps(one, 0, 10), *pumps(two, 0, 10)])
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        wait_for(lambda: json.loads(daemon.get("/api/status")[1])["split_series"]["num"] == 3, "three series")
        problems = json.loads(daemon.get("/api/status")[1])["overview"]["problems"]
        assert daemon.terminate() == 0
    assert any('series = ["topic", "$.series"]' in words for words in problems)
    (told,) = [event for event in daemon.events() if "several partitions" in event["event"]]
    assert 'series = ["topic", "$.series"]' in told["remedy"]
    named = configuration(entry, kafka_bootstrap, f'topics = ["{one}", "{two}"]', f"{one}-named")
    named += '[input]\nseries = ["topic", "$.series"]\n'
    with running(named, tmp_path) as daemon:
        found = of_end(kafka_bootstrap, f"{one}-named", 6 * 9, daemon)
        assert daemon.terminate() == 0
    assert {series for series, _, _ in found} == {f"{t}/pump-{n}" for t in (one, two) for n in (1, 2, 3)}
    assert not [event for event in daemon.events() if "several partitions" in event["event"]]


@pytest.mark.kafka_changes
def test_models_by_topic_judge_the_series_of_their_topics_alone(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], make_topic, tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    lines = make_topic(f"{topic}-lines")
    for name in ("pump", "press"):
        publish(make_artifact(threshold=0.8, seed=len(name)), tmp_path / "models" / name)
    models = "".join(
        f'[[models]]\npath = "{tmp_path}/models/{name}"\nname = "{name}"\n'
        f'series = ["{name}-*"]\ntopics = ["{own}"]\n'
        for name, own in (("pump", topic), ("press", f"{topic}-*"))
    )
    kafka = f'topics = ["{topic}", "{topic}-*"]'
    config = configuration(Path("none"), kafka_bootstrap, kafka, topic, LINES.format(topic=topic))
    config = config.replace('[model]\npath = "none"\n', models)
    send(kafka_bootstrap, [*pumps(topic, 0, 20), *presses(lines, 0, 20)])
    send(
        kafka_bootstrap, [Message(lines, b"press-1", b"m,host=pump-1 flow=1,pressure=2 1700000030000000000")]
    )
    for num in (0, 1):
        if num:
            send(kafka_bootstrap, [*pumps(topic, 20, 20), *presses(lines, 20, 20)])
        with running(config, tmp_path) as daemon:
            of_end(kafka_bootstrap, topic, 6 * (20 * (num + 1) - 1), daemon)
            told = [{"series": f"pump-1 in topic {lines}", "reason": "name", "messages": 1}]
            wait_for(
                lambda n=num, t=told: (
                    n or json.loads(daemon.get("/api/status")[1])["unassigned"]["most"] == t
                ),
                f"what is unassigned; see {daemon.log}",
            )
            daemon.process.kill()
    bodies = [json.loads(message.value) for message in read_all(kafka_bootstrap, f"out-{topic}.scores")]
    assert {(body["model"], body["series"].split("-")[0]) for body in bodies} == {
        ("pump", "pump"),
        ("press", "press"),
    }
    assert set(scored(kafka_bootstrap, topic).values()) == {1}


def test_the_check_of_a_configuration_names_topics_that_are_missing(
    entry: Path,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic(2)
    file = tmp_path / "check.toml"
    file.write_text(configuration(entry, kafka_bootstrap, f'topics = ["{topic}", "{topic}-*"]', topic))
    assert main(["config", "check", str(file), "--connect"]) == 0
    said = capsys.readouterr().out
    assert f"topic {topic} at {kafka_bootstrap}, partitions: 2" in said
    assert f"no topic matches {topic}-* yet" in said
    file.write_text(configuration(entry, kafka_bootstrap, f'topics = ["{topic}", "{topic}.no"]', topic))
    assert main(["config", "check", str(file), "--connect"]) != 0
    assert f"has no topic '{topic}.no'" in capsys.readouterr().err
    send(kafka_bootstrap, pumps(topic, 0, 5))
    wanted = ["record", "--out", str(tmp_path / "rec"), "--channels", "flow", "--until-end"]
    assert main([*wanted, "--config", str(file), "--topic", topic]) == 0
    assert "15" in capsys.readouterr().out


@pytest.mark.kafka_changes
def test_a_topic_that_is_created_again_starts_over_alone(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], make_topic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    lines = make_topic(f"{topic}-lines", 2)
    kafka = f'topics = ["{topic}", "{topic}-*"]'
    config = configuration(entry, kafka_bootstrap, kafka, topic, LINES.format(topic=topic))
    send(kafka_bootstrap, [*pumps(topic, 0, 20), *presses(lines, 0, 20)])
    with running(config, tmp_path) as daemon:
        of_end(kafka_bootstrap, topic, 6 * 19, daemon)
        with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
            admin.delete_topics([lines])
            wait_for(lambda: not look_up(Connection((kafka_bootstrap,)), [lines]), "the deletion")
            admin.create_topics({lines: {"num_partitions": 2}})
        send(kafka_bootstrap, [*pumps(topic, 20, 20), *presses(lines, 100, 20)])
        found = of_end(kafka_bootstrap, topic, 3 * 39 + 2 * 3 * 19, daemon)
        assert daemon.terminate() == 0
    assert set(found.values()) == {1}
    assert Counter(series for series, _, _ in found) == {
        **{f"pump-{number}": 39 for number in (1, 2, 3)},
        **{f"press-{number}": 38 for number in (0, 1, 2)},
    }
    states = {
        (body["series"], time): state
        for message in read_all(kafka_bootstrap, f"out-{topic}.scores")
        for body in [json.loads(message.value)]
        for time, state in zip(body["timestamp"], body["state"], strict=True)
    }
    later = [state for (series, time), state in states.items() if time >= START_NS // 10**6 + 25_000]
    assert later.count("warming") == 3 * 7, "the presses alone, for a window of 8"


@pytest.mark.kafka_changes
def test_two_members_share_the_topics_and_one_takes_over_with_the_state(
    entry: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], make_topic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    lines = make_topic(f"{topic}-lines", 2)
    kafka = f'topics = ["{topic}", "{topic}-*"]'

    def of(group: str) -> str:
        return configuration(entry, kafka_bootstrap, kafka, group, LINES.format(topic=topic))

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        running(of(topic), tmp_path / "one") as one,
        running(of(topic), tmp_path / "two") as two,
    ):
        wait_for(lambda: one.get("/readyz")[0] == two.get("/readyz")[0] == 200, "both members")
        send(kafka_bootstrap, [*pumps(topic, 0, 30), *presses(lines, 0, 30)])
        wait_for(lambda: one.readings() + two.readings() == 180, f"180 readings; see {one.log}")
        one.process.kill()
        send(kafka_bootstrap, [*pumps(topic, 30, 30), *presses(lines, 30, 30)])
        found = of_end(kafka_bootstrap, topic, 6 * 59, two)
        assert two.terminate() == 0
    with running(of(f"{topic}-calm"), tmp_path) as daemon:
        assert of_end(kafka_bootstrap, f"{topic}-calm", 6 * 59, daemon) == found
        assert daemon.terminate() == 0
