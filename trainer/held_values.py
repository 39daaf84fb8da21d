"""Slow channels of a history keep their last value, by the rule of the engine's grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.rows.held_channels import HeldChannels
from trainer.data.history import History, by_series
from trainer.errors import TrainerError

_BLOCK_ROWS = 1 << 16
_SLOT = 0


def hold_values(history: History, holds: Mapping[str, int]) -> None:
    """Write the values that are held into the rows of a history.

    Args:
        history: The rows as they were sent.
        holds: Nanoseconds that a channel keeps its last value, by its name.

    Raises:
        TrainerError: A name is no channel of the history, or the scratch file cannot be written.
    """
    unknown = sorted(holds.keys() - set(history.channels))
    if unknown:
        raise TrainerError(f"[data] hold: {unknown[0]!r} is no channel; known: {', '.join(history.channels)}")
    if not holds:
        return
    for series, segments in by_series(history.segments).items():
        held = HeldChannels([holds.get(name, 0) for name in history.channels])
        interval_ns = history.interval_of(series)
        for segment in segments:
            for start in range(segment.position, segment.stop, _BLOCK_ROWS):
                values = history.read(start, min(start + _BLOCK_ROWS, segment.stop)).copy()
                sent = np.flatnonzero(~np.isnan(values).all(axis=1))
                row = sent + segment.row + start - segment.position
                slot, interval = np.full(len(sent), _SLOT, np.int32), np.full(len(sent), interval_ns)
                values[sent] = held.filled(slot, row, values[sent], interval)
                history.write(start, values)
