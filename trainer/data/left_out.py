"""What a training left out of its history, and why: values for the artifact, lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Reason = Literal["out_of_range", "sentinel", "impossible", "suspicious", "excluded", "incident"]
_WORDS: dict[Reason, str] = {
    "out_of_range": "outside the stated range",
    "sentinel": "a value that stands for no value",
    "impossible": "too far from all other values",
    "suspicious": "unlike the rest of the history",
    "excluded": "excluded by the configuration",
    "incident": "within a known incident",
}
_MOST_ENTRIES, _MOST_LINES = 200, 8


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Hold cells or rows of one series that a training did not use, or that it used in spite of a doubt.

    Attributes:
        reason: Why.
        series: Name of the series.
        channels: The channels concerned; empty for whole rows without a look at their values.
        start_ns, end_ns: Times of the first and the last row.
        rows: Rows left out, or cells of the channel.
        detail: What was found, in words.
        kept: True if the rows were used all the same.
    """

    reason: Reason
    series: str
    channels: tuple[str, ...]
    start_ns: int
    end_ns: int
    rows: int
    detail: str = ""
    kept: bool = False

    @property
    def counts_cells(self) -> bool:
        """Return whether `rows` are cells of one channel, and not whole rows."""
        return self.reason in ("out_of_range", "sentinel", "impossible")

    def as_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        return {
            "reason": self.reason,
            "series": self.series,
            "channels": list(self.channels),
            "start": time_text(self.start_ns),
            "end": time_text(self.end_ns),
            "cells" if self.counts_cells else "rows": self.rows,
            "detail": self.detail,
            "kept": self.kept,
        }

    def __str__(self) -> str:
        """Return this as one line."""
        unit = "cells" if self.counts_cells else "rows"
        unit = unit if self.rows != 1 else unit[:-1]
        series = f"{self.series}: " if self.series else ""
        names = f" of {', '.join(self.channels)}" if self.channels else ""
        detail = f" ({self.detail})" if self.detail else ""
        kept = "; used all the same" if self.kept else ""
        when = f"{time_text(self.start_ns)} to {time_text(self.end_ns)}"
        return f"{series}{self.rows:,} {unit}{names}, {when}: {_WORDS[self.reason]}{detail}{kept}"


def left_out_record(found: Sequence[LeftOut]) -> dict[str, Any]:
    """Return what was left out as the artifact keeps it: totals by reason, the largest entries, and lines."""
    largest = sorted(found, key=lambda one: -one.rows)
    return {
        "cells": sum(one.rows for one in found if one.counts_cells),
        "rows": sum(one.rows for one in found if not one.counts_cells and not one.kept),
        "entries": [one.as_json() for one in largest[:_MOST_ENTRIES]],
        "lines": _lines(largest),
    }


def time_text(timestamp_ns: int) -> str:
    """Return a time in ISO 8601, UTC.

    >>> time_text(1_767_225_600_000_000_000)
    '2026-01-01T00:00:00Z'
    """
    text = str(np.datetime64(timestamp_ns, "ns"))
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "Z"


def _lines(largest: Sequence[LeftOut]) -> list[str]:
    lines = [str(one) for one in largest[:_MOST_LINES]]
    more = len(largest) - len(lines)
    return [*lines, f"and {more} more (streamgauge train --json)"] if more else lines
