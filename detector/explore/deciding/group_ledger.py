"""The decisions of a running group: its topic, and what its daemons made of each in the archive."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from connectors.errors import KafkaError
from connectors.kafka.connection import Connection
from detector.delivery.decisions.decision_topic import DecisionReader, write_decision
from detector.explore.deciding.ledger import Entry, LedgerError, entry_of
from detector.explore.store.database import Database
from detector.incidents.decision import Decision


class GroupLedger:
    """Writes to the topic of decisions and follows it.

    Args:
        connection: how to reach the cluster.
        topic: the topic of decisions.
        database: the archive; its table `decisions` has the outcome of each, as a daemon wrote it.
    """

    def __init__(self, connection: Connection, topic: str, database: Database) -> None:
        self._connection, self._topic, self._database = connection, topic, database
        self._lock = threading.Lock()
        self._source = 0
        self._known: dict[str, Decision] = {}
        self._reader = DecisionReader(connection, topic)
        self._reader.start()

    @property
    def place(self) -> str:
        """The topic."""
        return f"topic {self._topic}"

    def write(self, decision: Decision) -> None:
        """Write a decision and wait until the cluster has acknowledged it. Raises LedgerError."""
        try:
            write_decision(self._connection, self._topic, decision)
        except KafkaError as error:
            raise LedgerError(f"the decision was not written: {error}") from error
        with self._lock:
            self._known.setdefault(decision.id, decision)

    def entries(self) -> Sequence[Entry]:
        """Return what the topic holds, with the outcome of each."""
        with self._lock:
            source, found = self._reader.take()
            if source != self._source:
                self._source = source
                self._known.clear()
            self._known |= {one.id: one for _, one in found}
            known = tuple(self._known.values())
        told = self._database.execute(
            "SELECT id, outcome, epoch_ns(since) FROM decisions WHERE outcome IS NOT NULL"
        )
        outcomes = {name: (outcome, since) for name, outcome, since in told}
        return tuple(_entry(one, *outcomes.get(one.id, (None, None))) for one in known)

    def command(self) -> str | None:
        """Return None: the effect shows by itself, with the next row of the series."""
        return None

    def close(self) -> None:
        """Stop to follow the topic."""
        self._reader.close()


def _entry(decision: Decision, outcome: str | None, since_ns: int | None) -> Entry:
    return entry_of(decision if since_ns is None else replace(decision, at_ns=since_ns), outcome)
