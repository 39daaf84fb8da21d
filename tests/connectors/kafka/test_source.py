"""The Kafka source, delivery and waiting, against a real broker."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from connectors.errors import KafkaError
from connectors.kafka.cluster import count_partitions, ensure_topics, sample, wait_for_broker
from connectors.kafka.connection import Connection, ConsumerOptions, ProducerOptions, TopicSpec
from connectors.kafka.delivery import AtLeastOnce
from connectors.kafka.producer import Producer
from connectors.kafka.source import KafkaSource
from connectors.records import Batch, Message
from connectors.wide_json.decoder import JsonWideCodec
from tests.support.kafka_broker import KafkaBroker, free_ports

MakeTopic = Callable[..., str]
MakeBroker = Callable[..., KafkaBroker]

WAIT_SECONDS = 60.0
NOW_MS = 1_767_225_600_000


def connection(*servers: str, **more: str) -> Connection:
    return Connection(servers, **more)  # type: ignore[arg-type]


def readings(topic: str, num: int, series: str = "pump-1", start: int = 0) -> list[Message]:
    """`num` messages of a series, a second apart, whose value is their number."""
    return [
        Message(
            topic,
            series.encode(),
            json.dumps({"series": series, "timestamp": NOW_MS + n * 1000, "values": {"x": n}}).encode(),
        )
        for n in range(start, start + num)
    ]


def fill(bootstrap: str, messages: list[Message]) -> None:
    with closing(Producer(connection(bootstrap))) as producer:
        producer.produce(messages)


def new_group() -> str:
    return f"group-{uuid.uuid4().hex[:12]}"


@contextmanager
def member(bootstrap: str, topic: str, group: str, **options: object) -> Iterator[KafkaSource]:
    options = {"session_timeout_seconds": 6.0, **options}  # the quicker a rebalance is noticed
    wanted = ConsumerOptions(topic, group, **options)  # type: ignore[arg-type]
    with closing(KafkaSource(connection(bootstrap), wanted, JsonWideCodec(("x",)))) as source:
        yield source


def poll_until(condition: Callable[[list[Batch]], bool], *sources: KafkaSource) -> list[Batch]:
    """Poll the sources in turn until the batches so far fulfil the condition."""
    batches: list[Batch] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition(batches):
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s: {batches}"
        batches += [source.poll(0.2) for source in sources]
    return batches


def num_read(batches: list[Batch]) -> int:
    return sum(len(batch.readings) + len(batch.rejects) for batch in batches)


def values(batches: list[Batch]) -> list[float]:
    return [value for batch in batches for value in batch.readings.values[:, 0].tolist()]


def committed(bootstrap: str, topic: str, group: str, partition: int = 0) -> int | None:
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=group)) as consumer:
        offset: int | None = consumer.committed(TopicPartition(topic, partition))
        return offset


def test_secrets_are_masked() -> None:
    shown = repr(connection("a:1", sasl_username="me", sasl_password="hush", ssl_key_password="quiet"))
    assert "hush" not in shown
    assert "quiet" not in shown
    assert "sasl_username='me', sasl_password=***" in shown
    assert "sasl_password=None" in repr(connection("a:1"))


def test_a_dead_broker_is_named_within_the_time_given(caplog: pytest.LogCaptureFixture) -> None:
    server = f"127.0.0.1:{free_ports(1)[0]}"
    with caplog.at_level(logging.WARNING), pytest.raises(KafkaError) as error:
        wait_for_broker(connection(server), timeout_seconds=1.0)
    assert f"{server} is unreachable (Connection refused); gave up after 1 s" in str(error.value)
    assert "bootstrap_servers" in str(error.value)
    tries = [record.getMessage() for record in caplog.records if "not ready" in record.getMessage()]
    assert len(tries) >= 2
    assert all(server in text and "trying again in" in text for text in tries)


def test_waiting_ends_when_we_are_told_to_stop() -> None:
    stop = threading.Event()
    stop.set()
    wait_for_broker(connection("127.0.0.1:1"), timeout_seconds=WAIT_SECONDS, stop=stop)


def test_what_accepts_connections_and_is_not_kafka_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(KafkaError, match="accepts connections but does not answer as Kafka"):
            wait_for_broker(connection(where), timeout_seconds=1.0)


def test_a_server_without_a_port_is_refused_at_once() -> None:
    with pytest.raises(KafkaError, match="'localhost' is not of the form host:port"):
        wait_for_broker(connection("localhost"), timeout_seconds=WAIT_SECONDS)


def test_one_living_server_of_several_is_enough(kafka_bootstrap: str) -> None:
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    wait_for_broker(connection(dead, kafka_bootstrap), timeout_seconds=WAIT_SECONDS)


def test_a_missing_topic_is_waited_for_and_named(kafka_bootstrap: str, kafka_topic: MakeTopic) -> None:
    wait_for_broker(connection(kafka_bootstrap), kafka_topic(), timeout_seconds=WAIT_SECONDS)
    with pytest.raises(KafkaError, match=r"topic 'nowhere' does not exist .* change \[kafka\] topic"):
        wait_for_broker(connection(kafka_bootstrap), "nowhere", timeout_seconds=0.5)
    assert count_partitions(connection(kafka_bootstrap), "nowhere") == 0


def test_topics_are_created_once_and_left_alone_afterwards(kafka_bootstrap: str) -> None:
    one, two = f"made-{uuid.uuid4().hex}", f"made-{uuid.uuid4().hex}"
    ensure_topics(connection(kafka_bootstrap), [TopicSpec(one, 3)])
    ensure_topics(
        connection(kafka_bootstrap),
        [TopicSpec(one, 5), TopicSpec(two, settings={"cleanup.policy": "compact"})],
    )
    assert [count_partitions(connection(kafka_bootstrap), name) for name in (one, two)] == [3, 1]
    with pytest.raises(KafkaError, match="cannot create topics bad name"):
        ensure_topics(connection(kafka_bootstrap), [TopicSpec("bad name")])


def test_messages_are_read_in_order_with_the_offsets_behind_them(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic = kafka_topic()
    fill(kafka_bootstrap, readings(topic, 500))
    before = time.time_ns()
    with member(kafka_bootstrap, topic, new_group(), max_poll_records=200) as source:
        batches = poll_until(lambda found: num_read(found) == 500, source)
        filled = [batch for batch in batches if len(batch.readings)]
        assert values(batches) == list(range(500))
        assert [offset for batch in batches for offset in batch.readings.offset] == list(range(500))
        sizes = [len(batch.readings) for batch in filled]
        assert max(sizes) <= 200
        behind = np.cumsum(sizes).tolist()
        assert [batch.position for batch in filled] == [{(topic, 0): offset} for offset in behind]
        assert all(before < (batch.tick_ns or 0) < time.time_ns() for batch in batches)
        assert source.is_assigned
        assert source.assignment() == {0}
        assert source.num_rebalances == 1


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_bad_message_becomes_a_reject_with_its_coordinates(
    kafka_bootstrap: str, kafka_topic: MakeTopic, compression: str
) -> None:
    topic = kafka_topic()
    good = readings(topic, 2)
    bad = [Message(topic, b"k", b"not json"), Message(topic, None, b'{"series": "a"}')]
    options = ProducerOptions(compression=compression)  # type: ignore[arg-type]
    with closing(Producer(connection(kafka_bootstrap), options)) as producer:
        producer.produce([good[0], bad[0], bad[1], good[1]])
    with member(kafka_bootstrap, topic, new_group()) as source:
        batches = poll_until(lambda found: num_read(found) == 4, source)
    rejects = [reject for batch in batches for reject in batch.rejects]
    found = [(r.reason, r.topic, r.partition, r.offset, r.key, r.value) for r in rejects]
    assert found == [
        ("not_json", topic, 0, 1, b"k", b"not json"),
        ("missing_field", topic, 0, 2, None, b'{"series": "a"}'),
    ]
    assert [offset for batch in batches for offset in batch.readings.offset] == [0, 3]
    assert batches[-1].position == {(topic, 0): 4}


def test_offsets_are_committed_after_the_messages_are_written(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic, output, group = kafka_topic(), kafka_topic(), new_group()
    fill(kafka_bootstrap, readings(topic, 10))
    with (
        member(kafka_bootstrap, topic, group) as source,
        closing(Producer(connection(kafka_bootstrap))) as out,
    ):
        (batch,) = [b for b in poll_until(lambda found: num_read(found) == 10, source) if b.position]
        assert committed(kafka_bootstrap, topic, group) is None
        AtLeastOnce(out, source).deliver([Message(output, b"k", b"v", (("h", b"1"),))], batch.position or {})
    assert committed(kafka_bootstrap, topic, group) == 10
    assert [one.value for one in sample(connection(kafka_bootstrap), output, 5)] == [b"v"]
    with member(kafka_bootstrap, topic, group) as source:
        fill(kafka_bootstrap, readings(topic, 1, start=10))
        assert values(poll_until(lambda found: num_read(found) == 1, source)) == [10]


def test_a_delivery_that_fails_commits_nothing_and_the_messages_come_again(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic, group = kafka_topic(), new_group()
    narrow = kafka_topic(**{"max.message.bytes": "200"})
    fill(kafka_bootstrap, readings(topic, 10))
    with (
        member(kafka_bootstrap, topic, group) as source,
        closing(Producer(connection(kafka_bootstrap))) as out,
    ):
        batches = poll_until(lambda found: num_read(found) == 10, source)
        outputs = [Message(narrow, None, b"fits"), Message(narrow, None, b"x" * 1000)]
        with pytest.raises(KafkaError, match=f"cannot deliver to topic {narrow}"):
            AtLeastOnce(out, source).deliver(outputs, batches[-1].position or {})
    assert committed(kafka_bootstrap, topic, group) is None
    with member(kafka_bootstrap, topic, group) as source:
        assert values(poll_until(lambda found: num_read(found) == 10, source)) == list(range(10))


def test_a_message_for_a_topic_that_does_not_exist_fails_the_delivery(kafka_bootstrap: str) -> None:
    options = ProducerOptions(delivery_timeout_seconds=2.0)
    with (
        closing(Producer(connection(kafka_bootstrap), options)) as out,
        pytest.raises(KafkaError, match="cannot deliver to topic nowhere"),
    ):
        out.produce([Message("nowhere", None, b"v")])


def test_members_share_the_partitions_and_take_over_from_each_other(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic, group = kafka_topic(4), new_group()
    series = [f"pump-{n}" for n in range(32)]
    fill(kafka_bootstrap, [message for name in series for message in readings(topic, 5, name)])
    with member(kafka_bootstrap, topic, group) as first:
        before = poll_until(lambda found: num_read(found) == 160, first)
        for batch in before:
            first.commit(batch.position or {})
        with member(kafka_bootstrap, topic, group) as second:
            shared = poll_until(
                lambda _: len(second.assignment()) == 2 == len(first.assignment()), first, second
            )
            kept = first.assignment()
            assert kept | second.assignment() == {0, 1, 2, 3}
            lost = [batch.lost for batch in shared if batch.lost]
            assert lost == [second.assignment()], (
                "first lost what second has; what was given back is not lost"
            )
            assert num_read(shared) == 0, "what was committed is not read again"
            fill(kafka_bootstrap, [message for name in series for message in readings(topic, 1, name, 5)])
            both = poll_until(lambda found: num_read(found) == 32, first, second)
            assert sorted({p for batch in both for p in batch.readings.partition}) == [0, 1, 2, 3]
            for batch in both:
                for source in (first, second):
                    mine = {
                        key: at for key, at in (batch.position or {}).items() if key[1] in source.assignment()
                    }
                    source.commit(mine)
        after = poll_until(lambda _: len(first.assignment()) == 4, first)
        assert [batch.lost for batch in after if batch.lost] == []
        assert num_read(after) == 0
        fill(kafka_bootstrap, [message for name in series for message in readings(topic, 1, name, 6)])
        assert values(poll_until(lambda found: num_read(found) == 32, first)) == [6.0] * 32


def test_added_partitions_are_shared_though_another_member_is_slow_to_join(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    """The leader's join then takes longer than its polls. The client alone would forget about it."""
    topic, group = kafka_topic(2), new_group()
    with member(kafka_bootstrap, topic, group) as leader:
        poll_until(lambda _: len(leader.assignment()) == 2, leader)
        with member(kafka_bootstrap, topic, group) as slow:
            poll_until(lambda _: len(leader.assignment()) == 1 == len(slow.assignment()), leader, slow)
            with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
                admin.create_partitions({topic: 4})
            poll_until(lambda _: not leader.is_assigned, leader)
            poll_until(lambda found: len(found) >= 5, leader)
            poll_until(lambda _: len(leader.assignment()) == 2 == len(slow.assignment()), leader, slow)
            assert leader.assignment() | slow.assignment() == {0, 1, 2, 3}


