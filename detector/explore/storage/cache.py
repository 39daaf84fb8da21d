"""Copies of segments on this machine: each is complete or absent, and together they stay within a bound.

Segments never change, so a copy never grows old. Those that were not used for longest are deleted first.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from detector.explore.store.layout import ExploreError

_FETCHERS, _STRIPES = 8, 64
_PART, _OLD_SECONDS = ".part", 86_400.0


class SegmentCache:
    """Any thread and several processes may use it.

    Args:
        directory: of the copies; it is made if it is missing.
        max_bytes: the most that they take. One copy is always kept, however large it is.
        fetch: writes a segment, named by its path in the store, to a file.

    Raises:
        ExploreError: the directory cannot be written.
    """

    def __init__(self, directory: Path, max_bytes: int, fetch: Callable[[str, Path], None]) -> None:
        self._directory, self._max_bytes, self._fetch = directory, max_bytes, fetch
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._guard = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._num_bytes = sum(size for _, size, _ in self._copies())
            self._remove_parts()
        except OSError as error:
            raise ExploreError(
                f"{directory}: cannot be written: {error.strerror}; name another directory with --cache"
            ) from error

    def open(self, name: str) -> int:
        """Return a file descriptor of a segment, to read; it is fetched if it is missing.

        What is open can be read to its end, also after another thread or process made room.

        Args:
            name: the path of the segment in the store.

        Raises:
            OSError: the directory cannot be read or written. Also what `fetch` raises.
        """
        path = self._directory / name
        with self._locks[hash(name) % _STRIPES]:  # two threads fetch one segment once
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY)
                os.utime(handle)
                return handle
            scratch = self.scratch(name)
            try:
                self._fetch(name, scratch)
                handle = os.open(scratch, os.O_RDONLY)  # before it has the name that others may delete
                self.keep(name, scratch)
                return handle
            finally:
                scratch.unlink(missing_ok=True)

    def scratch(self, name: str) -> Path:
        """Return a new name beside the copies, for a file that is not complete yet. Raises OSError."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.{uuid4().hex}{_PART}")

    def keep(self, name: str, complete: Path) -> int:
        """Make a complete file the copy of a segment and return its size in bytes. Raises OSError."""
        path, size = self._directory / name, complete.stat().st_size
        complete.replace(path)
        with self._guard:
            self._num_bytes += size
            if self._num_bytes > self._max_bytes:
                self._shrink(path)
        return size

    def fetch_all(self, names: Iterable[str], on_fetch: Callable[[int, int], None]) -> None:
        """Fetch those that are missing, several at a time. Raises the first error.

        Args:
            names: of the segments.
            on_fetch: called with the number of segments that are here by now, and of those that were missing.
        """
        missing = [one for one in names if not (self._directory / one).exists()]
        if missing:
            on_fetch(0, len(missing))
            with ThreadPoolExecutor(_FETCHERS) as pool:
                for num, handle in enumerate(pool.map(self.open, missing), 1):
                    os.close(handle)
                    on_fetch(num, len(missing))

    def _shrink(self, newest: Path) -> None:
        """Delete what was not used for longest, until a tenth of the bound is free."""
        copies = sorted(self._copies())
        self._num_bytes = sum(size for _, size, _ in copies)
        for _, size, path in copies:
            if self._num_bytes <= 0.9 * self._max_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                self._num_bytes -= size

    def _remove_parts(self) -> None:
        """Delete what killed processes left; a part that is young may be of a process that works."""
        for path in self._directory.rglob(f".*{_PART}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _OLD_SECONDS:
                    path.unlink()

    def _copies(self) -> list[tuple[int, int, Path]]:
        """Return the time of last use, the size, and the path of each copy."""
        found = []
        for path in self._directory.rglob("*.parquet"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path))
        return found
