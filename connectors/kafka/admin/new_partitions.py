"""Where partitions begin that the group has never committed, if a new group begins at the end (`latest`)."""

from __future__ import annotations

from collections.abc import Collection

from connectors.kafka.topic_consumer import TopicConsumer


class NewPartitions:
    """Tells partitions that were added, or whose topic was, from those of a new group. Not thread-safe.

    `latest` is meant for a new group alone. For a partition that is added later it would skip what producers
    wrote before this process noticed it. So a new group commits the end of every partition at once. From then
    on a partition without a commit is one that was added, and it is read from its oldest message.

    Only the process that holds the first partition of all commits for a new group, and in one request. So
    every other process sees all of these commits or none.
    """

    def __init__(self, consumer: TopicConsumer, begins_at_end: bool) -> None:
        self._consumer, self._begins_at_end = consumer, begins_at_end

    def begins(self, assigned: Collection[int]) -> dict[int, int]:
        """Return partition -> offset to begin at, of those assigned partitions that were added to the topic.

        Raises:
            KafkaError: the offsets cannot be looked up or committed.
        """
        if not (self._begins_at_end and assigned):
            return {}
        every = self._consumer.partitions()
        committed = self._consumer.committed(every)
        if any(at is not None for at in committed.values()):
            added = [number for number in assigned if committed.get(number) is None]
            return self._consumer.earliest(added) if added else {}
        if min(every, key=self._consumer.numbers.place, default=None) in assigned:
            self._consumer.commit(self._consumer.ends(every))
        return {}
