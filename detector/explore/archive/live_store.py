"""Reads an archive while it grows: views of exactly the files that the manifest names."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from detector.explore.archive.manifest import Manifest, read_archive
from detector.explore.archive.schema import columns_of, newest
from detector.explore.store.database import Database, text
from detector.explore.store.layout import ARCHIVE, TABLES, Description, ExploreError

_HOUR_NS = 3_600_000_000_000


class LiveStore:
    """An archive that another thread or process writes. `refresh` belongs to one thread, the rest to any.

    Args:
        store: the directory of the archive, which has a manifest.
        now_ns: the present time, which stands for the rows of an archive that has none yet.

    Raises:
        ExploreError: there is no archive.
    """

    def __init__(self, store: Path, now_ns: int) -> None:
        self._store, self._now_ns = store, now_ns
        self._lock = threading.Lock()
        self._stamp = (0, 0, 0)
        self._manifest: Manifest | None = None
        self.database = Database([store])
        self.refresh()

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

    def refresh(self) -> bool:
        """Look at the archive again; return whether it holds something else. Raises ExploreError."""
        with self._lock:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            manifest = read_archive(self._store)
            if manifest is None:
                raise ExploreError(f"{self._store}: holds no archive")
            for table in TABLES:
                self.database.execute(f"CREATE OR REPLACE VIEW {table} AS {self._query(manifest, table)}")
            self._stamp, self._manifest = stamp, manifest
            return True

    def close(self) -> None:
        """Release the files."""
        self.database.close()

    def _look(self) -> tuple[int, int, int]:
        try:
            stat = (self._store / ARCHIVE).stat()
        except OSError as error:
            raise ExploreError(f"{self._store / ARCHIVE}: {error.strerror}") from error
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _query(self, manifest: Manifest, table: str) -> str:
        """Return SQL for the rows of a table; those of incidents and decisions as they are now."""
        columns = columns_of(table, manifest.description.channels)
        files = manifest.files(self._store.resolve(), table)
        if not files:
            empty = ", ".join(f"NULL::{kind} AS {one}" for one, kind in columns.items())
            return f"SELECT {empty}, NULL::DATE AS day WHERE false"
        listed = ", ".join(text(str(one)) for one in files)
        rows = f"read_parquet([{listed}], hive_partitioning = true, union_by_name = true)"
        return newest(table, rows)
