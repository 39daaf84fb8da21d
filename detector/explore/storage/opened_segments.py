"""The segments of an object storage as a file system for DuckDB: a file that it opens is fetched first."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem

from detector.explore.storage.cache import SegmentCache

SCHEME = "segments"
_TRIES = 3
_WRITTEN = datetime(2000, 1, 1, tzinfo=UTC)


class OpenedSegments(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Opens segments by their path in the store, such as `segments://verdicts/day=2026-01-31/x.parquet`.

    Args:
        cache: where the copies are.
    """

    protocol = SCHEME
    cachable = False

    def __init__(self, cache: SegmentCache) -> None:
        super().__init__(skip_instance_cache=True)
        self._cache = cache

    def glob(self, path: str, **_: object) -> list[str]:
        """Return the path alone: DuckDB asks so whether it exists."""
        return [self._strip_protocol(path)]

    def exists(self, path: str, **_: object) -> bool:
        """Return that it exists: only what a manifest names is asked for."""
        return True

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """Return name, size in bytes and type."""
        name = self._strip_protocol(path)
        return {"name": name, "size": self._copy(path).stat().st_size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return a time that never changes, since segments do not."""
        return _WRITTEN

    def _open(self, path: str, mode: str = "rb", *args: object, **more: object) -> BinaryIO:
        """Open a copy to read it."""
        for _ in range(_TRIES):
            copy = self._copy(path)
            with contextlib.suppress(FileNotFoundError):  # another process made room
                return copy.open("rb")
        return self._copy(path).open("rb")

    def _copy(self, path: str) -> Path:
        return self._cache.path(self._strip_protocol(path).lstrip("/"))
