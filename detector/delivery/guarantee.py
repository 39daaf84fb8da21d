"""Choose the delivery guarantee: exactly once where the cluster has transactions, else at least once."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from connectors.errors import TransactionsUnsupportedError
from connectors.kafka.compacted_topic import read_state
from connectors.kafka.connection import Connection, ProducerOptions
from connectors.kafka.delivery import AtLeastOnce, ExactlyOnce, Watch
from connectors.kafka.producer import Producer
from connectors.kafka.transactions import Transactions
from connectors.partition_numbers import PartitionNumbers
from connectors.records import StreamSource
from detector.config.load import Config
from detector.delivery.deleted_input import Deletions
from detector.delivery.messages import Topics
from detector.delivery.output_topics import STATE_BYTES
from detector.delivery.recovery import Recovery
from detector.delivery.sink import Delivery


class Closes(Protocol):
    """Has something to release."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ChosenGuarantee:
    """Hold the guarantee in force.

    mode      "exactly_once", "at_least_once" or "at_most_once"
    reason    why it was chosen, for the log
    delivery  writes messages and commits positions
    client    the producer behind it, to be closed
    """

    mode: str
    reason: str
    delivery: Delivery
    client: Closes


def choose(
    config: Config, connection: Connection, source: StreamSource, http_port: int, watch: Watch
) -> ChosenGuarantee:
    """Start the producer that `delivery.mode` asks for; mode `auto` tries transactions first.

    Args:
        config: sections [delivery] and [kafka].
        connection: how to reach the cluster.
        source: the input, whose positions are committed.
        http_port: the port of our HTTP server, part of the default transactional id.
        watch: called after every transaction with its outcome and duration.

    Raises:
        TransactionsUnsupportedError: mode `exactly_once` on a cluster without transactions.
        KafkaError: the cluster cannot be reached or refuses access.
    """
    options = ProducerOptions(compression=config.kafka.compression, max_message_bytes=STATE_BYTES)
    mode, reason = config.delivery.mode, "as configured"
    if mode != "at_least_once":
        timeout = config.delivery.transaction_timeout
        try:
            transactions = Transactions(connection, options, transactional_id(config, http_port), timeout)
        except TransactionsUnsupportedError as error:
            if mode == "exactly_once":
                raise
            reason = f"no transactions: {error}"
        else:
            reason = "as configured" if mode == "exactly_once" else "the cluster has transactions"
            return ChosenGuarantee(
                "exactly_once", reason, ExactlyOnce(transactions, source, watch), transactions
            )
    producer = Producer(connection, options)
    return ChosenGuarantee("at_least_once", reason, AtLeastOnce(producer, source), producer)


def transactional_id(config: Config, http_port: int) -> str:
    """Return an id that stays the same over a restart and is never that of another process of the group.

    A restarted process with its old id ends the transaction that it left open at once. The instance id
    belongs to one process, and so does a port of a host.
    """
    if config.delivery.transactional_id:
        return config.delivery.transactional_id
    own = config.kafka.group_instance_id
    if own is None:
        own = f"{socket.gethostname()}-{http_port}" if config.http.port else uuid.uuid4().hex
    return f"{config.kafka.group_id}-{own}"


def recovery_of(
    config: Config, connection: Connection, numbers: PartitionNumbers, deletions: Deletions
) -> Recovery | None:
    """Return the recovery that [recovery] asks for; None where no state is saved."""
    if not config.recovery.max_replay_rows:
        return None
    topic = Topics.of(config.output.prefix).state
    read = partial(read_state, connection, topic)
    return Recovery(read, topic, numbers, config.recovery.max_replay_rows, deletions)
