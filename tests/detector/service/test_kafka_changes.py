"""What may happen to topics and rights in Kafka while the real daemon runs, and that it goes on by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from connectors.errors import KafkaError
from connectors.kafka.admin.growth import look_up
from connectors.kafka.cluster import wait_for_broker
from connectors.kafka.connection import Connection, ProducerOptions
from connectors.kafka.transactions import Transactions
from connectors.records import Message
from tests.support.daemon import ROOT, Daemon, running, wait_for
from tests.test_daemon_kafka import configuration, rows, samples, scored, send
from tests.test_notifying import committed

MakeTopic = Callable[..., str]
OUTPUTS = ("scores", "alerts", "dead-letters", "state")


def configured(entry: Path, bootstrap: str, topic: str) -> str:
    """A member that was killed holds its partitions for as long as its session lasts."""
    return configuration(entry, bootstrap, topic, session_timeout='"4s"')


def num_partitions(bootstrap: str, topic: str) -> dict[str, int]:
    names = [f"out-{topic}.{name}" for name in OUTPUTS]
    found = look_up(Connection((bootstrap,)), names)
    return {
        name: found[full].num_partitions for name, full in zip(OUTPUTS, names, strict=True) if full in found
    }


def newest(daemon: Daemon) -> dict[str, tuple[int, str, float | None]]:
    code, body = daemon.get("/api/status")
    assert code == 200
    return {
        one["series"]: (one["timestamp_ms"], one["state"], one["score"]) for one in json.loads(body)["worst"]
    }


def events(daemon: Daemon) -> list[str]:
    return [entry["event"] for entry in daemon.events()]


def is_ready(daemon: Daemon) -> bool:
    return daemon.get("/readyz")[0] == 200


def test_partitions_added_while_it_runs_are_read_and_a_restart_goes_on(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    config = configured(entry, kafka_bootstrap, topic)
    send(kafka_bootstrap, rows(topic, 0, 30))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 90, f"90 readings; see {daemon.log}")
        with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
            admin.create_partitions({topic: 3})
        send(kafka_bootstrap, rows(topic, 30, 30))
        wait_for(lambda: daemon.readings() == 180, f"the new partitions; see {daemon.log}")
        wait_for(lambda: is_ready(daemon), "readiness")
        assert num_partitions(kafka_bootstrap, topic) == dict.fromkeys(OUTPUTS, 3)
        assert "partitions were added to the input topic" in events(daemon)
        before, gauges = newest(daemon), samples(daemon)
        assert gauges["streamgauge_series_in_several_partitions", ()] == 0
        daemon.process.kill()
    with running(config, tmp_path) as daemon:
        wait_for(lambda: is_ready(daemon), f"readiness; see {daemon.log}")
        wait_for(lambda: newest(daemon) == before, "what was judged last, before anything new comes")
        again = samples(daemon)
        for name in (
            "streamgauge_score",
            "streamgauge_actual_value",
            "streamgauge_last_row_timestamp_seconds",
        ):
            shown = {key: value for key, value in gauges.items() if key[0] == name}
            assert shown
            assert {key: again.get(key) for key in shown} == shown
        send(kafka_bootstrap, rows(topic, 60, 10))
        wait_for(lambda: daemon.readings() == 30, f"30 more readings; see {daemon.log}")
        assert daemon.terminate() == 0
    times = scored(kafka_bootstrap, topic)
    assert set(times.values()) == {1}
    assert len(times) == 3 * 69, "every row but the newest, which is still open"


def add_partitions(bootstrap: str, topic: str, num_partitions: int) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_partitions({topic: num_partitions})
        admin.wait_for_topics([topic])


@pytest.mark.parametrize("replay", [10_000, pytest.param(0, marks=pytest.mark.kafka_changes)])
def test_with_latest_nothing_in_an_added_partition_is_skipped(
    replay: int, entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    """Partitions are added while it runs and while it is down; readings are in them before it notices."""
    topic = kafka_topic(1)
    send(kafka_bootstrap, rows(topic, 0, 10))  # before the group exists: to be left out
    config = configuration(
        entry, kafka_bootstrap, topic, session_timeout='"4s"', auto_offset_reset='"latest"'
    )
    config += f"[recovery]\nmax_replay_rows = {replay}\n"
    with running(config, tmp_path) as daemon:
        wait_for(lambda: is_ready(daemon), f"readiness; see {daemon.log}")
        add_partitions(kafka_bootstrap, topic, 4)
        send(kafka_bootstrap, rows(topic, 20, 20))
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        assert daemon.terminate() == 0
    add_partitions(kafka_bootstrap, topic, 8)
    send(kafka_bootstrap, rows(topic, 40, 20))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 more readings; see {daemon.log}")
        assert daemon.terminate() == 0
    times = {time // 1000 - 1_700_000_000 for _, time in scored(kafka_bootstrap, topic)}
    assert times >= set(range(20, 39)) | set(range(40, 59))
    assert min(times) == 20


def replace_topic(bootstrap: str, topic: str) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.delete_topics([topic])
        wait_for(lambda: not look_up(Connection((bootstrap,)), [topic]), "the deletion")
        admin.create_topics({topic: {"num_partitions": 2}})


def test_an_input_topic_created_again_is_read_from_its_beginning(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    """It is deleted and created while no process runs."""
    topic = kafka_topic(2)
    config = configured(entry, kafka_bootstrap, topic)
    send(kafka_bootstrap, rows(topic, 0, 20))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        assert daemon.terminate() == 0
    replace_topic(kafka_bootstrap, topic)
    send(kafka_bootstrap, rows(topic, 200, 40))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 120, f"all of the new topic; see {daemon.log}")
        assert "input topic was recreated: starting without saved state" in events(daemon)
        assert daemon.terminate() == 0
    times = scored(kafka_bootstrap, topic)
    for number in (1, 2, 3):
        assert sum(series == f"pump-{number}" for series, _ in times) == 19 + 39


def test_an_input_topic_created_again_under_a_running_process_is_read_from_its_beginning(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    config = configured(entry, kafka_bootstrap, topic)
    send(kafka_bootstrap, rows(topic, 0, 20))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        replace_topic(kafka_bootstrap, topic)
        send(kafka_bootstrap, rows(topic, 100, 30))  # more than the old one had
        wait_for(lambda: daemon.readings() >= 150, f"the new topic; see {daemon.log}")
        assert [event for event in events(daemon) if "created again" in event or "recreated" in event]
        assert daemon.terminate() == 0
    times = scored(kafka_bootstrap, topic)
    for number in (1, 2, 3):
        assert sum(series == f"pump-{number}" for series, _ in times) == 19 + 29


def test_output_and_state_topics_that_were_deleted_are_made_again(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    config = configured(entry, kafka_bootstrap, topic)
    send(kafka_bootstrap, rows(topic, 0, 20))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
            admin.delete_topics([f"out-{topic}.scores", f"out-{topic}.state"])
        wait_for(
            lambda: "state topic was recreated: all state is saved again" in events(daemon),
            f"the topics; see {daemon.log}",
        )
        send(kafka_bootstrap, rows(topic, 20, 20))
        wait_for(
            lambda: sum(scored(kafka_bootstrap, topic).values()) >= 60, f"their scores; see {daemon.log}"
        )
        daemon.process.kill()
    with running(config, tmp_path) as daemon:
        wait_for(lambda: is_ready(daemon), f"readiness; see {daemon.log}")
        assert len(newest(daemon)) == 3
        send(kafka_bootstrap, rows(topic, 40, 5))
        wait_for(lambda: daemon.readings() == 15, f"15 readings; see {daemon.log}")
        assert daemon.terminate() == 0
    assert set(scored(kafka_bootstrap, topic).values()) == {1}


def test_a_producer_that_was_fenced_is_started_again(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(1)
    name = f"{topic}-id"
    config = configured(entry, kafka_bootstrap, topic) + f'[delivery]\ntransactional_id = "{name}"\n'
    send(kafka_bootstrap, rows(topic, 0, 10))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
        wait_for(lambda: scored(kafka_bootstrap, topic).total() == 27, f"27 scores; see {daemon.log}")
        # The last transaction may publish no score. Within one, the daemon would be aborted and not fenced.
        wait_for(lambda: committed(kafka_bootstrap, topic) == 30, f"all offsets; see {daemon.log}")
        Transactions(Connection((kafka_bootstrap,)), ProducerOptions(), name, 30.0).close()
        send(kafka_bootstrap, rows(topic, 10, 10))
        wait_for(lambda: scored(kafka_bootstrap, topic).total() == 57, f"all; see {daemon.log}")
        assert samples(daemon)["streamgauge_transactions_total", (("outcome", "fenced"),)] >= 1
        assert daemon.terminate() == 0
    assert set(scored(kafka_bootstrap, topic).values()) == {1}


def test_a_missing_topic_is_told_at_once(kafka_bootstrap: str) -> None:
    with pytest.raises(KafkaError, match="topic 'nowhere' does not exist") as error:
        wait_for_broker(Connection((kafka_bootstrap,)), "nowhere", timeout_seconds=60.0)
    assert f"kafka-topics.sh --bootstrap-server {kafka_bootstrap} --create --topic nowhere" in str(
        error.value
    )


def test_a_series_without_a_key_is_told_within_seconds(
    entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(3)
    unkeyed = [Message(topic, None, one.value) for one in rows(topic, 0, 3000)[::3]]
    with running(configured(entry, kafka_bootstrap, topic), tmp_path) as daemon:
        wait_for(lambda: is_ready(daemon), f"readiness; see {daemon.log}")
        send(kafka_bootstrap, unkeyed)
        began = time.monotonic()
        name = "streamgauge_series_in_several_partitions", ()
        wait_for(lambda: samples(daemon)[name] == 1, f"the metric; see {daemon.log}")
        assert time.monotonic() - began < 10.0
        told = [one for one in daemon.events() if "several partitions" in one["event"]]
        assert [one["series"] for one in told] == [["pump-1"]]
        assert json.loads(daemon.get("/api/status")[1])["split_series"] == {"num": 1, "names": ["pump-1"]}
        problems = json.loads(daemon.get("/api/status")[1])["overview"]["problems"]
        assert any("series come from several partitions" in one for one in problems)
        assert daemon.terminate() == 0


@pytest.mark.parametrize("codec", ["zstd"])
def test_a_codec_without_its_library_names_the_package_at_once(
    codec: str, entry: Path, kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(1, **{"compression.type": codec})
    send(kafka_bootstrap, rows(topic, 0, 10))
    with running(configured(entry, kafka_bootstrap, topic), tmp_path) as daemon:
        assert daemon.process.wait(60) == 1
        last = daemon.log.read_text().splitlines()[-1]
    assert "pip install 'streamgauge[compression]'" in last
    assert topic in last


WITHOUT_CODECS = """
import sys
sys.modules.update(dict.fromkeys(("snappy", "zstandard", "lz4", "lz4.frame", "lz4f", "lz4framed")))
from streamgauge import console
sys.exit(console())
"""


@pytest.mark.parametrize("channels", [["--channels", "flow,pressure"], []], ids=["channels", "no channels"])
@pytest.mark.parametrize(
    "codec",
    ["snappy", *(pytest.param(name, marks=pytest.mark.kafka_changes) for name in ("zstd", "lz4"))],
)
def test_record_names_the_package_of_a_codec_without_its_library(
    codec: str, channels: list[str], kafka_bootstrap: str, kafka_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = kafka_topic(1, **{"compression.type": codec})
    send(kafka_bootstrap, rows(topic, 0, 10))
    place = ["--bootstrap-servers", kafka_bootstrap, "--topic", topic]
    command = ["record", *place, "--out", str(tmp_path / "out"), "--until-end", *channels]
    outcome = subprocess.run(
        [sys.executable, "-c", WITHOUT_CODECS, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert outcome.returncode == 1
    last = outcome.stderr.splitlines()[-1]
    assert "pip install 'streamgauge[compression]'" in last
    assert topic in last
