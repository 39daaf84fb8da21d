"""What the server shows and where it writes: one value that all endpoints get."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.explore.background.jobs import Jobs
from detector.explore.deciding.ledger import Ledger
from detector.explore.deciding.writing import Writing
from detector.explore.display import Display
from detector.explore.source import Source
from detector.explore.store.database import Database
from detector.explore.store.layout import Description
from detector.explore.store.shown import Shown

if TYPE_CHECKING:
    from detector.explore.archive.live import Live


@dataclass(frozen=True, slots=True)
class Opened:
    """What is shown: the store, what it is of, what people decide, what is computed, and a running group."""

    store: Shown
    source: Source
    ledger: Ledger
    writing: Writing
    live: Live | None = None
    jobs: Jobs = field(default_factory=Jobs)
    models: Jobs = field(default_factory=Jobs)
    display: Display = field(default_factory=Display)

    @property
    def database(self) -> Database:
        """Where queries run."""
        return self.store.database

    @property
    def description(self) -> Description:
        """What there is now; it changes while a running group is shown."""
        return self.store.description

    def close(self) -> None:
        """End what is computed; release files, threads and connections."""
        self.jobs.close()
        self.models.close()
        self.ledger.close()
        self.store.close()
