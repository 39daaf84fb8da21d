"""What requests read: a database and the description of what is in it, which may go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from detector.explore.store.database import Database
from detector.explore.store.layout import Description


class Shown(Protocol):
    """A store that is open. Any thread may read it."""

    @property
    def database(self) -> Database:
        """The database, with a view of each table."""

    @property
    def description(self) -> Description:
        """What is in it now."""

    def close(self) -> None:
        """Release the files."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The store of a backtest, which never changes."""

    database: Database
    description: Description

    def close(self) -> None:
        """Release the files."""
        self.database.close()
