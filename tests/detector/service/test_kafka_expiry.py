"""A Kafka that forgets soon: transactional ids that expired, state and input that retention deleted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from tests.support.daemon import running, wait_for
from tests.support.kafka_broker import KafkaBroker, need_java
from tests.test_daemon_kafka import configuration, rows, samples, scored, send

pytestmark = [pytest.mark.kafka, pytest.mark.kafka_changes]
PROPERTIES = {
    "transactional.id.expiration.ms": "2000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
}


@pytest.fixture(scope="module")
def forgetful_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that forgets within seconds."""
    need_java()
    broker = KafkaBroker(tmp_path_factory.mktemp("forgetful-kafka"), PROPERTIES)
    broker.start()
    yield broker
    broker.kill()


def made_topics(bootstrap: str, state: dict[str, str]) -> str:
    """An input topic, and a state topic with these settings."""
    topic = f"forgotten-{uuid.uuid4().hex[:8]}"
    names = {topic: {}, f"out-{topic}.state": state}
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics(
            {name: {"num_partitions": 2, "configs": configs} for name, configs in names.items()}
        )
        admin.wait_for_topics(list(names))
    return topic


def has_transactional_id(bootstrap: str, name: str) -> bool:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        return any(name == one for one in map(str, _ids(admin.list_transactions())))


def _ids(found: object) -> Iterator[object]:
    """The ids in what the client returns, whichever way it nests them."""
    if isinstance(found, dict):
        for value in found.values():
            yield from _ids(value)
    elif isinstance(found, list | tuple | set):
        for value in found:
            yield from _ids(value)
    else:
        yield getattr(found, "transactional_id", found)


def test_a_transactional_id_that_expired_costs_nothing(
    forgetful_kafka: KafkaBroker, entry: Path, tmp_path: Path
) -> None:
    bootstrap = forgetful_kafka.bootstrap
    topic = made_topics(bootstrap, {"cleanup.policy": "compact"})
    name = f"{topic}-id"
    config = configuration(entry, bootstrap, topic) + f'[delivery]\ntransactional_id = "{name}"\n'
    send(bootstrap, rows(topic, 0, 10))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
        wait_for(lambda: not has_transactional_id(bootstrap, name), "the id to expire")
        send(bootstrap, rows(topic, 10, 10))
        wait_for(lambda: len(scored(bootstrap, topic)) == 57, f"all rows; see {daemon.log}")
        found = samples(daemon)
        failed = sum(
            found.get(("streamgauge_transactions_total", (("outcome", outcome),)), 0)
            for outcome in ("aborted", "fenced")
        )
        assert failed >= 1, "the id had not expired"
        assert daemon.terminate() == 0
    assert set(scored(bootstrap, topic).values()) == {1}


def test_state_that_retention_deleted_is_told_and_series_warm_up(
    forgetful_kafka: KafkaBroker, entry: Path, tmp_path: Path
) -> None:
    bootstrap = forgetful_kafka.bootstrap
    short = {"cleanup.policy": "delete", "retention.ms": "1000", "segment.ms": "1000"}
    topic = made_topics(bootstrap, short)
    config = configuration(entry, bootstrap, topic)
    send(bootstrap, rows(topic, 0, 20))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")  # topics exist then
        wait_for(lambda: len(scored(bootstrap, topic)) == 57, f"the first rows; see {daemon.log}")
        assert daemon.terminate() == 0
    wait_for(lambda: not _has_records(bootstrap, f"out-{topic}.state"), "the deletion of the state")
    send(bootstrap, rows(topic, 20, 20))
    with running(config, tmp_path) as daemon:
        wait_for(lambda: daemon.readings() == 60, f"60 readings; see {daemon.log}")
        told = [one for one in daemon.events() if one["event"].startswith("no saved state, though")]
        assert {one["partition"] for one in told} == {0, 1}
        assert all("cleanup.policy" in one["remedy"] for one in told)
        assert daemon.terminate() == 0
    assert set(scored(bootstrap, topic).values()) == {1}


def _has_records(bootstrap: str, topic: str) -> bool:
    partitions = [TopicPartition(topic, number) for number in range(2)]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return begins != ends
    finally:
        consumer.close(autocommit=False)
