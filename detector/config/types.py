"""Define the parts of a section: tables without unknown keys, durations, times of day."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*")
_LONGEST_SECONDS = 100 * 365.25 * 86400.0
"""Times, and their sums with this, fit into int64 nanoseconds."""
_MOST_SHOWN = 200
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


def parse_duration(value: object) -> float:
    """Return the seconds of "30s", "5m", "1.5h", "1d", "250ms" or a plain number. Raises ValueError.

    >>> parse_duration("1.5h"), parse_duration(7)
    (5400.0, 7.0)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds: int | float = value
    else:
        match = _DURATION.fullmatch(str(value))
        if match is None:
            raise ValueError(f"{shown(value)} is not a duration such as 30s, 5m, 1h or 1d")
        seconds = float(match.group(1)) * _UNITS[match.group(2)]
    if not seconds <= _LONGEST_SECONDS:  # also true of NaN
        raise ValueError(f"{shown(value)} is not a duration of at most 100 years")
    return float(seconds)


def duration_text(seconds: float) -> str:
    """Return a duration that `parse_duration` reads back, in the largest unit in which it is whole.

    >>> [duration_text(seconds) for seconds in (604800.0, 21600.0, 90.0, 0.25, 0.0)]
    ['7d', '6h', '90s', '0.25s', '0s']
    """
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.15g}s"


def parse_time(value: object) -> time:
    """Return the time of day of "02:00", "02:00:30" or a TOML time. Raises ValueError."""
    if isinstance(value, time) and value.tzinfo is None:
        return value
    match = _TIME.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{shown(value)} is not a time of day such as 02:00")
    hour, minute, second = (int(part) for part in match.groups(default="0"))
    return time(hour, minute, second)


LocalTime = Annotated[time, BeforeValidator(parse_time)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]


def is_duration(field: FieldInfo) -> bool:
    """Return whether a field is a `Duration`, or one of its choices is."""
    parts = [field.metadata, *(getattr(part, "__metadata__", ()) for part in get_args(field.annotation))]
    return any(getattr(one, "func", None) is parse_duration for part in parts for one in part)


class Section(BaseModel):
    """Describe a table of the file. It is immutable, and an unknown key is an error."""

    # The input may be a secret, so pydantic must not show it; `detector.config.problems` shows the rest.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def shown(value: object) -> str:
    """Return a value as an error shows it, shortened where it is long."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or as many nested lists
        return "a value too long to show"
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
