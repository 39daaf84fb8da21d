"""The state of a daemon without Kafka: one file of SQLite in a directory, or in memory.

It holds what the topics of Kafka hold otherwise, and commits all of it in one transaction:

    state      (partition, key) -> newest snapshot, as `connectors.kafka.compacted_topic` reads it
    position   the offset behind the last message whose results are out
    lengths    output file -> its inode and length at that moment
    segments   the offsets of the lines of each file
    alerts     changes of incidents for the notifiers, with the position of each notifier

Promise: after a kill or a power failure the store is as its last `commit` left it. SQLite writes a journal
and waits for the disk before a commit returns.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from connectors.errors import StateError
from connectors.records import Message

_FILE, _LOCK = "state.sqlite", "lock"
_VERSION = 1
_MOST_ALERTS = 10_000
_TABLES = """
CREATE TABLE state (partition INTEGER, key BLOB, value BLOB, UNIQUE (partition, key));
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE segments (first INTEGER PRIMARY KEY, num INTEGER, path TEXT, identity TEXT, start INTEGER,
                       stop INTEGER);
CREATE TABLE alerts (number INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER, value BLOB);
CREATE TABLE notified (name TEXT PRIMARY KEY, next INTEGER);
"""
_PRUNE = """
DELETE FROM segments WHERE first + num < ?
AND first < (SELECT max(first) FROM segments AS other WHERE other.identity = segments.identity)
"""


class Segment(NamedTuple):
    """Consecutive lines of one file.

    first, num    offset of the first line, and the number of lines
    path          the file
    identity      what a renamed file keeps, and another file of this path has not
    start, stop   the bytes of these lines in the file
    """

    first: int
    num: int
    path: str
    identity: str
    start: int
    stop: int

    @property
    def end(self) -> int:
        """The offset behind the last line."""
        return self.first + self.num


class Length(NamedTuple):
    """How long an output file was at the last commit."""

    inode: int
    num_bytes: int


class Alert(NamedTuple):
    """A change of an incident, its number in the order of commits, and when it was committed."""

    number: int
    time_ms: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that one commit changes.

    position   the offset to read next; None leaves it
    state      snapshots; a message without a value deletes that of its key
    lengths    output file -> its length now
    segments   new or grown segments; those that end before `oldest` are removed, except the last of a file
    alerts     changes of incidents, for the notifiers
    """

    position: int | None = None
    state: Sequence[Message] = ()
    lengths: Mapping[str, Length] = field(default_factory=dict)
    segments: Sequence[Segment] = ()
    oldest: int = 0
    alerts: Sequence[bytes] = ()


