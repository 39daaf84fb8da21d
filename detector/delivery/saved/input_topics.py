"""Which input topics there are, and which ones are missing."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from connectors.kafka.admin.growth import TopicFacts, look_up, look_up_inputs
from connectors.kafka.admin.topic_names import is_pattern, reads
from connectors.kafka.connection import Connection
from detector import logs
from detector.config.input.topics import own_topics
from detector.config.load import Config


class InputTopics:
    """Looks up the topics of [kafka]; logs each that comes or goes, once. Not thread-safe."""

    def __init__(self, connection: Connection, config: Config) -> None:
        self._connection, self._topic = connection, config.kafka.topic
        self._wanted, self._own = config.kafka.topics, own_topics(config.output.prefix)
        self._known: frozenset[str] | None = None
        self._missing: frozenset[str] = frozenset()

    @property
    def shown(self) -> str:
        """What is read, for sentences."""
        return "input topic" if self._topic else "largest input topic"

    def look_up(self, others: Sequence[str]) -> tuple[dict[str, TopicFacts], dict[str, TopicFacts]]:
        """Return the input topics that exist, and those of the other topics. Raises KafkaError."""
        if self._topic:
            found = look_up(self._connection, [self._topic, *others])
            inputs = {name: found.pop(name) for name in (self._topic,) if name in found}
        else:
            inputs = look_up_inputs(self._connection, self._wanted, self._own)
            found = look_up(self._connection, others) if inputs else {}
        self._note(frozenset(inputs))
        return inputs, found

    def _note(self, found: frozenset[str]) -> None:
        """Log what has changed. A pattern that no topic matches counts as missing, too."""
        wanted = self._wanted or (self._topic,)
        missing = frozenset(
            one for one in wanted if not any(reads((one,), topic, self._own) for topic in found)
        )
        for one in sorted(missing - self._missing):
            if is_pattern(one):
                logs.event("no input topic matches: waiting until one is created", logging.WARNING, topic=one)
            else:
                again = "" if self._known is None else " again"
                event = f"input topic does not exist: waiting until it is created{again}"
                logs.event(event, logging.ERROR, topic=one)
        for one in sorted(self._missing - missing):
            again = " again" if one in (self._known or ()) else ""
            logs.event(f"input topic is there{again}", topic=one)
        new = sorted(found - (self._known or found))
        if new and self._wanted:
            logs.event("further input topics are read from now on", topics=new)
        self._known, self._missing = found | (self._known or frozenset()), missing
