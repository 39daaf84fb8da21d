"""The versions of a model: which one is in use, which are candidates, which were in use before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from connectors.errors import ObjectsError
from connectors.objects.names import is_remote, local_path, name_of, without_secrets
from connectors.objects.objects import Objects
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.description.place import CURRENT, current_of
from detector.artifact.stored.event_names import EventName, names_of, removed_of
from detector.artifact.stored.stored import manifests_of, pointer_at, read_all
from detector.errors import ArtifactError
from detector.journal import FILE, FIRST, Event, Journal, event_at, read_journal

Standing = Literal["current", "candidate", "former"]
_MOVES = ("promoted", "rolled back")
_EVENTS: dict[tuple[str, EventName], Event] = {}
"""Events of models on object storage that this process has read, by URI and name."""
_WAITING: dict[str, tuple[Version, ...]] = {}
"""Candidates at the last look, by location."""


@dataclass(frozen=True, slots=True)
class Version:
    """Hold what is known of one version of a model.

    name      12 hexadecimal digits
    standing  current: in use; former: it was in use; candidate: it never was, as far as the journal knows
    at        when it was published, seconds since the epoch
    events    what the journal has about it, the oldest first; empty where nothing was recorded
    """

    name: str
    standing: Standing
    at: float
    events: tuple[Event, ...] = ()

    @property
    def published(self) -> Event | None:
        """Return the event of its publication, None if it was not recorded."""
        return next((one for one in reversed(self.events) if one.action == "published"), None)

    @property
    def last(self) -> Event | None:
        """Return the newest event about it."""
        return self.events[-1] if self.events else None


@dataclass(frozen=True, slots=True)
class Registered:
    """Hold a model as its registry has it.

    entry     directory of the model
    versions  the newest first
    journal   all events, also of versions that were removed
    pointer   the version that the pointer names, also where its directory is missing; None without a pointer
    """

    entry: Path
    versions: tuple[Version, ...]
    journal: Journal
    pointer: str | None

    @property
    def current(self) -> Version | None:
        """Return the version in use; None without a pointer, or if its directory is missing."""
        return next((one for one in self.versions if one.standing == "current"), None)

    @property
    def candidates(self) -> tuple[Version, ...]:
        """Return the versions that were never in use, the newest first."""
        return tuple(one for one in self.versions if one.standing == "candidate")

    def find(self, name: str) -> Version:
        """Return the version whose name is `name` or begins with it.

        Raises:
            ArtifactError: There is none, or there are several. The message lists those that there are.
        """
        found = [one for one in self.versions if name and one.name.startswith(name)]
        if len(found) == 1:
            return found[0]
        there = ", ".join(one.name for one in found or self.versions) or "none"
        problem = f"{len(found)} versions begin with {name!r}" if found else f"there is no version {name!r}"
        raise ArtifactError(f"{self.entry}: {problem}; there are: {there}")

    def before(self) -> str | None:
        """Return the version that was in use before the current one; None if the journal does not know."""
        others = {one.name for one in self.versions if one.standing != "current"}
        moves = in_force(self.journal.events, self.pointer)
        way = [one for one in in_use(moves) if one in others]
        return way[-1] if way else None


def in_force(events: Sequence[Event], pointer: str | None) -> tuple[Event, ...]:
    """Return the moves of the pointer that took place, the oldest first.

    A move is written into the journal before it is made. A process that is killed in between leaves a move
    after which the pointer still names what it named before.

    Args:
        events: All events of a journal, the oldest first.
        pointer: The version that the pointer names now; None without a pointer.

    >>> def moved(version, before):
    ...     return Event("promoted", version, before, "2026-01-01T00:00:00Z")
    >>> [one.version for one in in_force([moved("b", "a"), moved("c", "a")], "c")]
    ['c']
    """
    after = [*(one.before for one in events[1:]), pointer or ""]
    return tuple(
        one
        for one, found in zip(events, after, strict=False)
        if one.action in _MOVES and (found != one.before or found == one.version)
    )


def in_use(events: Sequence[Event]) -> tuple[str, ...]:
    """Return the versions on the way to the present one: what a rollback left is not among them.

    Args:
        events: Moves that took place (`in_force`), the oldest first.

    >>> def moved(action, version):
    ...     return Event(action, version, "", "2026-01-01T00:00:00Z")
    >>> in_use([moved("promoted", "a"), moved("promoted", "b"), moved("rolled back", "a")])
    ('a',)
    >>> in_use([moved("promoted", "a"), moved("promoted", "b"), moved("promoted", "a")])
    ('b', 'a')
    """
    way: list[str] = []
    for event in (one for one in events if one.action in _MOVES):
        # A pointer that somebody moved by hand is known from the next event, by what was before it.
        if event.before and event.before not in way[-1:]:
            way = [*(one for one in way if one != event.before), event.before]
        if event.action == "rolled back" and event.version in way:
            del way[way.index(event.version) + 1 :]
        else:
            way = [*(one for one in way if one != event.version), event.version]
    return tuple(way)


def registered(entry: Path) -> Registered:
    """Return a model as its registry has it.

    Raises:
        ArtifactError: `entry` is no directory of a model, or its journal or pointer cannot be read.
    """
    if (entry / MANIFEST).exists():
        raise ArtifactError(f"{entry}: is one version; give its registry entry, {entry.parent}")
    journal = read_journal(entry)
    manifests = {path.parent.name: path for path in entry.glob(f"[!.]*/{MANIFEST}")}
    if not manifests and not (entry / CURRENT).exists():
        raise ArtifactError(
            f"{entry}: no model there: neither versions nor {CURRENT}; train one with"
            f" `streamgauge train DATA --out {entry}`"
        )
    written = {name: path.stat().st_mtime for name, path in manifests.items()}
    return _registered(entry, written, journal, current_of(entry))


def _registered(
    entry: Path, written: Mapping[str, float], journal: Journal, current: str | None
) -> Registered:
    """Return a model by its complete versions, with the times of their descriptions, and its journal."""
    moved = in_force(journal.events, current)
    once = {one.version for one in moved} | {one.before for one in moved}
    found = []
    for name, written_at in written.items():
        standing: Standing = "current" if name == current else "former" if name in once else "candidate"
        events = journal.about(name)
        published = [one for one in events if one.action == "published"]
        at = _seconds(published[-1].at) if published else None
        found.append(Version(name, standing, written_at if at is None else at, events))
    found.sort(key=lambda one: (-one.at, one.name))
    return Registered(entry, tuple(found), journal, current)


def registered_at(location: str) -> Registered:
    """Return a model as its registry has it, on disk or at a URI. Raises ArtifactError."""
    try:
        return _stored(location) if is_remote(location) else registered(Path(local_path(location)))
    except ObjectsError as error:
        raise ArtifactError(f"{without_secrets(location)}: cannot be read: {error}") from error


def journal_at(location: str) -> Journal:
    """Return the journal of a model, on disk or at a URI; empty if there is none. Raises ArtifactError."""
    if is_remote(location):
        return registered_at(location).journal
    return read_journal(Path(local_path(location)))


def waiting_at(location: str) -> tuple[Version, ...]:
    """Return the candidates that are newer than the current version, the newest first.

    Empty for a single version, and where the registry cannot be read: a daemon shows what it can.
    """
    try:
        found = _stored(location) if "://" in location else registered(Path(location))
    except (ArtifactError, ObjectsError):
        return ()
    current = found.current
    waiting = () if current is None else tuple(one for one in found.candidates if one.at > current.at)
    _WAITING[location] = waiting
    return waiting


def last_waiting_at(location: str) -> tuple[Version, ...]:
    """Return what `waiting_at` does; at a URI what it returned the last time. So no store is waited for."""
    return _WAITING.get(location, ()) if "://" in location else waiting_at(location)


def _stored(uri: str) -> Registered:
    """Return a model on object storage; each event is read once, as none changes. Raises ObjectsError."""
    objects = Objects(uri)
    written = objects.written("")
    names = names_of(written)
    read = {one: _EVENTS.get((uri, one)) for one in names}
    unread = [one for one, event in read.items() if event is None]
    contents = read_all(objects, [one.path for one in unread])
    read |= {one: event_at(content) for one, content in zip(unread, contents, strict=True)}
    older = (objects.read(FILE) or b"").split(b"\n") if FILE in written else []
    events = [*map(event_at, older), *read.values()]
    _EVENTS.update({(uri, one): event for one, event in read.items() if event is not None})
    gone = removed_of(names)
    versions = {one: at for one, at in manifests_of(written).items() if one not in gone}
    journal = Journal(tuple(one for one in events if one is not None))
    return _registered(Path(name_of(uri)), versions, journal, pointer_at(objects, names))


def description(entry: Path, version: str) -> dict[str, Any]:
    """Return the description of a version as plain values, without a check of its hashes.

    Raises:
        ArtifactError: It cannot be read.
    """
    path = entry / version / MANIFEST
    try:
        spec: dict[str, Any] = json.loads(path.read_bytes())["spec"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    return spec


def standing_line(entry: Path, version: str) -> str:
    """Return the line on a version that was just published: whether it is in use, and what comes next."""
    current = current_of(entry)
    if current != version:
        return (
            f"published {entry}, candidate version {version}; {current} stays in use. To use it:"
            f" streamgauge models promote {entry} {version}"
        )
    is_first = any(one.why == FIRST for one in read_journal(entry).about(version))
    return f"published {entry}, version {version}: in use" + (f", as {FIRST}" if is_first else "")


def _seconds(at: str) -> float | None:
    """Return an ISO 8601 time as seconds since the epoch, None if it is none."""
    try:
        time = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
