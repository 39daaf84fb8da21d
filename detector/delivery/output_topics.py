"""Keep the output topics and the state topic in step with the input, at the start and while running.

The state of an input partition lies in the state partition of the same number. So the state topic must have
as many partitions as the input topic, or the largest of several. A thread
looks at the topics now and then. Whatever was deleted is created again before the producer gives up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from connectors.errors import KafkaError
from connectors.kafka.admin.growth import TopicFacts, grow, look_up
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch
from detector import logs
from detector.config.load import Config
from detector.delivery.decisions.decision_topic import decisions_topic
from detector.delivery.messages import Topics
from detector.delivery.saved.input_topics import InputTopics
from detector.errors import ConfigError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
_DEAD_LETTER_BYTES = 2 << 20
STATE_BYTES = 16 << 20
_STATE_SETTINGS = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(STATE_BYTES),
    "segment.ms": "600000",  # only closed segments are compacted, and recovery reads all that is not
    "min.cleanable.dirty.ratio": "0.2",
}


class OutputTopics:
    """Create and grow the topics that the daemon writes.

    `ensure` may be called from any thread. `prepare` and `has_new_state_topic` belong to the loop's thread.
    """

    def __init__(
        self, connection: Connection, config: Config, topics: Topics, numbers: PartitionNumbers | None = None
    ) -> None:
        """Look at nothing yet.

        Args:
            connection: how to reach the cluster.
            config: sections [kafka], [output] and [recovery].
            topics: what the daemon writes.
            numbers: of the partitions of the input; None: those of one topic.
        """
        self._connection, self._numbers = connection, numbers or PartitionNumbers(config.kafka.topic)
        self._inputs = InputTopics(connection, config)
        self._may_create = config.output.create_topics
        self._state = topics.state if config.recovery.max_replay_rows else None
        room = {"max.message.bytes": str(_DEAD_LETTER_BYTES)}
        self._outputs = [
            TopicSpec(topics.scores),
            TopicSpec(topics.alerts),
            # As large as an input message with its headers.
            TopicSpec(topics.dead_letters, settings=room),
        ]
        self._decisions = decisions_topic(topics.decisions)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._look_now_and_then, name="topics", daemon=True)
        self._num_partitions = 0
        self._state_identity, self._is_state_new = "", False
        self._refused: set[str] = set()

    def ensure(self) -> None:
        """Create the topics that are missing and add the partitions that are missing.

        1. Look up all topics; without any input there is nothing to do.
        2. Create the missing ones, with as many partitions as the input.
        3. Grow the others to the number of the input. Outputs work with fewer: a refusal is logged once.
        4. Note whether the state topic is another one than before.

        Raises:
            ConfigError: the state topic is missing or has fewer partitions than the input, and this process
                may not change that; with the command to run.
            KafkaError: the cluster does not answer, or a topic cannot be created.
        """
        with self._lock:
            names = [self._decisions.name, *(spec.name for spec in self._wanted(1))]
            inputs, found = self._inputs.look_up(names)  # 1
            if not inputs:
                return
            num_partitions = max(facts.num_partitions for facts in inputs.values())
            wanted = self._wanted(num_partitions)
            missing = [spec for spec in (*wanted, self._decisions) if spec.name not in found]
            if missing and self._may_create:  # 2
                ensure_topics(self._connection, missing)
                found |= look_up(self._connection, [spec.name for spec in missing])
            for spec in wanted:  # 3
                self._grow(spec.name, found, num_partitions)
            if 0 < self._num_partitions < num_partitions:
                logs.event(
                    f"partitions were added to the {self._inputs.shown}",
                    partitions=num_partitions,
                    before=self._num_partitions,
                )
            self._num_partitions = num_partitions
            if self._state in found:  # 4
                self._note_state(found[self._state].identity)

    def prepare(self, batch: Batch) -> None:
        """Make room for partitions that were added to the input, before their state is read or written."""
        needed = max((self._numbers.place(number)[1] for number in batch.assigned), default=-1)
        if needed >= self._num_partitions:
            self.ensure()

    def has_new_state_topic(self) -> bool:
        """Return, once, whether the state topic was deleted and created again: all state must be saved."""
        is_new, self._is_state_new = self._is_state_new, False
        return is_new

    def start(self) -> None:
        """Look at the topics now and then, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; a look in progress is not waited for long."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _wanted(self, num_partitions: int) -> list[TopicSpec]:
        state = (
            [] if self._state is None else [TopicSpec(self._state, num_partitions, settings=_STATE_SETTINGS)]
        )
        outputs = [TopicSpec(one.name, num_partitions, settings=one.settings) for one in self._outputs]
        return outputs + state

    def _grow(self, topic: str, found: Mapping[str, TopicFacts], num_partitions: int) -> None:
        has = found[topic].num_partitions if topic in found else 0
        if has >= num_partitions or (topic != self._state and not self._may_create):
            return
        try:
            if not (has and self._may_create):
                raise KafkaError(_by_hand(self._connection, topic, has, num_partitions))
            grow(self._connection, topic, num_partitions)
        except KafkaError as error:
            if topic == self._state:
                raise ConfigError(
                    f"[recovery] topic {topic} has {has} partitions, the {self._inputs.shown}"
                    f" {num_partitions}: {error}; or set max_replay_rows = 0 to run without saved state"
                ) from error
            if topic not in self._refused:
                self._refused.add(topic)
                logs.event(
                    "output topic has fewer partitions", logging.WARNING, topic=topic, error=str(error)
                )

    def _note_state(self, identity: str) -> None:
        before, self._state_identity = self._state_identity, identity
        if before and identity and before != identity:
            self._is_state_new = True
            logs.event(
                "state topic was recreated: all state is saved again", logging.WARNING, topic=self._state
            )

    def _look_now_and_then(self) -> None:
        is_failing = False
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.ensure()
                is_failing = False
            except (ConfigError, KafkaError) as error:
                if not is_failing:  # once, not with every look: an outage has warnings of its own
                    logs.event("cannot look after the output topics", logging.WARNING, error=str(error))
                is_failing = True
            except Exception:
                # A thread that ended here would leave new partitions without state, unnoticed.
                logger.exception("the look after the output topics failed, and is tried again")


def _by_hand(connection: Connection, topic: str, has: int, num_partitions: int) -> str:
    tool = f"kafka-topics.sh --bootstrap-server {connection.bootstrap_servers[0]}"
    if has:
        return f"run `{tool} --alter --topic {topic} --partitions {num_partitions}`"
    create = f"{tool} --create --topic {topic} --partitions {num_partitions} --config cleanup.policy=compact"
    return f"run `{create}`"
