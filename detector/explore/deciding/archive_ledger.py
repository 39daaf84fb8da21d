"""The decisions of an archive whose group is not known here: they can be read, and none can be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from detector.explore.deciding.ledger import Entry, LedgerError, entry_of
from detector.explore.store.database import Database
from detector.incidents.decision import Action, Decision

_ACTIONS: dict[str, Action] = {one: one for one in get_args(Action)}


class ArchiveLedger:
    """Reads the table `decisions` of an archive.

    Args:
        database: the archive.
        place: of the archive, for people.
    """

    def __init__(self, database: Database, place: str) -> None:
        self._database, self._place = database, place

    @property
    def place(self) -> str:
        """The place of the archive."""
        return self._place

    def write(self, decision: Decision) -> None:
        """Refuse. Raises LedgerError."""
        raise LedgerError("the decision was not written: the configuration of the group is not known here")

    def entries(self) -> Sequence[Entry]:
        """Return what the archive holds, in the order in which it was read."""
        rows = self._database.execute(
            "SELECT id, action, series, incident, who, why, epoch_ns(since), epoch_ns(until), outcome"
            " FROM decisions ORDER BY number"
        )
        return [
            entry_of(
                Decision(
                    name, _ACTIONS[action], series, since, incident or "", (), until, who or "", why or ""
                ),
                outcome,
            )
            for name, action, series, incident, who, why, since, until, outcome in rows
            if action in _ACTIONS
        ]

    def command(self) -> str | None:
        """Return None: nothing is pending here."""
        return None

    def close(self) -> None:
        """Do nothing: the database belongs to the store."""
