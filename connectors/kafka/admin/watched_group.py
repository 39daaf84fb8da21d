"""Looks at a consumer group and its input from outside, without joining it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient, TopicPartition, errors
from kafka.admin import OffsetSpec

from connectors.kafka.admin.topic_names import is_pattern, reads
from connectors.kafka.cluster import admin_client, translated
from connectors.kafka.connection import Connection

_HIDDEN = (errors.AuthorizationError, errors.UnsupportedVersionError)
_UNSETTLED = (errors.CoordinatorNotAvailableError, errors.NotCoordinatorError)
"""Nobody has looked after groups yet: the cluster is new, or a broker was lost."""
_UNREADABLE = (ValueError,)
"""The client raises it for rights that it does not know; brokers other than Apache Kafka send such."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What can be seen of a group; None where this login may not see it, or nobody can tell at the moment.

    members   how many processes it has
    readings  the end of its input: grows with each message
    """

    members: int | None
    readings: int | None


def watch(
    connection: Connection,
    group_id: str,
    wanted: Sequence[str],
    excluded: Collection[str] = (),
    timeout_seconds: float = 30.0,
) -> GroupFacts:
    """Return what can be seen of a group that reads topics, by names and patterns, without the excluded ones.

    Raises:
        KafkaError: the cluster does not answer.
    """
    with (
        translated(connection, f"cannot look at group {group_id}"),
        admin_client(connection, timeout_seconds) as admin,
    ):
        return GroupFacts(_members(admin, group_id), _end(admin, wanted, excluded))


def _members(admin: KafkaAdminClient, group_id: str) -> int | None:
    try:
        return len(admin.describe_groups([group_id])[group_id]["members"])
    except errors.GroupIdNotFoundError:
        return 0
    except (*_HIDDEN, *_UNSETTLED, *_UNREADABLE):
        return None


def _end(admin: KafkaAdminClient, wanted: Sequence[str], excluded: Collection[str]) -> int | None:
    try:
        topics = list(wanted)
        if any(map(is_pattern, wanted)):
            topics = [one for one in admin.list_topics() if reads(wanted, one, excluded)]
        places = {
            TopicPartition(found["name"], one["partition_index"]): OffsetSpec.LATEST
            for found in admin.describe_topics(topics)
            for one in found["partitions"]
        }
        return sum(int(one.offset) for one in admin.list_partition_offsets(places).values())
    except (errors.UnknownTopicOrPartitionError, *_HIDDEN):
        return None