def test_a_member_that_was_expelled_commits_nothing_and_reports_all_as_lost(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic, group = kafka_topic(2), new_group()
    fill(kafka_bootstrap, [m for n in range(8) for m in readings(topic, 5, f"pump-{n}")])
    with member(kafka_bootstrap, topic, group, max_poll_interval_seconds=1.0) as slow:
        batches = poll_until(lambda found: num_read(found) == 40, slow)
        assert slow.assignment() == {0, 1}
        with member(kafka_bootstrap, topic, group) as heir:
            # The slow one does not poll meanwhile: after a second it is out and the heir reads the same.
            again = poll_until(lambda found: num_read(found) == 40, heir)
            position = {key: offset for batch in again for key, offset in (batch.position or {}).items()}
            heir.commit(dict.fromkeys(position, 1))
            slow.commit({key: offset for batch in batches for key, offset in (batch.position or {}).items()})
            assert [committed(kafka_bootstrap, topic, group, partition) for partition in (0, 1)] == [1, 1]
            both = poll_until(lambda _: len(slow.assignment()) == 1 == len(heir.assignment()), slow, heir)
            lost = [batch.lost for batch in both if batch.lost]
            assert frozenset({0, 1}) in lost


@pytest.mark.parametrize("num_committed", [0, 4])
def test_a_source_that_starts_over_goes_back_to_the_committed_offset(
    kafka_bootstrap: str, kafka_topic: MakeTopic, num_committed: int
) -> None:
    topic = kafka_topic()
    fill(kafka_bootstrap, readings(topic, 10))
    with member(kafka_bootstrap, topic, new_group()) as source:
        poll_until(lambda found: num_read(found) == 10, source)
        if num_committed:
            source.commit({(topic, 0): num_committed})
        source.start_over()
        assert source.has_lost
        again = poll_until(lambda found: num_read(found) == 10 - num_committed, source)
    assert values(again) == list(range(num_committed, 10))
    (reported,) = [batch for batch in again if batch.lost]
    assert (reported.lost, reported.assigned, len(reported.readings)) == ({0}, {0}, 0)


def test_lag_is_told_in_messages_and_seconds_and_the_end_is_recognised(
    kafka_bootstrap: str, kafka_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.source._CHECK_SECONDS", 0.0)
    topic = kafka_topic(2)
    sent_at = time.time()
    fill(kafka_bootstrap, readings(topic, 50))
    with member(kafka_bootstrap, topic, new_group(), max_poll_records=20) as source:
        assert source.lag_seconds == {}
        batches = poll_until(lambda found: num_read(found) == 20, source)
        assert max(source.lag.values()) == 30
        (behind,) = {number for number, messages in source.lag.items() if messages}
        assert 0 < source.lag_seconds[behind] <= time.time() - sent_at + 1
        assert any(batch.decode_seconds > 0 for batch in batches)
        end = source.end()
        assert sorted(end.values()) == [0, 50]
        assert not source.has_reached(end)
        poll_until(lambda _: source.has_reached(end), source)
        poll_until(lambda _: dict(source.lag) == {0: 0, 1: 0}, source)
        assert source.lag_seconds == {0: 0.0, 1: 0.0}
        fill(kafka_bootstrap, readings(topic, 1))
        assert not source.has_reached(source.end())


def test_a_new_group_may_start_at_the_end(kafka_bootstrap: str, kafka_topic: MakeTopic) -> None:
    topic = kafka_topic()
    fill(kafka_bootstrap, readings(topic, 10))
    with member(kafka_bootstrap, topic, new_group(), start="latest") as source:
        poll_until(lambda _: source.has_reached({(topic, 0): 10}), source)
        fill(kafka_bootstrap, readings(topic, 1, start=10))
        assert values(poll_until(lambda found: num_read(found) == 1, source)) == [10]


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_what_is_deleted_under_a_running_member_is_told_and_the_rest_is_read(
    kafka_bootstrap: str, kafka_topic: MakeTopic, start: str
) -> None:
    """The client alone would say nothing, and by `latest` pass over what is left."""
    topic = kafka_topic()
    small = {"max_poll_records": 5, "max_partition_fetch_bytes": 500, "fetch_max_bytes": 500}
    with member(kafka_bootstrap, topic, new_group(), start=start, **small) as source:
        poll_until(lambda _: source.has_reached({(topic, 0): 0}), source)
        for at in range(0, 200, 5):  # a batch each: one is the least that a fetch brings
            fill(kafka_bootstrap, readings(topic, 5, start=at))
        before = values(poll_until(lambda found: num_read(found) >= 5, source))
        with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
            admin.delete_records({TopicPartition(topic, 0): 150})
        after = poll_until(lambda found: 199.0 in values(found), source)
    read = before + values(after)
    (told,) = [batch.deleted for batch in after if batch.deleted]
    wanted, earliest = told[0]
    assert earliest == 150
    assert wanted < 150
    assert read == [float(n) for n in (*range(wanted), *range(150, 200))]


def test_a_static_member_comes_back_without_a_rebalance(kafka_bootstrap: str, kafka_topic: MakeTopic) -> None:
    topic, group = kafka_topic(2), new_group()
    with member(kafka_bootstrap, topic, group, group_instance_id="one") as first:
        with member(kafka_bootstrap, topic, group, group_instance_id="two") as second:
            poll_until(lambda _: len(first.assignment()) == 1 == len(second.assignment()), first, second)
            rebalances = first.num_rebalances
            had = second.assignment()
        with member(kafka_bootstrap, topic, group, group_instance_id="two") as second:
            poll_until(lambda _: second.is_assigned, first, second)
            assert second.assignment() == had
            assert first.num_rebalances == rebalances


def test_two_members_with_the_same_instance_id_are_an_error(
    kafka_bootstrap: str, kafka_topic: MakeTopic
) -> None:
    topic, group = kafka_topic(), new_group()
    with member(kafka_bootstrap, topic, group, group_instance_id="one") as first:
        poll_until(lambda _: first.is_assigned, first)
        with member(kafka_bootstrap, topic, group, group_instance_id="one") as second:
            poll_until(lambda _: second.is_assigned, second)
            with pytest.raises(
                KafkaError, match=r"another member of group .* has our group_instance_id 'one'"
            ):
                first.commit({(topic, 0): 0})


def test_a_batch_too_large_for_the_topic_is_split(kafka_bootstrap: str, kafka_topic: MakeTopic) -> None:
    narrow = kafka_topic(**{"max.message.bytes": "1000"})
    sent = [b"%d" % number * 100 for number in range(50)]
    fill(kafka_bootstrap, [Message(narrow, None, value) for value in sent])
    assert [one.value for one in sample(connection(kafka_bootstrap), narrow, 100)] == sent


def test_a_broker_that_goes_and_comes_back_is_no_error(kafka_broker: MakeBroker) -> None:
    broker = kafka_broker()
    servers = connection(broker.bootstrap)
    ensure_topics(servers, [TopicSpec("in", 1), TopicSpec("out", 1)])
    fill(broker.bootstrap, readings("in", 3))
    with (
        member(broker.bootstrap, "in", "group", commit_timeout_seconds=0.5) as source,
        closing(Producer(servers)) as out,
    ):
        batches = poll_until(lambda found: num_read(found) == 3, source)
        out.produce([Message("out", None, b"before")])
        broker.kill()
        source.commit(batches[-1].position or {})  # logged, and kept for later
        assert [num_read([source.poll(0.2)]) for _ in range(5)] == [0] * 5
        poll_until(lambda _: not source.is_connected, source)
        broker.launch()
        out.produce([Message("out", None, b"after")])  # waits for the broker
        broker.wait()
        fill(broker.bootstrap, readings("in", 3, start=3))
        again = poll_until(lambda found: values(found)[-3:] == [3, 4, 5], source)
        poll_until(lambda _: source.is_connected, source)
        source.commit({})
    # On a machine so slow that the group's session ended meanwhile, the uncommitted ones come once more.
    assert values(again) in ([3, 4, 5], [0, 1, 2, 3, 4, 5])
    if values(again) == [3, 4, 5]:
        assert committed(broker.bootstrap, "in", "group") == 3
    assert [one.value for one in sample(servers, "out", 5)] == [b"before", b"after"]


def test_credentials_are_used_and_wrong_ones_refused_at_once(kafka_broker: MakeBroker) -> None:
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    broker = kafka_broker(
        {
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": f'{login} user_gauge="right";',
        }
    )

    def login_as(password: str) -> Connection:
        return connection(
            broker.sasl_bootstrap,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="gauge",
            sasl_password=password,
        )

    wait_for_broker(login_as("right"), timeout_seconds=WAIT_SECONDS)
    ensure_topics(login_as("right"), [TopicSpec("in", 2)])
    assert count_partitions(login_as("right"), "in") == 2
    with pytest.raises(KafkaError, match="refused our credentials") as error:
        wait_for_broker(login_as("wrong"), timeout_seconds=WAIT_SECONDS)
    assert "wrong" not in str(error.value)
