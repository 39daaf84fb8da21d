"""The journal of a model: who published, promoted or removed which version, when and why.

    REGISTRY/NAME/journal.jsonl   one event a line, JSON, the oldest first; lines are only added

A registry that older releases wrote has no journal, and is read as one without events. Everything that
changes the registry holds the lock of its entry, which ends with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from detector.errors import ArtifactError

FILE, LOCK = "journal.jsonl", ".lock"
FIRST = "the first version of this name"
"""Why a version was promoted that nobody had to ask for."""
Action = Literal["published", "promoted", "rolled back", "refused", "removed", "not retrained"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Note:
    """Hold what is kept with a change of the registry.

    who      the person or job
    why      the reason, in words
    figures  what was measured, plain JSON values
    forced   whether a check refused the change, and somebody wanted it all the same
    """

    who: str = ""
    why: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    forced: bool = False


NOTHING = Note()


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one line of the journal.

    action   published: a version was added; promoted, rolled back: it became the current one; refused: the
             gate did not let it; removed: it was deleted; not retrained: a retraining ended without a version
    version  the version that it is about; empty for `not retrained`
    before   the version that was current at that moment; empty without one
    at       when, ISO 8601, UTC
    """

    action: Action
    version: str
    before: str
    at: str
    who: str = ""
    why: str = ""
    forced: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journal:
    """Hold the events of a model, the oldest first, and how many lines could not be read."""

    events: tuple[Event, ...] = ()
    num_damaged: int = 0

    def about(self, version: str) -> tuple[Event, ...]:
        """Return the events about one version."""
        return tuple(one for one in self.events if one.version == version)


def read_journal(entry: Path) -> Journal:
    """Return the journal of a model; empty if there is none. A damaged line is counted and left out.

    Args:
        entry: Directory of the model in the registry.

    Raises:
        ArtifactError: The file cannot be read.
    """
    path = entry / FILE
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error
    found = [event_at(line) for line in lines if line.strip()]
    events = tuple(one for one in found if one is not None)
    return Journal(events, len(found) - len(events))


def append(entry: Path, action: Action, version: str, before: str, note: Note = NOTHING) -> Event:
    """Add an event to the journal. The caller holds the lock of the entry.

    Promise: the line is on disk when this returns. A line that a crash cut short does not harm the next one.

    Raises:
        ArtifactError: The file cannot be written.
    """
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = Event(action, version, before, at, note.who, note.why, note.forced, dict(note.figures))
    path = entry / FILE
    try:
        with path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            cut_short = size > 0 and file.read(1) != b"\n"
            file.write(b"\n" * cut_short + json.dumps(asdict(event)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from error
    return event


@contextmanager
def locked(entry: Path) -> Iterator[None]:
    """Hold the lock of a model while the context lasts; wait for another process that holds it.

    Raises:
        ArtifactError: The directory cannot be written.
    """
    descriptor = _opened(entry, LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def claimed(entry: Path, name: str) -> Iterator[bool]:
    """Hold a claim on a model while the context lasts. Yields False at once where another process holds it.

    A claim ends with its process, however that ends.

    Raises:
        ArtifactError: The directory cannot be written.
    """
    descriptor = _opened(entry, name)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _opened(entry: Path, name: str) -> int:
    """Open a file to lock; the directory is created if it does not exist. Raises ArtifactError."""
    try:
        entry.mkdir(parents=True, exist_ok=True)
        return os.open(entry / name, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ArtifactError(f"{entry}: cannot be written: {error.strerror or error}") from error


def event_at(line: bytes) -> Event | None:
    """Return the event of a line, None if the line is damaged."""
    try:
        event = Event(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (event.version, event.before, event.at, event.who, event.why)
    is_sound = event.action in ACTIONS and all(isinstance(one, str) for one in texts)
    return event if is_sound and isinstance(event.figures, dict) else None
