"""Reads messages of MQTT, and acknowledges them once their results are out.

Promise: at least once for messages of quality 1. The broker keeps each message until it is acknowledged,
and that happens after its results are out and its state is saved. After a kill, messages in between come
again. Messages of quality 0 have no such promise: what quality a message has, its publisher decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.local.source import Feed
from connectors.local.store import Segment
from connectors.mqtt.client import MqttClient, Received
from connectors.records import Raw


class MqttFeed:
    """A feed over a subscription. The topic of a message is that of MQTT, its headers are user properties."""

    def __init__(self, client: MqttClient) -> None:
        """Read from a client that is connected; its maker closes it."""
        self._client = client
        self._uncommitted: deque[tuple[Raw, Received]] = deque()
        self._again: deque[Raw] = deque()

    def seek(self, offset: int) -> int:
        """Give again what was not committed; everything else comes from the broker or not at all."""
        self._again = deque(raw for raw, _ in self._uncommitted if raw.offset >= offset)
        return self._again[0].offset if self._again else offset

    def fetch(self, first: int, limit: int, timeout_seconds: float) -> list[Raw]:
        """Return messages, with the time at which they came. Raises MqttError."""
        if self._again:
            return [self._again.popleft() for _ in range(min(limit, len(self._again)))]
        found = [
            (Raw(one.topic, 0, first + number, one.time_ms, None, one.payload, one.properties), one)
            for number, one in enumerate(self._client.take(limit, timeout_seconds))
        ]
        self._uncommitted.extend(found)
        return [raw for raw, _ in found]

    def take_segments(self) -> Sequence[Segment]:
        """Return none: a broker has no places."""
        return ()

    def committed(self, offset: int) -> None:
        """Acknowledge everything before `offset`."""
        done = []
        while self._uncommitted and self._uncommitted[0][0].offset < offset:
            done.append(self._uncommitted.popleft()[1])
        self._client.acknowledge(done)

    def earliest(self, committed: int) -> int:
        """Return the committed offset: nothing before it comes again."""
        return committed

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands and the topics are subscribed."""
        return self._client.is_connected

    def close(self) -> None:
        """Do nothing: the broker keeps what is not acknowledged, and the client may still publish."""


if TYPE_CHECKING:
    _: type[Feed] = MqttFeed
