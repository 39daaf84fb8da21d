"""An archive in a directory of this machine: a lock decides who owns it, a rename replaces the manifest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from connectors.durable import make_durable
from detector.explore.archive.manifest import Manifest, decoded, write_archive
from detector.explore.storage.storage import OnFetch, SegmentKey, Sign, say_nothing, sign_of
from detector.explore.store.database import Database
from detector.explore.store.layout import ARCHIVE, ARCHIVED, ExploreError

_LOCK, _SIGN = ".lock", "archiver.json"


class DirectoryStorage:
    """An archive in a directory.

    Args:
        directory: need not exist before `claim`.
    """

    append_seconds, look_seconds = 1.0, 0.25

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.name = str(directory)
        self._lock: int | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._manifest: Manifest | None = None
        self._num_beats = 0
        self._beating = threading.Lock()

    def look(self) -> tuple[Manifest | None, Sign | None]:
        """Return what the archive holds, and the newest sign of its owner. Raises ExploreError."""
        path = self._directory / ARCHIVE
        try:
            stat = path.stat()
            stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
            if stamp != self._stamp:
                self._manifest, self._stamp = decoded(path.read_bytes(), str(path)), stamp
        except FileNotFoundError:
            return None, None
        except OSError as error:
            raise ExploreError(f"{path}: cannot be read: {error.strerror}; check its rights") from error
        try:
            return self._manifest, msgspec.json.decode((self._directory / _SIGN).read_bytes(), type=Sign)
        except (OSError, msgspec.DecodeError):
            return self._manifest, None

    def strangers(self) -> list[str]:
        """Return names of files that are of something else."""
        if not self._directory.exists() or (self._directory / ARCHIVE).exists():
            return []
        ours = {_LOCK, _SIGN, f".{_SIGN}.part", f".{ARCHIVE}.part"}
        return sorted({one.name for one in self._directory.iterdir()} - ours)

    def prefetch(self, manifest: Manifest, on_fetch: OnFetch = say_nothing) -> None:
        """Do nothing: all is here."""

    def database(self, memory: str = "1GB") -> Database:
        """Return a database that can read the segments."""
        return Database([self._directory], memory)

    def url(self, key: SegmentKey) -> str:
        """Return the absolute path of a segment."""
        return str(self._path(key).absolute())

    def claim(self) -> Sign | None:
        """Become the owner, or return the sign of the one that there is. Raises ExploreError."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._directory / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise ExploreError(
                f"{self.name}: cannot be written: {error.strerror}; name another place with --store"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return self.look()[1] or Sign("this machine", 0, 0)
        self._lock = handle
        self.beat("")
        return None

    def write(self, manifest: Manifest) -> None:
        """Replace what the archive holds, durably. Raises OSError."""
        write_archive(self._directory, manifest)

    def beat(self, problem: str) -> None:
        """Give a sign. Raises OSError."""
        self._say(problem, ended=False)

    def segment_name(self, number: int) -> str:
        """Return the name of a new segment: one process writes, so its number is enough."""
        return f"segment-{number:08d}.parquet"

    def scratch(self, key: SegmentKey) -> Path:
        """Return a hidden file beside the segment. Raises OSError."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{key.name}.part").absolute()

    def complete(self, key: SegmentKey) -> int:
        """Make a segment of its scratch file; return its size in bytes. Raises OSError."""
        scratch = self.scratch(key)
        make_durable(scratch)
        scratch.replace(self._path(key))
        return self._path(key).stat().st_size

    def segments(self) -> list[SegmentKey]:
        """Return all files of tables that there are."""
        return [
            SegmentKey(table, path.parent.name.removeprefix("day="), path.name)
            for table in ARCHIVED
            for path in self._directory.glob(f"{table}/day=*/*")
        ]

    def remove(self, keys: Iterable[SegmentKey]) -> None:
        """Delete segments, and folders that become empty. Raises OSError."""
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()

    def release(self) -> None:
        """Give the ownership back."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            self._say("", ended=True)
        os.close(self._lock)
        self._lock = None

    def _say(self, problem: str, *, ended: bool) -> None:
        with self._beating:
            self._num_beats += 1
            scratch = self._directory / f".{_SIGN}.part"
            scratch.write_bytes(msgspec.json.encode(sign_of(self._num_beats, problem, ended)))
            scratch.replace(self._directory / _SIGN)

    def _path(self, key: SegmentKey) -> Path:
        return self._directory / key.path