class LocalStore:
    """Keeps the state of one daemon. Any thread may call any method.

    >>> with LocalStore(None) as store:
    ...     store.commit(Step(position=3, state=[Message("state", b"pump", b"snapshot", (), 0)]))
    ...     store.position, store.read_state([0])
    (3, {0: {b'pump': b'snapshot'}})
    """

    def __init__(self, directory: Path | None, owner: str = "") -> None:
        """Open the store; create it where there is none.

        Args:
            directory: where it lies; None: in memory, and lost at the end.
            owner: what is read, such as `stdin`. Its offsets mean nothing to another input.

        Raises:
            StateError: the directory cannot be used, another process uses it, or it is another input's.
        """
        self._directory, self._lock = directory, threading.RLock()
        self._held: IO[bytes] | None = None
        self._database: sqlite3.Connection | None = None
        try:
            if directory is not None:
                directory.mkdir(parents=True, exist_ok=True)
                self._held = _locked(directory)
            self._database = _opened(directory)
            self._check(owner)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StateError(f"[source] state: {directory}: {error}; name another directory") from error
        except StateError:
            self.close()
            raise

    @property
    def is_kept(self) -> bool:
        """Whether a restart finds the state again."""
        return self._directory is not None

    @property
    def position(self) -> int | None:
        """The committed offset; None where nothing was ever committed."""
        found = self._fact("position")
        return None if found is None else int(found)

    @property
    def lengths(self) -> dict[str, Length]:
        """The output files and their lengths at the last commit."""
        found = self._fact("lengths")
        return {} if found is None else {path: Length(*one) for path, one in json.loads(found).items()}

    def read_state(self, partitions: Iterable[int]) -> dict[int, dict[bytes, bytes]]:
        """Return partition -> key -> snapshot."""
        return {
            number: dict(self._rows("SELECT key, value FROM state WHERE partition = ?", number))
            for number in partitions
        }

    def segments(self) -> list[Segment]:
        """Return the segments by ascending offset."""
        return [Segment(*row) for row in self._rows("SELECT * FROM segments ORDER BY first")]

    def commit(self, step: Step) -> None:
        """Change everything in one transaction; return once it is safe.

        Raises:
            StateError: nothing was changed; the disk may be full.
        """
        with self._lock, self._changing() as database:
            for message in step.state:
                key = (message.partition or 0, message.key or b"")
                if message.value is None:
                    database.execute("DELETE FROM state WHERE partition = ? AND key = ?", key)
                else:
                    put = "INSERT OR REPLACE INTO state VALUES (?, ?, ?)"
                    database.execute(put, (*key, message.value))
            if step.position is not None:
                self._note("position", str(step.position))
            if step.lengths:
                self._note("lengths", json.dumps(self.lengths | dict(step.lengths)))
            database.executemany("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?, ?)", step.segments)
            database.execute(_PRUNE, (step.oldest,))
            now = time.time_ns() // 1_000_000
            rows = [(now, value) for value in step.alerts]
            database.executemany("INSERT INTO alerts (time_ms, value) VALUES (?, ?)", rows)
            if rows:
                oldest = "DELETE FROM alerts WHERE number <= (SELECT max(number) FROM alerts) - ?"
                database.execute(f"{oldest} AND number < (SELECT min(next) FROM notified)", (_MOST_ALERTS,))

    def alerts(self, start: int, limit: int) -> list[Alert]:
        """Return at most `limit` alerts from number `start` on."""
        query = "SELECT number, time_ms, value FROM alerts WHERE number >= ? ORDER BY number LIMIT ?"
        return [Alert(*row) for row in self._rows(query, start, limit)]

    def next_alert(self) -> int:
        """Return the number of the next alert that is committed."""
        found = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'alerts'")
        return int(found[0][0]) + 1 if found else 1

    def notified(self, name: str) -> int:
        """Return the next alert of a notifier. One that is new begins with the alerts from now on."""
        with self._lock:
            found = self._rows("SELECT next FROM notified WHERE name = ?", name)
            if found:
                return int(found[0][0])
            start = self.next_alert()
            self.note_notified(name, start)
            return start

    def note_notified(self, name: str, until: int, note: str = "") -> None:
        """Note that every alert before `until` is delivered or given up, and a text of the notifier."""
        with self._lock, self._changing() as database:
            database.execute("INSERT OR REPLACE INTO notified VALUES (?, ?)", (name, until))
            self._note(f"note of notifier {name}", note)

    def note_of(self, name: str) -> str:
        """Return the text that a notifier noted last."""
        return self._fact(f"note of notifier {name}") or ""

    def forget_notifiers(self, names: Collection[str]) -> None:
        """Forget all notifiers but these: alerts wait for nobody who is gone."""
        with self._lock, self._changing() as database:
            known = [name for (name,) in self._rows("SELECT name FROM notified")]
            gone = [(name,) for name in known if name not in names]
            database.executemany("DELETE FROM notified WHERE name = ?", gone)

    def close(self) -> None:
        """Close the file and leave the directory to others. May be called more than once."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            if self._held is not None:
                self._held.close()
                self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, owner: str) -> None:
        """Raise StateError where the state is that of another input."""
        found = self._fact("owner")
        if found is None:
            with self._changing():
                self._note("owner", owner)
        elif found != owner:
            raise StateError(
                f"[source] state: {self._directory} has the state of {found}, and {owner} is read now:"
                " name another directory, or delete this one to begin again"
            )

    def _changing(self) -> _Transaction:
        if self._database is None:
            raise StateError("the state is closed")
        return _Transaction(self._database, self._directory)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return [] if self._database is None else self._database.execute(query, values).fetchall()

    def _fact(self, name: str) -> str | None:
        found = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def _note(self, name: str, value: str) -> None:
        assert self._database is not None
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


class _Transaction:
    """All statements of a `with` block, or none of them; an error of SQLite becomes a StateError."""

    def __init__(self, database: sqlite3.Connection, directory: Path | None) -> None:
        self._database, self._directory = database, directory

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._database.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as failure:
            raise StateError(f"[source] state: {self._directory}: cannot write: {failure}") from failure
        if isinstance(error, sqlite3.Error):
            raise StateError(f"[source] state: {self._directory}: cannot write: {error}") from error


def _locked(directory: Path) -> IO[bytes]:
    """Return an open file whose lock this process holds. Raises StateError where another one does."""
    held = (directory / _LOCK).open("wb")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise StateError(
            f"[source] state: {directory}: another process uses this directory; each daemon needs its own"
        ) from None
    return held


def _opened(directory: Path | None) -> sqlite3.Connection:
    """Return the database with its tables. Raises StateError for one of another version."""
    place = ":memory:" if directory is None else str(directory / _FILE)
    database = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        database.close()
        raise StateError(
            f"[source] state: {place} was written by another version of Streamgauge (format {version},"
            f" expected {_VERSION}): name another directory"
        )
    return database
