"""Delivers results without Kafka, and commits state, position and lengths of files together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from connectors.local.source import LocalSource
from connectors.local.store import Length, LocalStore
from connectors.records import Message, Position


class Outputs(Protocol):
    """Writes the results of a daemon without Kafka."""

    def produce(self, messages: Sequence[Message]) -> None:
        """Write the messages in order; return once they are safe, else raise ConnectorError or OSError."""

    def lengths(self) -> Mapping[str, Length]:
        """Return how long the files are now that were written since the last call; none of other outputs."""

    def close(self) -> None:
        """Release what is open. May be called more than once."""


class LocalDelivery:
    """Promise: a position is committed only after every message that results from it is written.

    State, position and the lengths of output files are one transaction of the store. After a kill, files are
    cut to their committed lengths, so that each result is there once. Outputs that cannot be cut, standard
    output and MQTT, have the results of the batch in progress once or twice.
    """

    def __init__(self, outputs: Outputs, store: LocalStore, source: LocalSource, alerts: str | None) -> None:
        """Deliver to `outputs`; messages of the topic `alerts` are also kept for the notifiers."""
        self._outputs, self._store, self._source, self._alerts = outputs, store, source, alerts

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        """1 write the messages, 2 commit the rest in one transaction, 3 tell the source.

        Args:
            messages: the results of the batch.
            position: the offsets behind the batch.
            state: saved state.

        Raises:
            ConnectorError, OSError: nothing is committed; the batch is read again after a restart.
        """
        self._outputs.produce(messages)  # 1
        alerts = [message.value or b"" for message in messages if message.topic == self._alerts]
        step = replace(
            self._source.step(position), state=state, lengths=self._outputs.lengths(), alerts=alerts
        )
        self._store.commit(step)  # 2
        self._source.delivered(position)  # 3
