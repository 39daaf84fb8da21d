"""Rows of the scores topic: as it has them, and as the engine gives them again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from connectors.records import Message
from detector.errors import DetectorError

_MS = 1_000_000
_BY_THE_CLOCK = "stale"
"""The state that follows from the service's clock; no replay can give it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of one series.

    digest   of every column of the row, model and version among them: equal bits give equal digests
    """

    series: str
    time_ms: int
    model: str
    version: str
    score: float | None
    state: str
    digest: bytes

    @property
    def verdict(self) -> tuple[str, str, float | None, str]:
        """What does not depend on what was published before: model, version, score and state."""
        return self.model, self.version, self.score, self.state


def rows_of(value: bytes) -> Iterator[Row]:
    """Yield the rows of a message of the scores topic, without those of the state `stale`.

    Raises:
        DetectorError: The message is not of the form that the service writes.
    """
    try:
        body = orjson.loads(value)
        columns = _columns(body)
        head = [body["series"], body["model"], body["version"]]
        times, scores, states = body["timestamp"], body["score"], body["state"]
        for at, state in enumerate(states):
            if state != _BY_THE_CLOCK:
                cells = orjson.dumps([*head, *([name, column[at]] for name, column in columns)])
                digest = hashlib.blake2b(cells, digest_size=16).digest()
                yield Row(head[0], int(times[at]), head[1], head[2], scores[at], state, digest)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise DetectorError(f"a message of the scores topic has another form: {error!r}") from error


def _columns(body: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return all columns of a message by name, in one order whatever the order of the keys."""
    found = {name: column for name, column in body.items() if isinstance(column, list)}
    for channel, kinds in body.get("channels", {}).items():
        found |= {f"channels.{channel}.{kind}": column for kind, column in kinds.items()}
    return sorted(found.items())


@dataclass(slots=True)
class Judged:
    """What the scores topic has of one model.

    series  the series with a row of it
    oldest  time and version of its oldest row, epoch milliseconds
    """

    oldest: tuple[int, str]
    versions: set[str] = field(default_factory=set)
    series: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """Take in a row of the model."""
        self.oldest = min(self.oldest, (row.time_ms, row.version), key=lambda one: one[0])
        self.versions.add(row.version)
        self.series.add(row.series)


@dataclass(slots=True)
class Published:
    """The rows that the scores topic has, by series and time, in the order in which they were published.

    rows      series -> time -> rows not matched yet; several if a clock went back, or if one is doubled
    firsts    series -> time of its oldest rows, in order
    models    model -> what it judged
    damaged   messages that are not of the service's form
    """

    rows: dict[str, dict[int, list[Row]]] = field(default_factory=dict)
    firsts: dict[str, list[int]] = field(default_factory=dict)
    lasts: dict[str, int] = field(default_factory=dict)
    models: dict[str, Judged] = field(default_factory=dict)
    damaged: int = 0

    @classmethod
    def of(cls, messages: Iterable[Message], num_firsts: int) -> Published:
        """Take in the messages of the topic; of each series the first `num_firsts` times are kept apart."""
        found = cls()
        for message in messages:
            try:
                rows = list(rows_of(message.value or b""))
            except DetectorError:
                found.damaged += 1
                continue
            for row in rows:
                found._add(row, num_firsts)
        return found

    def _add(self, row: Row, num_firsts: int) -> None:
        self.rows.setdefault(row.series, {}).setdefault(row.time_ms, []).append(row)
        firsts = self.firsts.setdefault(row.series, [])
        if len(firsts) < num_firsts:
            firsts.append(row.time_ms)
        self.lasts[row.series] = max(row.time_ms, self.lasts.get(row.series, row.time_ms))
        if row.model not in self.models:
            self.models[row.model] = Judged((row.time_ms, row.version))
        self.models[row.model].add(row)

    def versions_of(self, model: str) -> frozenset[str]:
        """Return the versions of a model that judged some row."""
        return frozenset(self.models[model].versions) if model in self.models else frozenset()

    def times_of(self, series: str, model: str) -> Iterator[int]:
        """Yield the times of rows of a series that a model judged and nothing matched yet."""
        for time_ms, waiting in self.rows.get(series, {}).items():
            if any(row.model == model for row in waiting):
                yield time_ms

    def next_of(self, series: str, time_ms: int, skip: int = 0) -> Row | None:
        """Return the oldest row of this time that is not matched yet, passing over `skip` of them."""
        waiting = self.rows.get(series, {}).get(time_ms, [])
        return waiting[skip] if len(waiting) > skip else None

    def take(self, series: str, time_ms: int) -> Row | None:
        """Return the oldest row of this time that is not matched yet; from now on it is."""
        waiting = self.rows.get(series, {}).get(time_ms)
        if not waiting:
            return None
        found = waiting.pop(0)
        if not waiting:
            del self.rows[series][time_ms]
        return found

    def left(self) -> Iterator[Row]:
        """Yield the rows that were not matched."""
        for times in self.rows.values():
            for waiting in times.values():
                yield from waiting


def digest_of(rows: Iterable[Row]) -> str:
    """Return the SHA-256 of rows, in the order of series and time."""
    found = hashlib.sha256()
    for row in sorted(rows, key=lambda one: (one.series, one.time_ms, one.digest)):
        found.update(row.digest)
    return found.hexdigest()
