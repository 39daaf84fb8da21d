"""The state topic: what its reader makes of keys, deletions and transactions that are open."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from kafka import KafkaProducer, errors

from connectors.errors import KafkaError
from connectors.kafka import cluster
from connectors.kafka import compacted_topic as state_topic
from connectors.kafka.compacted_topic import read_state
from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message

MakeTopic = Callable[..., str]


def write(bootstrap: str, topic: str, *records: tuple[bytes, bytes | None]) -> None:
    with closing(Producer(Connection((bootstrap,)))) as producer:
        producer.produce([Message(topic, key, value, (), 0) for key, value in records])


@contextmanager
def open_transaction(bootstrap: str, topic: str, key: bytes, value: bytes) -> Iterator[KafkaProducer]:
    """A record of a transaction that nobody has ended; it is aborted at the end."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"t-{uuid.uuid4().hex[:8]}")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, value, key, partition=0).get(timeout=30)
    try:
        yield producer
    finally:
        producer.close()


def test_the_newest_value_of_each_key_counts_and_a_deleted_key_is_absent(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic = kafka_topic(2)
    write(kafka_bootstrap, topic, (b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None), (b"c", b"3"))
    found = read_state(Connection((kafka_bootstrap,)), topic, [0, 1])
    assert found == {0: {b"a": b"2", b"c": b"3"}, 1: {}}


def test_a_broker_that_is_away_for_a_moment_is_asked_again(
    kafka_bootstrap: str, kafka_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka_topic()
    write(kafka_bootstrap, topic, (b"a", b"1"))
    real, failures = state_topic._read, [errors.KafkaConnectionError("cut"), errors.NodeNotReadyError()]

    def cut_off(*arguments: Any) -> None:
        real(*arguments)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(state_topic, "_read", cut_off)
    assert read_state(Connection((kafka_bootstrap,)), topic, [0]) == {0: {b"a": b"1"}}
    assert failures == []


@pytest.mark.parametrize(
    ("error", "patience"),
    [(errors.KafkaConnectionError("cut"), 0.5), (errors.TopicAuthorizationFailedError("not yours"), 60.0)],
)
def test_what_does_not_pass_is_an_error(
    monkeypatch: pytest.MonkeyPatch, error: errors.KafkaError, patience: float
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", patience)
    asked = []

    def fail() -> None:
        asked.append(time.monotonic())
        raise error

    with pytest.raises(type(error)):
        cluster.patiently(fail)
    assert (len(asked) > 1) == error.retriable


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_an_open_transaction_is_waited_for(kafka_bootstrap: str, kafka_topic: MakeTopic, end: str) -> None:
    topic = kafka_topic()
    write(kafka_bootstrap, topic, (b"a", b"1"), (b"b", b"1"))
    found: list[dict[int, dict[bytes, bytes]]] = []
    with open_transaction(kafka_bootstrap, topic, b"a", b"2") as producer:
        reader = threading.Thread(
            target=lambda: found.append(read_state(Connection((kafka_bootstrap,)), topic, [0]))
        )
        reader.start()
        reader.join(timeout=2.5)
        assert reader.is_alive()
        producer.commit_transaction() if end == "commit" else producer.abort_transaction()
        reader.join(timeout=60)
    assert found == [{0: {b"a": b"2" if end == "commit" else b"1", b"b": b"1"}}]


def test_a_transaction_that_does_not_end_is_an_error_after_a_while(
    kafka_bootstrap: str, kafka_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_topic, "_PATIENCE_SECONDS", 2.0)
    topic = kafka_topic()
    began = time.monotonic()
    with (
        open_transaction(kafka_bootstrap, topic, b"a", b"1"),
        pytest.raises(KafkaError, match=rf"a transaction in {topic} has not ended for 2 s") as raised,
    ):
        read_state(Connection((kafka_bootstrap,)), topic, [0])
    assert f"abort --topic {topic} --partition 0 --start-offset 0`" in str(raised.value)
    assert time.monotonic() - began < 30
