"""Assigns partitions to the members of a group, and notices when that was done with outdated metadata.

The client compares its metadata from before an assignment with later metadata, and assigns by what it knows
in between. If the topic disappears or grows in that moment, the client never sees the difference. Partitions
then stay unassigned, and nothing is read.
"""

from __future__ import annotations

from typing import Any

from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor


class WatchedStickyAssignor(StickyPartitionAssignor):  # type: ignore[misc]
    """Keeps the partitions that the last assignment by this process distributed. Not thread-safe."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic
        self._distributed: frozenset[int] | None = None

    def assign(self, cluster: Any, members: Any) -> Any:
        """Assign as the client does, and note which partitions of the topic were known."""
        self._distributed = frozenset(cluster.partitions_for_topic(self._topic) or ())
        return super().assign(cluster, members)

    def is_outdated(self, partitions: frozenset[int]) -> bool:
        """Whether the last assignment distributed other partitions than these; then forget it."""
        if self._distributed is None or self._distributed == partitions:
            return False
        self._distributed = None
        return True
