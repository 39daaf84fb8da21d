"""What of a log was deleted before we had read it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition
from kafka.protocol.consumer import OffsetResetStrategy


class DeletedOffsets:
    """Notices when a consumer asks for an offset that the log does not hold any more, and lets it go on at
    the oldest one: by `auto_offset_reset = latest`, which is meant for groups that begin, the client would
    pass over everything that is left. The client itself says nothing of it but in its log.

    The client may call on its network thread. It takes its state's method from the instance (kafka-python
    3.0.12, which is pinned; tests/connectors/kafka/test_source.py would notice another).
    """

    def __init__(self, subscription: Any) -> None:
        """`subscription` is the consumer's state of subscriptions."""
        self._lock = threading.Lock()
        self._wanted: dict[TopicPartition, int] = {}
        self._subscription, self._reset = subscription, subscription.request_offset_reset
        subscription.request_offset_reset = self._request

    def _request(self, partition: TopicPartition, strategy: int | None = None) -> None:
        state = self._subscription.assignment.get(partition)
        if strategy is None and state is not None and state.position is not None:
            strategy = OffsetResetStrategy.EARLIEST
            with self._lock:
                self._wanted[partition] = state.position.offset
        self._reset(partition, strategy)

    def forget(self, partition: TopicPartition) -> None:
        """It is read from elsewhere, or by others."""
        with self._lock:
            self._wanted.pop(partition, None)

    def passed(
        self, positions: Mapping[TopicPartition, int], records: Mapping[TopicPartition, list[Any]]
    ) -> dict[TopicPartition, tuple[int, int]]:
        """(offset wanted, offset where we went on) of each partition that has gone on by now, told once.

        `positions` are the offsets to be read next, of those that are asked about; of `records`, which were
        just read, some may be older."""
        gone = {}
        with self._lock:
            for tp, wanted in self._wanted.items():
                newer = (record.offset for record in records.get(tp, ()) if record.offset > wanted)
                at = next(newer, positions.get(tp, wanted))
                if at != wanted:
                    gone[tp] = (wanted, at)
            for tp in gone:
                del self._wanted[tp]
        return gone
