"""What a member of a group reads beside the positions of its partitions. The client is a scripted one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition

from connectors.kafka import group_reader
from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.group_reader import GroupReader

PARTITIONS = [TopicPartition("alerts", number) for number in range(3)]
COMMITTED = {
    PARTITIONS[0]: OffsetAndMetadata(5, '{"folds":[]}', -1),
    PARTITIONS[1]: OffsetAndMetadata(7, "", -1),
}
"""A member of an older version committed beside partition 1, and nobody beside partition 2."""


class Client:
    """Gets all partitions with its first poll."""

    def __init__(self, **_: Any) -> None:
        self._listener: ConsumerRebalanceListener | None = None

    def subscribe(self, _: list[str], listener: ConsumerRebalanceListener) -> None:
        self._listener = listener

    def partitions_for_topic(self, _: str) -> None:
        """Nothing is asked for the answer."""

    def poll(self, **_: Any) -> dict[TopicPartition, list[object]]:
        if self._listener is not None:
            self._listener.on_partitions_assigned(set(PARTITIONS))
            self._listener = None
        return {}

    def assignment(self) -> set[TopicPartition]:
        return set(PARTITIONS)

    def committed(self, tp: TopicPartition, **_: Any) -> OffsetAndMetadata | None:
        return COMMITTED.get(tp)

    def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 9)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert 0 <= offset <= 9


def test_an_assignment_brings_the_text_of_each_partition_that_has_a_position_empty_ones_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_reader, "KafkaConsumer", Client)
    reader = GroupReader(Connection(("localhost:9",)), ConsumerOptions("alerts", "g"), 100, 0)
    polled = reader.poll(0.0, 10)
    assert polled.is_reassigned
    assert polled.notes == {0: '{"folds":[]}', 1: ""}
