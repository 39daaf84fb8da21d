"""An archive on object storage: see `owners` for who may write, and `cache` for what is read."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from connectors.errors import ConnectorError
from connectors.objects.objects import Objects
from detector import logs
from detector.explore.archive.manifest import Manifest, decoded, encoded
from detector.explore.storage.cache import SegmentCache
from detector.explore.storage.opened_segments import SCHEME, OpenedSegments
from detector.explore.storage.owners import (
    FOLDER,
    claimed,
    manifest_of,
    next_owner,
    sign_of_owner,
    with_manifest,
)
from detector.explore.storage.storage import (
    PATIENCE_SECONDS,
    OnFetch,
    OwnershipLostError,
    SegmentKey,
    Sign,
    say_nothing,
    sign_of,
)
from detector.explore.store.database import Database
from detector.explore.store.layout import ARCHIVED

_LOOK_SECONDS = 0.5
_FIRST_TABLES = ("hours", "days", "incidents", "decisions", "homes")


class ObjectStorage:
    """An archive below a URI.

    Args:
        uri: of the archive.
        cache: directory for copies of segments on this machine.
        cache_bytes: the most that the copies take.
        patience_seconds: an owner without a sign for so long has ended.

    Raises:
        ObjectsError: the URI cannot be used.
        ExploreError: the directory of copies cannot be written.
    """

    append_seconds, look_seconds = 5.0, 2.0

    def __init__(
        self, uri: str, cache: Path, cache_bytes: int, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._objects = Objects(uri)
        self.name = self._objects.uri
        self._cache_directory = cache
        self._cache = SegmentCache(cache / "copies", cache_bytes, self._objects.download)
        self._patience_seconds = patience_seconds
        self._scratches: dict[SegmentKey, Path] = {}
        self._owner, self._is_settled = "", False
        self._num_beats = 0
        self._beating = threading.Lock()
        self._seen: tuple[str, bytes, Manifest] | None = None

    def look(self) -> tuple[Manifest | None, Sign | None]:
        """Return what the archive holds, and the newest sign of its owner. Raises as `Storage.look`."""
        for owner in with_manifest(self._objects.list(FOLDER)):
            content = self._objects.read(manifest_of(owner))
            if content is None:
                continue  # a newer owner removed it meanwhile
            if self._seen is None or self._seen[:2] != (owner, content):
                self._seen = owner, content, decoded(content, f"{self.name}: {manifest_of(owner)}")
            return self._seen[2], self._sign(owner)
        return None, None

    def strangers(self) -> list[str]:
        """Return names at the root that are of something else. Of an archive the root is not listed."""
        if claimed(self._objects.list(FOLDER)):
            return []
        return sorted({*self._objects.top()} - {FOLDER, *ARCHIVED})

    def prefetch(self, manifest: Manifest, on_fetch: OnFetch = say_nothing) -> None:
        """Fetch the tables of the first page: they are small. Raises ObjectsError or OSError."""
        names = (
            SegmentKey(table, day, one.name).path
            for table in _FIRST_TABLES
            for day, one in manifest.of_table(table)
        )
        self._cache.fetch_all(names, on_fetch)

    def database(self, memory: str = "1GB") -> Database:
        """Return a database that fetches the segments that it opens."""
        roots = [f"{SCHEME}://{table}" for table in ARCHIVED]
        return Database([self._cache_directory], memory, OpenedSegments(self._cache), roots)

    def url(self, key: SegmentKey) -> str:
        """Return the path by which the database opens a segment."""
        return f"{SCHEME}://{key.path}"

    def claim(self) -> Sign | None:
        """Become the owner, or return the sign of the one that works. Waits for a sign if it must."""
        before = claimed(self._objects.list(FOLDER))
        if before and (working := self._working(before[0])) is not None:
            return working
        self._owner, self._is_settled = next_owner(before), False
        self._objects.write(sign_of_owner(self._owner), msgspec.json.encode(sign_of(0)))
        higher = self._higher()
        if higher is None:
            return None
        self._objects.remove(sign_of_owner(self._owner))
        self._owner = ""
        return self._sign(higher) or Sign("another machine", 0, 0)

    def write(self, manifest: Manifest) -> None:
        """Write the manifest of this owner. Raises OwnershipLostError or ObjectsError."""
        self._objects.write(manifest_of(self._owner), encoded(manifest))
        self._check()
        if not self._is_settled:
            self._remove_older()
            self._is_settled = True

    def beat(self, problem: str) -> None:
        """Give a sign, and see whether this owner still counts. Raises as `write`."""
        self._say(problem, ended=False)
        self._check()

    def segment_name(self, number: int) -> str:
        """Return the name of a new segment, unlike any other even if it is tried again."""
        return f"segment-{number:08d}-{secrets.token_hex(4)}.parquet"

    def scratch(self, key: SegmentKey) -> Path:
        """Return a file among the copies. Raises OSError."""
        if key not in self._scratches:
            self._scratches[key] = self._cache.scratch(key.path).absolute()
        return self._scratches[key]

    def complete(self, key: SegmentKey) -> int:
        """Write a segment; return its size in bytes. Raises ObjectsError or OSError."""
        scratch = self._scratches.pop(key)
        try:
            self._objects.upload(scratch, key.path)
            return self._cache.keep(key.path, scratch)
        finally:
            scratch.unlink(missing_ok=True)

    def segments(self) -> list[SegmentKey]:
        """Return all segments that there are."""
        found = []
        for table in ARCHIVED:
            for path in self._objects.list(table):
                parts = path.split("/", 2)
                if len(parts) == 3 and parts[1].startswith("day="):
                    found.append(SegmentKey(table, parts[1].removeprefix("day="), parts[2]))
        return found

    def remove(self, keys: Iterable[SegmentKey]) -> None:
        """Delete segments. No later owner names one of them, as `owners` explains. Raises as `write`."""
        self._check()
        for key in keys:
            self._objects.remove(key.path)

    def release(self) -> None:
        """Give the ownership back."""
        if self._owner:
            with contextlib.suppress(ConnectorError):
                self._say("", ended=True)
            self._owner = ""

    def _sign(self, owner: str) -> Sign | None:
        content = self._objects.read(sign_of_owner(owner))
        with contextlib.suppress(msgspec.DecodeError):
            return None if content is None else msgspec.json.decode(content, type=Sign)
        return None

    def _say(self, problem: str, *, ended: bool) -> None:
        with self._beating:
            self._num_beats += 1
            said = msgspec.json.encode(sign_of(self._num_beats, problem, ended))
            self._objects.write(sign_of_owner(self._owner), said)

    def _working(self, owner: str) -> Sign | None:
        """Return a sign of an owner that works. Return None if it has ended, or gives no sign for long."""
        first = self._sign(owner)
        if first is None or first.ended:
            return None
        logs.event(
            "looking whether another process archives here",
            logging.WARNING,
            store=self.name,
            process=first.who,
            seconds=self._patience_seconds,
        )
        end = time.monotonic() + self._patience_seconds
        while time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
            now = self._sign(owner)
            if now is None or now.ended:
                return None
            if now != first:
                return now
        return None

    def _higher(self) -> str | None:
        """Return the owner with the highest claim if it is another one."""
        highest = next(iter(claimed(self._objects.list(FOLDER))), "")
        return highest if highest > self._owner else None

    def _check(self) -> None:
        """Raise OwnershipLostError if another owner has a higher claim."""
        higher = self._higher()
        if higher is not None:
            sign = self._sign(higher)
            raise OwnershipLostError(
                f"{self.name}: {'another process' if sign is None else sign.who} archives there now; start"
                " only one archiver for a store"
            )

    def _remove_older(self) -> None:
        """Delete the claims and manifests of owners before this one: its own is read from now on."""
        for one in claimed(self._objects.list(FOLDER)):
            if one < self._owner:
                self._objects.remove(manifest_of(one))
                self._objects.remove(sign_of_owner(one))
