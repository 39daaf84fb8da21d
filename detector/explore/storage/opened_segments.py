"""The segments of an object storage as a file system for DuckDB: a file that it opens is fetched first."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from io import RawIOBase
from typing import Any

from fsspec import AbstractFileSystem

from detector.explore.storage.cache import SegmentCache

SCHEME = "segments"
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
        with self._open(path) as copy:
            return {"name": name, "size": copy.seek(0, os.SEEK_END), "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return a time that never changes, since segments do not."""
        return _WRITTEN

    def _open(self, path: str, mode: str = "rb", *args: object, **more: object) -> RawIOBase:
        """Open a copy to read it."""
        return _Copy(self._cache.open(self._strip_protocol(path).lstrip("/")))


class _Copy(RawIOBase):
    """A file to read. DuckDB drops files without closing them: this one closes itself, without a warning."""

    def __init__(self, handle: int) -> None:
        super().__init__()
        self._handle = handle
        self._size, self._at = os.fstat(self._handle).st_size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; return how many bytes."""
        num = os.preadv(self._handle, [buffer], self._at)
        self._at += num
        return num

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        if not self.closed and self._handle >= 0:
            os.close(self._handle)
        super().close()
