"""How long each channel may be without a value, learnt from the holes in its history.

A hole is a run of rows in which other channels of the series have values and this one has none. A channel
that is sparse by nature has many. A single long one may be a fault, and must not make the channel deaf. The
limit is therefore twice the second longest hole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detector.rows.missing_channels import LEAST_MISSING_ROWS
from trainer.data.history import History, Segment

_BLOCK_ROWS = 1 << 16
_MARGIN = 2


@dataclass(frozen=True, slots=True)
class ChannelHoles:
    """Hold what the history says about rows without a channel.

    Attributes:
        limit_rows: Rows without each channel from which it is missing, int64 [C].
        absent: The channels that a series never had, by series.
    """

    limit_rows: NDArray[np.int64]
    absent: dict[str, tuple[str, ...]]


def channel_holes(history: History) -> ChannelHoles:
    """Return the limits of all channels, and which series never had a channel."""
    found = _Holes(len(history.channels))
    for segment in history.segments:
        for start in range(segment.position, segment.stop, _BLOCK_ROWS):
            found.follow(segment, ~np.isnan(history.read(start, min(segment.stop, start + _BLOCK_ROWS))))
    longest = found.second_longest()
    absent = {
        series: tuple(name for name, there in zip(history.channels, seen.tolist(), strict=True) if not there)
        for series, seen in found.seen.items()
        if not seen.all()
    }
    return ChannelHoles(np.maximum(LEAST_MISSING_ROWS, _MARGIN * longest), absent)


@dataclass(slots=True)
class _Holes:
    """Follow the holes of each channel, series by series; long gaps do not end a hole.

    Attributes:
        seen: Whether a series ever had each channel, bool [C], by series.
    """

    num_channels: int
    seen: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    _run: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    _top: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._top = np.zeros((2, self.num_channels), np.int64)

    def follow(self, segment: Segment, known: NDArray[np.bool_]) -> None:
        """Add the next rows of the segment's series, bool [n, C]."""
        seen = self.seen.setdefault(segment.series, np.zeros(self.num_channels, np.bool_))
        run = self._run.setdefault(segment.series, np.zeros(self.num_channels, np.int64))
        rows = known[np.logical_or.reduce(known, axis=1)]
        for channel in range(self.num_channels):
            at = np.flatnonzero(rows[:, channel])
            if len(at) == 0:
                run[channel] += len(rows)
                continue
            self._note(channel, np.concatenate([[at[0] + run[channel]], np.diff(at) - 1]))
            run[channel] = len(rows) - 1 - at[-1]
            seen[channel] = True

    def second_longest(self) -> NDArray[np.int64]:
        """Return the second longest hole of each channel, int64 [C]; absent channels do not count."""
        for series, run in self._run.items():
            for channel in np.flatnonzero(self.seen[series]).tolist():
                self._note(channel, run[channel : channel + 1])
        second: NDArray[np.int64] = self._top[0]
        return second

    def _note(self, channel: int, lengths: NDArray[np.int64]) -> None:
        """Keep the two longest holes, the longer one last."""
        self._top[:, channel] = np.sort(np.concatenate([self._top[:, channel], lengths]))[-2:]
