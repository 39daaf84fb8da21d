"""Writes, merges and deletes the files of an archive. None of them counts before a manifest names it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from detector.explore.archive.manifest import Manifest, Segment
from detector.explore.archive.schema import newest
from detector.explore.storage.storage import GRACE_SECONDS, SegmentKey, Storage
from detector.explore.store.database import Database, text
from detector.explore.store.tables import GROUP_ROWS, combined


class Segments:
    """The files of an archive. Belongs to one thread, of the owner.

    Args:
        storage: where they are.
        database: can read them.
    """

    def __init__(self, storage: Storage, database: Database) -> None:
        self._storage, self._database = storage, database
        self._doomed: list[tuple[float, SegmentKey]] = []

    def write(self, key: SegmentKey, query: str, columns: str = "", level: int = 0) -> Segment:
        """Write the rows of a query as a file and return it. Raises ExploreError, OSError or ObjectsError.

        Args:
            key: of the file.
            query: SQL.
            columns: the mark of its columns, for `Segment`.
            level: how often its rows were merged.
        """
        scratch = self._storage.scratch(key)
        try:
            self._database.execute(
                f"COPY ({query}) TO {text(str(scratch))}"
                f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS})"
            )
            return Segment(key.name, level, self._storage.complete(key), columns)
        finally:
            scratch.unlink(missing_ok=True)  # there is none where it became the segment

    def merge(self, key: SegmentKey, merged: Sequence[Segment]) -> Segment:
        """Write the rows of several files of a day as one, in order; return it. The files stay."""
        table = key.table
        rows = self.reading(table, key.day, merged)
        queries = {
            "verdicts": f"FROM {rows} ORDER BY series, timestamp",
            "hours": combined(rows),
            "days": combined(rows),
        }
        query = queries.get(table) or f"{newest(table, rows)} ORDER BY number"
        marks = {one.columns for one in merged}
        return self.write(
            key, query, marks.pop() if len(marks) == 1 else "", 1 + max(one.level for one in merged)
        )

    def reading(self, table: str, day: str, segments: Iterable[Segment]) -> str:
        """Return SQL that reads files of a day."""
        keys = (SegmentKey(table, day, one.name) for one in segments)
        listed = ", ".join(text(self._storage.url(one)) for one in keys)
        return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"

    def doom(self, table: str, day: str, segments: Iterable[Segment]) -> None:
        """Delete files later, when no query that began before can still need them."""
        until = time.monotonic() + GRACE_SECONDS
        self._doomed += [(until, SegmentKey(table, day, one.name)) for one in segments]

    def sweep(self) -> None:
        """Delete the files whose time has come. Raises OSError or ObjectsError."""
        now = time.monotonic()
        due = [key for until, key in self._doomed if until <= now]
        if due:
            self._storage.remove(due)
        self._doomed = [one for one in self._doomed if one[0] > now]

    def remove_strangers(self, manifest: Manifest) -> None:
        """Delete the files that the manifest does not name: a killed process left them. Raises as `sweep`."""
        there = self._storage.segments()  # before `remove` asks whether this process is still the owner
        known = {
            (table, day, one.name) for table in manifest.segments for day, one in manifest.of_table(table)
        }
        strangers = [one for one in there if (one.table, one.day, one.name) not in known]
        if strangers:
            self._storage.remove(strangers)
