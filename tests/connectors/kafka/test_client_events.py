"""What the client reports on its network thread, and when the reader has acted on it; no broker."""

from __future__ import annotations

from kafka import TopicPartition

from connectors.kafka.client_events import Rebalances
from connectors.partition_numbers import PartitionNumbers

ONE, TWO = TopicPartition("readings", 1), TopicPartition("readings", 2)


def test_an_assignment_is_followed_only_when_the_reader_has_acted_on_it() -> None:
    rebalances = Rebalances(PartitionNumbers("readings"))
    assert not rebalances.is_followed
    rebalances.on_partitions_assigned({ONE})
    assert rebalances.joined
    assert not rebalances.is_followed, "the reader does not know of it yet"
    rebalances.take_lost()
    assert not rebalances.is_followed, "it knows, and reads the committed offsets"
    rebalances.follow()
    assert rebalances.is_followed


def test_an_assignment_that_comes_while_the_reader_acts_on_an_older_one_is_not_followed() -> None:
    rebalances = Rebalances(PartitionNumbers("readings"))
    rebalances.on_partitions_assigned({ONE})
    rebalances.take_lost()
    rebalances.on_partitions_revoked({ONE})
    rebalances.on_partitions_assigned({ONE, TWO})
    rebalances.follow()
    assert not rebalances.is_followed
    rebalances.take_lost()
    rebalances.follow()
    assert rebalances.is_followed


def test_a_revocation_ends_it() -> None:
    rebalances = Rebalances(PartitionNumbers("readings"))
    rebalances.on_partitions_assigned({ONE, TWO})
    rebalances.take_lost()
    rebalances.follow()
    rebalances.on_partitions_revoked({ONE, TWO})
    assert not rebalances.is_followed
