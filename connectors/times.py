"""One rule for the time of a reading, whatever the entrance: message, Parquet, frame.

    a number       epoch milliseconds, from 1990 to 2262; seconds, micro- and nanoseconds are refused
    a text         ISO 8601 with microseconds; no zone means UTC
    other clocks   a `Clock` has another unit of numbers, and another zone of texts without one
    a timestamp    any unit of Parquet or pandas; no zone means UTC
    a date         midnight UTC

Numbers of another unit lie outside these years, so a wrong unit is noticed and never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["s", "ms", "us", "ns"]
NS_PER_UNIT: dict[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
NS_PER_MS = NS_PER_UNIT["ms"]
EARLIEST_NS = 631_152_000_000_000_000
"""The year 1990. Earlier times are nearly always numbers of another unit, or a clock that was never set."""
INVALID_NS = int(np.iinfo(np.int64).min)
"""Stands for a stamp that is no time."""
MAX_MS = (2**63 - 1) // NS_PER_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES: dict[str, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_MOST_NS = 2**63 - 1
_MOST_NS_OF_FLOATS = 9.2e18
"""Products of floats up to this are int64, however they are rounded."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How stamps are read: the unit of numbers, and the zone of texts that name none.

    A text in the hour that a zone repeats in autumn is of the first of both.
    """

    unit: Unit = "ms"
    zone: tzinfo = UTC

    def times_of(self, stamps: Sequence[int | float | str]) -> NDArray[np.int64]:
        """Return int64 [n], UTC nanoseconds; `INVALID_NS` if a stamp is no time. Equal ones are parsed once.

        >>> Clock("s").times_of([1767225600, 1767225600.25]).tolist()
        [1767225600000000000, 1767225600250000000]
        """
        if set(map(type, stamps)) <= {int}:
            try:
                return times_of_numbers(np.array(stamps, np.int64), self.unit)
            except OverflowError:
                pass
        parsed: dict[tuple[type, int | float | str], int] = {}
        for stamp in stamps:
            if (type(stamp), stamp) not in parsed:
                parsed[type(stamp), stamp] = self._parse(stamp)
        return np.array([parsed[type(stamp), stamp] for stamp in stamps], np.int64)

    def words(self) -> str:
        """Return what a stamp has to be, for a person."""
        return f"neither epoch {_NAMES[self.unit]} nor an ISO 8601 time"

    def hint(self, number: float) -> str:
        """Return a question that names the unit a number seems to have, or "" if it has none."""
        unit = _unit_of_epoch(number, self.unit)
        return f"; are these {_NAMES[unit]}? {_NAMES[self.unit]} are expected" if unit else ""

    def _parse(self, stamp: int | float | str) -> int:
        if isinstance(stamp, str):
            return _parse_iso(stamp, self.zone)
        per_unit = NS_PER_UNIT[self.unit]
        if isinstance(stamp, int):
            return stamp * per_unit if abs(stamp) <= _MOST_NS // per_unit else INVALID_NS
        return int(times_of_numbers(np.array([stamp]), self.unit)[0])


def times_of(stamps: Sequence[int | float | str]) -> NDArray[np.int64]:
    """Return int64 [n], UTC nanoseconds, of epoch milliseconds and ISO 8601; `INVALID_NS` if no time.

    >>> times_of([1767225600000, "2026-01-01T00:00:00+01:00"]).tolist()
    [1767225600000000000, 1767222000000000000]
    """
    return Clock().times_of(stamps)


def times_of_numbers(epoch: NDArray[Any], unit: Unit = "ms") -> NDArray[np.int64]:
    """Return int64 [n], nanoseconds, of epoch numbers of a unit; fractions count to the microsecond."""
    per_unit = NS_PER_UNIT[unit]
    if np.issubdtype(epoch.dtype, np.floating):
        is_time = np.abs(epoch) <= _MOST_NS_OF_FLOATS / per_unit
        step = min(per_unit, 1_000)
        found = np.rint(np.where(is_time, epoch, 0) * (per_unit // step)).astype(np.int64) * step
    else:
        most = _MOST_NS // per_unit
        is_time = (epoch >= -most) & (epoch <= most)
        found = np.where(is_time, epoch, 0).astype(np.int64) * per_unit
    return np.where(is_time, found, INVALID_NS)


def unit_of_epoch(number: float) -> str | None:
    """Return the unit, other than milliseconds, in which a number is a time from 1990 to 2262.

    >>> unit_of_epoch(1767225600), unit_of_epoch(1767225600000), unit_of_epoch(1767225600000000)
    ('s', None, 'us')
    """
    return _unit_of_epoch(number, "ms")


def unit_hint(number: float) -> str:
    """Return a question that names the unit a number seems to have, or "" if it has none.

    >>> unit_hint(1767225600)
    '; are these seconds? milliseconds are expected'
    """
    return Clock().hint(number)


def iso_time(timestamp_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, to the microsecond.

    >>> iso_time(1_767_225_600_000_000_000)
    '2026-01-01T00:00:00.000000Z'
    """
    return str(np.datetime64(timestamp_ns // 1_000, "us")) + "Z"


def _unit_of_epoch(number: float, expected: str) -> str | None:
    """Return the unit, other than the expected one, in which a number is a time from 1990 to 2262."""
    others = (unit for unit in NS_PER_UNIT if unit != expected)
    return next((unit for unit in others if EARLIEST_NS <= number * NS_PER_UNIT[unit] < 2**63), None)


def _parse_iso(text: str, zone: tzinfo) -> int:
    if text.isdecimal():  # "20260101" is ISO 8601, but a quoted number is far more often a mistake
        return INVALID_NS
    try:
        when = datetime.fromisoformat(text)
        since = (when if when.tzinfo else when.replace(tzinfo=zone)) - _EPOCH
    except (ValueError, OverflowError):
        return INVALID_NS
    nanoseconds = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    return nanoseconds if abs(nanoseconds) <= MAX_MS * NS_PER_MS else INVALID_NS
