"""Reads an archive while it grows: views of exactly the files that the manifest names."""

from __future__ import annotations

import threading
from dataclasses import replace

from detector.explore.archive.manifest import Manifest, Segment
from detector.explore.archive.schema import columns_of, newest
from detector.explore.storage.storage import OnFetch, SegmentKey, Sign, Storage, say_nothing
from detector.explore.store.database import text
from detector.explore.store.layout import ARCHIVED, Description, ExploreError

_HOUR_NS = 3_600_000_000_000


class LiveStore:
    """An archive that another thread or process writes. `refresh` belongs to one thread, the rest to any.

    Args:
        storage: where the archive is.
        now_ns: the present time, which stands for the rows of an archive that has none yet.
        on_fetch: follows what is fetched before the first page can be shown.

    Raises:
        ExploreError: there is no archive.
        ObjectsError: the object storage cannot be read.
    """

    def __init__(self, storage: Storage, now_ns: int, on_fetch: OnFetch = say_nothing) -> None:
        self._storage, self._now_ns = storage, now_ns
        self._lock = threading.Lock()
        self._manifest: Manifest | None = None
        self.sign: Sign | None = None
        self.database = storage.database()
        self.refresh(on_fetch)

    @property
    def manifest(self) -> Manifest:
        """What the archive holds."""
        assert self._manifest is not None
        return self._manifest

    @property
    def description(self) -> Description:
        """What is in it now. Without rows the range is the last hour."""
        found = self.manifest.description
        if found.rows:
            return found
        return replace(found, first_ns=self._now_ns - _HOUR_NS, last_ns=self._now_ns)

    def refresh(self, on_fetch: OnFetch = say_nothing) -> bool:
        """Look at the archive again; return whether it holds something else.

        Raises ExploreError, ObjectsError or OSError. The views are then those from before.
        """
        with self._lock:
            manifest, self.sign = self._storage.look()
            if manifest is None:
                raise ExploreError(
                    f"{self._storage.name}: holds no archive; start `streamgauge archive CONFIG.toml --store"
                    f" {self._storage.name}`"
                )
            if manifest is self._manifest:
                return False
            self._storage.prefetch(manifest, on_fetch)
            for table in ARCHIVED:
                self.database.execute(f"CREATE OR REPLACE VIEW {table} AS {self._query(manifest, table)}")
            self._manifest = manifest
            return True

    def close(self) -> None:
        """Release the files."""
        self.database.close()

    def _query(self, manifest: Manifest, table: str) -> str:
        """Return SQL for the rows of a table; those of incidents and decisions as they are now."""
        columns = columns_of(table, manifest.description.channels)
        alike: dict[str, list[SegmentKey]] = {}
        for day, one in manifest.of_table(table):
            alike.setdefault(_mark(table, one), []).append(SegmentKey(table, day, one.name))
        if not alike:
            empty = ", ".join(f"NULL::{kind} AS {one}" for one, kind in columns.items())
            return f"SELECT {empty}, NULL::DATE AS day WHERE false"
        reads = [self._reading(keys, has_same_columns=bool(mark)) for mark, keys in alike.items()]
        rows = (
            reads[0] if len(reads) == 1 else f"({' UNION ALL BY NAME '.join(f'FROM {one}' for one in reads)})"
        )
        return newest(table, rows)

    def _reading(self, keys: list[SegmentKey], *, has_same_columns: bool) -> str:
        """Return SQL that reads files. With the same columns, only those of the asked days are opened."""
        listed = ", ".join(text(self._storage.url(one)) for one in keys)
        by_name = "false" if has_same_columns else "true"
        return f"read_parquet([{listed}], hive_partitioning = true, union_by_name = {by_name})"


def _mark(table: str, segment: Segment) -> str:
    """Return a mark that files with the same columns share; "" where their columns are unknown."""
    return segment.columns if table == "verdicts" else table
