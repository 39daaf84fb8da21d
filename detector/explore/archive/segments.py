"""Writes, merges and deletes the files of an archive. None of them counts before a manifest names it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from detector.explore.archive.manifest import Manifest, Segment, make_durable
from detector.explore.archive.schema import newest
from detector.explore.store.database import Database, text
from detector.explore.store.layout import TABLES
from detector.explore.store.tables import GROUP_ROWS, combined

_GRACE_SECONDS = 30.0
"""A file that was merged stays for so long: a query that runs may still open it."""


class Segments:
    """The files of an archive. Belongs to one thread.

    Args:
        store: the directory of the archive.
        database: may read and write it.
    """

    def __init__(self, store: Path, database: Database) -> None:
        self._store, self._database = store, database
        self._doomed: list[tuple[float, Path]] = []

    def write(self, table: str, day: str, query: str, name: str, level: int = 0) -> Segment:
        """Write the rows of a query as a file and return it. Raises ExploreError or OSError."""
        folder = self._store / table / f"day={day}"
        folder.mkdir(parents=True, exist_ok=True)
        path, scratch = folder / name, folder / f".{name}.part"
        self._database.execute(
            f"COPY ({query}) TO {text(str(scratch.resolve()))}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS})"
        )
        make_durable(scratch)
        scratch.replace(path)
        return Segment(name, level, path.stat().st_size)

    def merge(self, table: str, day: str, merged: Sequence[Segment], name: str) -> Segment:
        """Write the rows of several files of a day as one, in order; return it. The files stay."""
        rows = self.reading(table, day, merged)
        queries = {
            "verdicts": f"FROM {rows} ORDER BY series, timestamp",
            "hours": combined(rows),
            "days": combined(rows),
        }
        query = queries.get(table) or f"{newest(table, rows)} ORDER BY number"
        return self.write(table, day, query, name, 1 + max(one.level for one in merged))

    def reading(self, table: str, day: str, segments: Iterable[Segment]) -> str:
        """Return SQL that reads files of a day."""
        folder = (self._store / table / f"day={day}").resolve()
        listed = ", ".join(text(str(folder / one.name)) for one in segments)
        return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"

    def doom(self, table: str, day: str, segments: Iterable[Segment]) -> None:
        """Delete files later, when no query that began before can still need them."""
        folder, until = self._store / table / f"day={day}", time.monotonic() + _GRACE_SECONDS
        self._doomed += [(until, folder / one.name) for one in segments]

    def sweep(self) -> None:
        """Delete the files whose time has come. Raises OSError."""
        now = time.monotonic()
        for until, path in self._doomed:
            if until <= now:
                _remove(path)
        self._doomed = [one for one in self._doomed if one[0] > now]

    def remove_strangers(self, manifest: Manifest) -> None:
        """Delete the files that the manifest does not name: a killed process left them. Raises OSError."""
        for table in TABLES:
            known = set(manifest.files(self._store, table))
            for path in self._store.glob(f"{table}/day=*/*"):
                if path not in known:
                    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
