"""What the server shows and where it writes: one value that all endpoints get."""

from __future__ import annotations

from dataclasses import dataclass

from detector.explore.archive.live import Live
from detector.explore.deciding.ledger import Ledger
from detector.explore.deciding.writing import Writing
from detector.explore.source import Source
from detector.explore.store.database import Database
from detector.explore.store.layout import Description
from detector.explore.store.shown import Shown


@dataclass(frozen=True, slots=True)
class Opened:
    """The store that is shown, what it is of, what people decide, and the running group if it is of one."""

    store: Shown
    source: Source
    ledger: Ledger
    writing: Writing
    live: Live | None = None

    @property
    def database(self) -> Database:
        """Where queries run."""
        return self.store.database

    @property
    def description(self) -> Description:
        """What there is now; it changes while a running group is shown."""
        return self.store.description

    def close(self) -> None:
        """Release files, threads and connections."""
        self.ledger.close()
        self.store.close()
