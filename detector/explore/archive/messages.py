"""Reads the messages of a group's topics (docs/messages.md) into columns of an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from connectors.times import INVALID_NS
from detector.delivery.decision_records import EARLIEST_NS, LATEST_NS
from detector.explore.store.database import Columns
from detector.explore.store.tables import KINDS, ns_of

DECIDED = ("accepted", "rejected", "muted", "ignored")
_MS = 1_000_000
_NUMBERS = ("score", "p_value", "cumulative", "page_level")
_TEXTS = ("state", "evidence", "mode")

Numbers = list[float | None]


class NotOursError(Exception):
    """A message is not of the form that the daemon writes."""


class _Channel(msgspec.Struct):
    actual: Numbers
    expected: Numbers
    contribution: Numbers


class _Verdicts(msgspec.Struct):
    series: str
    timestamp: list[int]
    score: Numbers
    state: list[str]
    model: str = ""
    version: str = ""
    p_value: Numbers | None = None
    cumulative: Numbers | None = None
    page_level: Numbers | None = None
    paged: list[bool] | None = None
    evidence: list[str] | None = None
    mode: list[str | None] | None = None
    channels: dict[str, _Channel] = {}


_decoder = msgspec.json.Decoder(_Verdicts)


class VerdictRows:
    """Collects rows of the scores topic as columns. Not thread-safe.

    Columns that a message lacks, as with `detail = "scores"`, are unknown.

    Args:
        channels: the channels that are kept.

    Attributes:
        versions: the newest version of each model, by its name.
        homes: the newest model of each series, since they were taken.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = tuple(channels)
        self._columns: dict[str, list[Any]] = {one: [] for one in self.types}
        self.versions: dict[str, str] = {}
        self.homes: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._columns["ns"])

    @property
    def num_cells(self) -> int:
        """The number of values that are held."""
        return len(self) * len(self._columns)

    @property
    def types(self) -> dict[str, str]:
        """The columns with their types in SQL; `ns` is the time of the row in nanoseconds."""
        per_channel = [f"{kind}_{one}" for one in self._channels for kind in KINDS]
        return {
            "series": "VARCHAR",
            "ns": "BIGINT",
            "paged": "BOOLEAN",
            **dict.fromkeys(_TEXTS, "VARCHAR"),
            **dict.fromkeys((*_NUMBERS, *per_channel), "DOUBLE"),
        }

    def add(self, value: bytes) -> None:
        """Take in one message. Raises NotOursError."""
        try:
            found = _decoder.decode(value)
        except msgspec.DecodeError as error:
            raise NotOursError(str(error)) from error
        rows = self._rows(found)
        num = len(found.timestamp)
        if not all(EARLIEST_NS <= ms * _MS < LATEST_NS for ms in found.timestamp):
            raise NotOursError("a time lies outside of the years 1678 to 2261")
        if any(column is not None and len(column) != num for column in rows.values()):
            raise NotOursError("its columns differ in length")
        for one, kept in self._columns.items():
            column = rows.get(one)
            kept.extend([None] * num if column is None else column)
        self.versions[found.model] = found.version
        self.homes[found.series] = found.model

    def take(self) -> Columns:
        """Return the rows as arrays and forget them; unknown numbers are NaN, unknown texts None."""
        types, lists = self.types, self._columns
        self._columns = {one: [] for one in types}
        kinds: Mapping[str, Any] = {"DOUBLE": np.float64, "BIGINT": np.int64}
        return {one: np.array(lists[one], kinds.get(kind, object)) for one, kind in types.items()}

    def take_homes(self) -> dict[str, str]:
        """Return the model of each series and forget them."""
        found, self.homes = self.homes, {}
        return found

    def _rows(self, found: _Verdicts) -> dict[str, Sequence[Any] | None]:
        rows: dict[str, Sequence[Any] | None] = {
            "series": [found.series] * len(found.timestamp),
            "ns": [ms * _MS for ms in found.timestamp],
            "paged": found.paged,
        }
        rows |= {one: getattr(found, one) for one in (*_TEXTS, *_NUMBERS)}
        for channel in self._channels:
            if (values := found.channels.get(channel)) is not None:
                rows |= {f"{kind}_{channel}": getattr(values, kind) for kind in KINDS}
        return rows


def incident_row(value: bytes) -> tuple[Any, ...] | None:
    """Return the columns of an incident, in the order of the table; times are nanoseconds or None.

    Returns:
        None for a message about no incident, such as `muted`.

    Raises:
        NotOursError: the message is not of the alerts topic.
    """
    found = _object(value)
    if found.get("event") in ("muted", "ignored"):
        return None
    try:
        plain = [str(found[key]) for key in ("id", "series", "state", "reason", "severity")]
        times = [ns_of(found[key]) for key in ("start", "opened", "end", "peak")]
        channel = found["channels"][0]["name"] if found["channels"] else None
        peak = found["peak_score"]
        if (
            INVALID_NS in times
            or not isinstance(channel, str | None)
            or not isinstance(peak, float | int | None)
        ):
            raise NotOursError("a time, channel or peak_score has another form")
        return (*plain, *times, peak, channel, value.decode())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotOursError(f"it lacks {error}") from error


def decision_row(value: bytes) -> tuple[Any, ...] | None:
    """Return the columns of a decision, of its record or of the message that it was applied.

    The last column is the outcome, `applied` or `ignored`, and None for a record.

    Returns:
        None for a message of the alerts topic about something else.

    Raises:
        NotOursError: the message is of neither topic.
    """
    found = _object(value)
    if "event" in found:
        if found["event"] not in DECIDED or not isinstance(found.get("decision"), dict):
            return None
        found = found["decision"]
    try:
        texts = [found.get(key) for key in ("id", "action", "series", "incident", "who", "why")]
        if not all(isinstance(one, str) for one in texts[:3]):
            raise NotOursError("it names no id, action or series")
        outcome = found.get("outcome")
        if not all(isinstance(one, str | None) for one in (*texts[3:], outcome)):
            raise NotOursError("a text of it is no text")
        since, until = ns_of(found["at"]), ns_of(found.get("until"))
        if INVALID_NS in (since, until):
            raise NotOursError("a time of it is no time")
        return (*texts, since, until, outcome)
    except (KeyError, TypeError, ValueError) as error:
        raise NotOursError(f"it lacks {error}") from error


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise NotOursError(str(error)) from error
    if not isinstance(found, dict):
        raise NotOursError("it is no object")
    return found
