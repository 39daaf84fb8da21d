"""What a notifier remembers between requests: delivered changes, and incidents open before it existed."""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple

from connectors.kafka.group_reader import Read
from detector.notify.notice import Notice

MAX_KEYS = 50_000
_HOLD_SECONDS = 30.0


class Delivered:
    """The keys of the newest `capacity` delivered changes.

    The topic may repeat a change. A change whose key is here needs no second request.
    """

    def __init__(self, capacity: int = MAX_KEYS) -> None:
        self._capacity = capacity
        self._keys: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, notice: Notice) -> bool:
        return notice.key in self._keys

    def add(self, notice: Notice) -> None:
        """Remember this change; forget the oldest one beyond the capacity."""
        self._keys[notice.key] = None
        if len(self._keys) > self._capacity:
            self._keys.popitem(last=False)


class ReadBack:
    """Changes that were delivered already, until those of all partitions are read.

    A receiver that groups incidents needs their order. Partitions are read in no fixed order.
    """

    def __init__(self) -> None:
        self._read: list[tuple[Notice, Read]] = []
        self._began = 0.0

    def __bool__(self) -> bool:
        return bool(self._read)

    @property
    def is_due(self) -> bool:
        """Whether these wait for so long that a partition may not be readable."""
        return bool(self._read) and time.monotonic() - self._began > _HOLD_SECONDS

    def add(self, notice: Notice, message: Read) -> None:
        """Remember a change, and the message that brought it."""
        self._began = self._began if self._read else time.monotonic()
        self._read.append((notice, message))

    def take(self) -> list[tuple[Notice, Read]]:
        """Return the changes in one order, whatever was read first, and forget them.

        They are ordered by their time. Equal ones are in the order of their messages, as they were sent.
        """

        def place(one: tuple[Notice, Read]) -> tuple[datetime, int, int, int]:
            notice, message = one
            return notice.at, message.time_ms, message.partition, message.offset

        found = sorted(self._read, key=place)
        self.clear()
        return found

    def clear(self) -> None:
        """Forget all changes: their messages are read again."""
        self._read = []


class OpenIncident(NamedTuple):
    """The newest change of an open incident, and the message that brought it."""

    notice: Notice
    message: Read


class OpenIncidents:
    """Incidents that were already open when a new consumer group began, by partition.

    The new group delivers these first, and nothing else that is older than the group.
    """

    def __init__(self) -> None:
        self._of_partition: dict[int, dict[str, OpenIncident]] = {}

    def update(self, notice: Notice, message: Read) -> None:
        """Apply one change that is older than the group, in the order of the topic."""
        incidents = self._of_partition.setdefault(message.partition, {})
        incidents.pop(notice.id, None)
        if not notice.is_resolved:
            incidents[notice.id] = OpenIncident(notice, message)

    def take(self, partition: int) -> list[OpenIncident]:
        """Return the open incidents of this partition, oldest change first, and forget them."""
        return list(self._of_partition.pop(partition, {}).values())

    def clear(self) -> None:
        """Forget all partitions: their messages are read again."""
        self._of_partition.clear()
