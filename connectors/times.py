"""One rule for the time of a reading, whatever the entrance: message, Parquet, frame.

    a number       epoch milliseconds, from 1990 to 2262; seconds, micro- and nanoseconds are refused
    a text         ISO 8601 with microseconds; no zone means UTC
    a timestamp    any unit of Parquet or pandas; no zone means UTC
    a date         midnight UTC

Numbers of another unit lie outside these years, so a wrong unit is noticed and never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
NS_PER_MS = NS_PER_UNIT["ms"]
EARLIEST_NS = 631_152_000_000_000_000
"""The year 1990. Earlier times are nearly always numbers of another unit, or a clock that was never set."""
INVALID_NS = int(np.iinfo(np.int64).min)
"""Stands for a stamp that is no time."""
MAX_MS = (2**63 - 1) // NS_PER_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {"s": "seconds", "us": "microseconds", "ns": "nanoseconds"}


def times_of(stamps: Sequence[int | float | str]) -> NDArray[np.int64]:
    """Return int64 [n], UTC nanoseconds; `INVALID_NS` if a stamp is no time. Equal stamps are parsed once.

    >>> times_of([1767225600000, "2026-01-01T00:00:00+01:00"]).tolist()
    [1767225600000000000, 1767222000000000000]
    """
    if set(map(type, stamps)) <= {int}:
        try:
            return times_of_numbers(np.array(stamps, np.int64))
        except OverflowError:
            pass
    parsed: dict[tuple[type, int | float | str], int] = {}
    for stamp in stamps:
        if (type(stamp), stamp) not in parsed:
            parsed[type(stamp), stamp] = _parse(stamp)
    return np.array([parsed[type(stamp), stamp] for stamp in stamps], np.int64)


def times_of_numbers(epoch_ms: NDArray[Any]) -> NDArray[np.int64]:
    """Return int64 [n], nanoseconds, of epoch milliseconds; fractions count to the microsecond."""
    is_time = (epoch_ms >= -MAX_MS) & (epoch_ms <= MAX_MS)
    ms = np.where(is_time, epoch_ms, 0)
    if np.issubdtype(epoch_ms.dtype, np.floating):
        found = np.rint(ms * 1_000).astype(np.int64) * 1_000
    else:
        found = ms.astype(np.int64) * NS_PER_MS
    return np.where(is_time, found, INVALID_NS)


def unit_of_epoch(number: float) -> str | None:
    """Return the unit, other than milliseconds, in which a number is a time from 1990 to 2262.

    >>> unit_of_epoch(1767225600), unit_of_epoch(1767225600000), unit_of_epoch(1767225600000000)
    ('s', None, 'us')
    """
    fitting = (unit for unit in _NAMES if EARLIEST_NS <= number * NS_PER_UNIT[unit] < 2**63)
    return next(fitting, None)


def unit_hint(number: float) -> str:
    """Return a question that names the unit a number seems to have, or "" if it has none.

    >>> unit_hint(1767225600)
    '; are these seconds? milliseconds are expected'
    """
    unit = unit_of_epoch(number)
    return f"; are these {_NAMES[unit]}? milliseconds are expected" if unit else ""


def iso_time(timestamp_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, to the microsecond.

    >>> iso_time(1_767_225_600_000_000_000)
    '2026-01-01T00:00:00.000000Z'
    """
    return str(np.datetime64(timestamp_ns // 1_000, "us")) + "Z"


def _parse(stamp: int | float | str) -> int:
    if isinstance(stamp, str):
        return _parse_iso(stamp)
    return round(stamp * 1_000) * 1_000 if abs(stamp) <= MAX_MS else INVALID_NS


def _parse_iso(text: str) -> int:
    if text.isdecimal():  # "20260101" is ISO 8601, but a quoted number is far more often a mistake
        return INVALID_NS
    try:
        when = datetime.fromisoformat(text)
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return INVALID_NS
    nanoseconds = (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    return nanoseconds if abs(nanoseconds) <= MAX_MS * NS_PER_MS else INVALID_NS
