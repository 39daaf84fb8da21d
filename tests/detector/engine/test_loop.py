"""The loop: its order, its promise when a step fails, its end."""

from __future__ import annotations

import numpy as np
import pytest

from connectors.errors import KafkaError
from connectors.records import Batch, Position, Readings
from detector.delivery.messages import MessageEncoder, Topics
from detector.delivery.sink import MessageSink
from detector.engine.engine import Engine, StepResult
from detector.engine.loop import Turn, run
from tests.support.artifacts import make_artifact
from tests.support.strategies import readings_of

TOPIC = "readings"


class Script:
    """A source that plays batches and then ends."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def poll(self, timeout_seconds: float) -> Batch | None:
        return self.batches.pop(0) if self.batches else None

    def close(self) -> None:
        """Nothing to release."""


class Outbox:
    """A delivery that keeps its messages and fails on demand."""

    def __init__(self, fail_at: int = -1) -> None:
        self.delivered: list[tuple[int, dict]] = []
        self.fail_at = fail_at

    def deliver(self, messages: list, position: Position, state: list) -> None:
        assert not state
        if len(self.delivered) == self.fail_at:
            raise KafkaError("the broker is gone")
        self.delivered.append((len(messages), dict(position)))


def batch(start: int, num_rows: int, offset: int, **more: object) -> Batch:
    values = np.random.default_rng(start).standard_normal((num_rows, 2))
    times = (start + np.arange(num_rows)) * 10**9
    return Batch(readings_of(np.zeros(num_rows, int), times, values), position={(TOPIC, 0): offset}, **more)


def sink_into(outbox: Outbox) -> MessageSink:
    return MessageSink(MessageEncoder(Topics.of("out"), "pump", "v1", ("flow", "pressure")), outbox)


def test_each_batch_is_delivered_with_its_position_and_the_end_flushes() -> None:
    outbox, turns = Outbox(), []
    run(
        Script([batch(0, 10, 10), batch(10, 5, 15)]),
        Engine(make_artifact(threshold=1e9)),
        sink_into(outbox),
        on_turn=turns.append,
    )
    assert outbox.delivered == [(1, {(TOPIC, 0): 10}), (1, {(TOPIC, 0): 15}), (1, {})]
    assert [len(turn.result.verdicts) for turn in turns] == [9, 5]
    assert all(isinstance(turn, Turn) and turn.step_seconds > 0 for turn in turns)


def test_when_delivery_fails_the_position_stays_and_the_error_comes_through() -> None:
    outbox, source = Outbox(fail_at=1), Script([batch(0, 10, 10), batch(10, 5, 15), batch(15, 5, 20)])
    with pytest.raises(KafkaError, match="the broker is gone"):
        run(source, Engine(make_artifact(threshold=1e9)), sink_into(outbox))
    assert outbox.delivered == [(1, {(TOPIC, 0): 10})]
    assert len(source.batches) == 1


def test_a_stop_ends_after_the_batch_in_hand() -> None:
    outbox, stops = Outbox(), iter([False, True])
    run(
        Script([batch(0, 10, 10), batch(10, 5, 15)]),
        Engine(make_artifact(threshold=1e9)),
        sink_into(outbox),
        lambda: next(stops),
    )
    assert [position for _, position in outbox.delivered] == [{(TOPIC, 0): 10}]


def test_lost_partitions_are_forgotten_before_the_batch_is_judged() -> None:
    engine = Engine(make_artifact())
    batches = [batch(0, 20, 20), batch(20, 10, 30, lost=frozenset([0]))]
    results: list[StepResult] = []
    run(Script(batches), engine, sink_into(Outbox()), on_turn=lambda turn: results.append(turn.result))
    assert np.isnan(results[1].verdicts.score[:7]).all()  # the window starts empty again


def test_an_empty_poll_commits_nothing() -> None:
    outbox = Outbox()
    run(
        Script([Batch(Readings.empty(2), position={})]),
        Engine(make_artifact(threshold=1e9)),
        sink_into(outbox),
    )
    assert outbox.delivered == []
