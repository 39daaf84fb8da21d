"""What a notifier remembers between requests: delivered changes, and incidents open before it existed."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from connectors.kafka.group_reader import Read
from detector.notify.notice import Notice

MAX_KEYS = 50_000


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
