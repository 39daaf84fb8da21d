"""Looks up topics and adds partitions to them."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kafka import errors

from connectors.errors import KafkaError
from connectors.kafka.admin.topic_names import is_pattern, reads
from connectors.kafka.cluster import admin_client, identity_of, one_line, translated
from connectors.kafka.connection import Connection

logger = logging.getLogger(__name__)

_VISIBLE_SECONDS, _LOOK_SECONDS = 15.0, 0.1


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the cluster knows about a topic.

    identity        differs between a topic and its successor of the same name; "" where the broker has none
    num_partitions  above 0
    """

    identity: str
    num_partitions: int


def look_up(
    connection: Connection, names: Sequence[str], timeout_seconds: float = 30.0
) -> dict[str, TopicFacts]:
    """Return the facts of those topics that exist and that this login may see. Raises KafkaError."""
    with translated(connection, "cannot look up topics"), admin_client(connection, timeout_seconds) as admin:
        return {
            found["name"]: TopicFacts(identity_of(found.get("topic_id")), len(found["partitions"]))
            for found in admin.describe_topics(list(names))
            if not found["error_code"]
        }


def look_up_inputs(
    connection: Connection,
    wanted: Sequence[str],
    excluded: Collection[str] = (),
    timeout_seconds: float = 30.0,
) -> dict[str, TopicFacts]:
    """Return the facts of those topics that exist and are wanted, by name or by pattern.

    Raises:
        KafkaError: the cluster does not answer.
    """
    names = [one for one in wanted if not is_pattern(one)]
    if len(names) < len(wanted):
        with (
            translated(connection, "cannot list topics"),
            admin_client(connection, timeout_seconds) as admin,
        ):
            names = [one for one in admin.list_topics() if reads(wanted, one, excluded)]
    return look_up(connection, names, timeout_seconds) if names else {}


def grow(connection: Connection, topic: str, num_partitions: int) -> None:
    """Add partitions to an existing topic until it has `num_partitions`; return when all can be seen.

    Raises:
        KafkaError: with the command to run, if this login may not do it or the broker refuses.
    """
    by_hand = (
        f"kafka-topics.sh --bootstrap-server {connection.bootstrap_servers[0]} --alter --topic {topic}"
        f" --partitions {num_partitions}"
    )
    try:
        with admin_client(connection) as admin:
            admin.create_partitions({topic: num_partitions})
    except errors.InvalidPartitionsError:
        logger.info("another process has added partitions to topic %s", topic)
    except (errors.KafkaError, OSError) as error:
        raise KafkaError(
            f"cannot add partitions to topic {topic} at {connection.servers} ({one_line(error)}); run"
            f" `{by_hand}`, or allow this login to alter the topic"
        ) from error
    else:
        logger.warning("added partitions to topic %s: it has %d now", topic, num_partitions)
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while time.monotonic() < deadline:
        found = look_up(connection, [topic]).get(topic)
        if found is not None and found.num_partitions >= num_partitions:
            return
        time.sleep(_LOOK_SECONDS)
    raise KafkaError(
        f"topic {topic} at {connection.servers} does not show its new partitions; run `{by_hand}`"
    )
