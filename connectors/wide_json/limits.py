"""Bounds of a message, whatever its format, and the check of its time against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectors.names import MAX_SERIES_LENGTH
from connectors.times import EARLIEST_NS, INVALID_NS, MAX_MS, NS_PER_MS, Clock, iso_time

_EARLIEST_CLOCK_MS = EARLIEST_NS // NS_PER_MS
"""A broker's time before 1990 is 0 or seconds, which the producer wrote, and no clock."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds beyond which a message is rejected.

    unknown_channels   a channel that the model does not know: `ignore` (drop the value, count it) or
                       `reject` (the whole message)
    min_timestamp_ns   older readings are rejected: usually seconds sent as milliseconds
    max_future_ns      how far a reading may be ahead of the broker's timestamp of its message; one before
                       1990 is no limit
    max_bytes          larger messages are rejected without decoding
    max_series_length  in characters; series names become metric labels and message keys
    """

    unknown_channels: Literal["ignore", "reject"] = "ignore"
    min_timestamp_ns: int = EARLIEST_NS
    max_future_ns: int = 86_400_000_000_000  # one day
    max_bytes: int = 1 << 20
    max_series_length: int = MAX_SERIES_LENGTH


class Refusal(NamedTuple):
    """Why a message is refused: one of `REASONS`, the fault for a person, and the series if it is known.

    `strangers` are the series of readings without a known channel, if nothing else is wrong with the message.
    """

    reason: str
    detail: str
    series: str = ""
    strangers: tuple[str, ...] = ()


def rows_beyond(
    timestamp_ns: NDArray[np.int64], broker_ms: NDArray[np.int64], limits: Limits
) -> NDArray[np.intp]:
    """Return the rows whose time is none, too long ago, or too far ahead of the broker's.

    Both columns are int64 [n]; a broker's time of -1 is none.
    """
    latest = MAX_MS - limits.max_future_ns // NS_PER_MS
    has_limit = (broker_ms >= _EARLIEST_CLOCK_MS) & (broker_ms <= latest)
    limit_ns = np.where(has_limit, broker_ms, 0) * NS_PER_MS + limits.max_future_ns
    too_late = has_limit & (timestamp_ns > limit_ns)
    return np.flatnonzero(too_late | (timestamp_ns < limits.min_timestamp_ns))


class Moment(NamedTuple):
    """A stamp as it was sent, the time that was made of it, and the broker's time of its message."""

    stamp: int | float | str
    timestamp_ns: int
    broker_ms: int


def refused_time(moment: Moment, limits: Limits, clock: Clock) -> Refusal:
    """Return the refusal of a time that `rows_beyond` found."""
    stamp = moment.stamp
    hint = "" if isinstance(stamp, str) else clock.hint(stamp)
    if moment.timestamp_ns == INVALID_NS:
        return Refusal("bad_timestamp", f"{stamp!r} is {clock.words()}{hint}")
    when = f"{stamp!r} is {iso_time(moment.timestamp_ns)}"
    if moment.timestamp_ns >= limits.min_timestamp_ns:
        broker = iso_time(moment.broker_ms * NS_PER_MS)
        return Refusal("bad_timestamp", f"{when}, too far ahead of the broker's time {broker}")
    return Refusal("bad_timestamp", f"{when}, too long ago{hint}")
