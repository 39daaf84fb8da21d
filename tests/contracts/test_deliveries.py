"""What every delivery and sink promises: results are out before, or together with, the position."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest

from connectors.errors import KafkaError, TransactionAbortedError
from connectors.kafka.cluster import sample
from connectors.kafka.connection import Connection, ProducerOptions
from connectors.kafka.delivery import AtLeastOnce, ExactlyOnce
from connectors.kafka.producer import Producer
from connectors.kafka.transactions import Transactions
from connectors.memory import MemorySink, MemorySource
from connectors.records import Batch, Membership, Message, Position, Readings, StreamSource
from detector.delivery.messages import MessageEncoder, Topics
from detector.delivery.sink import Delivery, MessageSink
from detector.engine.loop import Sink
from detector.engine.values import StepResult
from detector.offline.backtest import ReplaySink
from detector.scoring.verdicts import Verdicts
from tests.contracts.conftest import NUM, kafka_starts, slices
from tests.contracts.test_streams import read_num
from tests.support.artifacts import make_artifact


class FakeBroker:
    """Keeps messages in memory, and refuses a topic that is called so."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []

    def produce(self, messages: Sequence[Message]) -> None:
        if any(message.topic == "refused" for message in messages):
            raise KafkaError("refused")
        self.values += [message.value for message in messages]

    def deliver(self, messages: Sequence[Message], position: Position, membership: Membership) -> None:
        try:
            self.produce(messages)
        except KafkaError as error:
            raise TransactionAbortedError(str(error)) from error


@dataclass(frozen=True)
class DeliveryKit:
    """A delivery whose source has been read to its end; `refused` is a topic that takes no large message."""

    source: StreamSource
    delivery: Delivery
    topics: tuple[str, str, str]
    sent: Callable[[], list[bytes | None]]

    def position(self, offset: int) -> Position:
        return {(self.topics[0], 0): offset}


@pytest.fixture(params=["at least once", "exactly once"])
def guarantee(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def kit(request: pytest.FixtureRequest, guarantee: str, opened: ExitStack) -> DeliveryKit:
    made = memory_kit(guarantee) if request.param == "memory" else kafka_kit(guarantee, request, opened)
    read_num(made.source, NUM)
    return made


def memory_kit(guarantee: str) -> DeliveryKit:
    source, broker = MemorySource(slices()), FakeBroker()
    delivery: Delivery = AtLeastOnce(broker, source)
    if guarantee == "exactly once":
        delivery = ExactlyOnce(broker, source)
    return DeliveryKit(source, delivery, ("memory", "out", "refused"), lambda: broker.values)


def kafka_kit(guarantee: str, request: pytest.FixtureRequest, opened: ExitStack) -> DeliveryKit:
    bootstrap: str = request.getfixturevalue("kafka_bootstrap")
    make_topic = request.getfixturevalue("kafka_topic")
    topics = (make_topic(), make_topic(), make_topic(**{"max.message.bytes": "200"}))
    connection = Connection((bootstrap,))
    source = opened.enter_context(closing(kafka_starts(bootstrap, topics[0], True)()))
    delivery: Delivery
    if guarantee == "exactly once":
        transactions = Transactions(connection, ProducerOptions(), f"t-{uuid.uuid4().hex[:8]}", 20.0)
        opened.enter_context(closing(transactions))
        delivery = ExactlyOnce(transactions, source)
    else:
        producer = opened.enter_context(closing(Producer(connection)))
        delivery = AtLeastOnce(producer, source)
    return DeliveryKit(
        source, delivery, topics, lambda: [one.value for one in sample(connection, topics[1], 10)]
    )


def test_messages_state_and_position_are_out_after_a_delivery(kit: DeliveryKit) -> None:
    _, output, _ = kit.topics
    kit.delivery.deliver([Message(output, None, b"1")], kit.position(7), [Message(output, None, b"2")])
    assert kit.sent() == [b"1", b"2"]
    assert kit.source.committed([0]) == {0: 7}
    kit.delivery.deliver([], kit.position(9))
    assert kit.source.committed([0]) == {0: 9}


def test_after_a_delivery_that_fails_nothing_is_committed(kit: DeliveryKit) -> None:
    """Either the process ends with an error, or the source starts over."""
    _, _, refused = kit.topics
    try:
        kit.delivery.deliver([Message(refused, None, b"x" * 1000)], kit.position(7))
    except KafkaError:
        is_over = False
    else:
        is_over = kit.source.has_lost
        assert is_over
    assert kit.source.committed([0]) == {0: None}
    if is_over:
        again = read_num(kit.source, NUM)
        assert again[0].lost == {0}


NO_RESULT = StepResult(Verdicts.empty(1), (), Verdicts.empty(1))
ENCODER = MessageEncoder(Topics.of("out"), "model", "1", ("x",))


class Nowhere:
    """A delivery that keeps nothing."""

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        """Discard all of it."""


@pytest.mark.parametrize(
    "make",
    [lambda: ReplaySink(make_artifact()), MemorySink, lambda: MessageSink(ENCODER, Nowhere())],
    ids=["ReplaySink", "MemorySink", "MessageSink"],
)
def test_a_sink_takes_empty_results_commits_without_a_position_and_closes_twice(
    make: Callable[[], Sink],
) -> None:
    sink = make()
    sink.write(NO_RESULT, Batch(Readings.empty(1)))
    sink.commit({("in", 0): 1})
    sink.commit(None)
    sink.close()
    sink.close()
