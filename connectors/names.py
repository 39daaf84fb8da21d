"""The rules for names of channels and series, which training, decoding, recording and replay share.

A name that one entrance takes is taken by all of them. JSON carries every Unicode text, since it escapes
quotes, backslashes and control characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESERVED = ("timestamp", "series", "label", "split")
"""Columns of a table of readings that are no channels."""
MAX_SERIES_LENGTH = 256
"""In characters. Names of series become labels of metrics and keys of messages."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The names of the columns of times and of series, in a table that lacks `timestamp` or `series`."""

    time: str | None = None
    series: str | None = None


NAMES = ColumnNames()
"""No other names: a table must have `timestamp`."""


def channels_fault(channels: Sequence[str]) -> str | None:
    """Return why these cannot be the channels of a model or a message, with a remedy; None if they can.

    >>> channels_fault(["heat", ""])
    'channel 2 has an empty name; name it, or choose other channels'
    >>> channels_fault(['a"b', "% Processor Time"])
    """
    if not channels:
        return "no channels: at least one channel is needed"
    for number, name in enumerate(channels, 1):
        if not name:
            return f"channel {number} has an empty name; name it, or choose other channels"
        if not _is_unicode(name):
            return f"channel {name!r} is no valid Unicode text, which JSON cannot carry; rename it"
    repeated = sorted({name for name in channels if channels.count(name) > 1})
    return f"channel {repeated[0]!r} is listed twice; name it once" if repeated else None


def columns_fault(channels: Sequence[str]) -> str | None:
    """Return why these cannot be the channels of a table, beside its other columns; None if they can.

    >>> columns_fault(["heat", "label"])
    "channel 'label' has the name of a column that is no channel; rename it, or choose other channels"
    """
    taken = next((name for name in channels if name in RESERVED), None)
    if taken is None:
        return channels_fault(channels)
    return (
        f"channel {taken!r} has the name of a column that is no channel; rename it, or choose other channels"
    )


def series_fault(name: str) -> str | None:
    """Return why this cannot be the name of a series, with a remedy; None if it can.

    >>> series_fault("pump-17")
    >>> series_fault("")
    'a series has an empty name; name it in the column or field of the series'
    """
    if not name:
        return "a series has an empty name; name it in the column or field of the series"
    if len(name) > MAX_SERIES_LENGTH:
        shown = f"{name[:40]}..."
        return (
            f"series {shown!r} has a name of {len(name)} characters, the limit is {MAX_SERIES_LENGTH};"
            " shorten it"
        )
    if not _is_unicode(name):
        return f"series {name!r:.80} is no valid Unicode text, which JSON cannot carry; rename it"
    return None


def _is_unicode(name: str) -> bool:
    """Whether UTF-8 has the text: half of a surrogate pair it has not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
