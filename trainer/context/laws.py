"""Recognise channels that are no smooth measurements: counts, coarse steps, constants.

Their values are few. So the median distance from the middle may be 0, or nearly, although the channel moves.
A spread by the median is then far too small, and usual values look like departures.

    constant  one value in each series
    count     whole numbers from 0 on, and 0 is not rare
    steps     steps of a resolution that is coarse beside the spread, or one value in many rows
    plain     everything else
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.history import History, Segment, by_series

_SAMPLE_ROWS = 1 << 16
_LEAST_ROWS = 64
_SAME = 1e-9
_COARSE = 0.25
_ONE_VALUE = 0.4
_ZERO_SHARE = 0.01
_MOST_VALUES = 4_096
_WHOLE = 1e-3
"""A value is a multiple of the resolution up to this share of it: values may have passed through 32 bits."""


def laws_of(history: History, segments: Sequence[Segment]) -> tuple[str, ...]:
    """Return the law of each channel: "constant", "count", "steps" or "plain".

    A channel of fewer than 64 values is plain.

    Args:
        history: Rows of all series.
        segments: Rows to use; of many rows, contiguous parts spread over them are enough.
    """
    num_channels = len(history.channels)
    is_constant = np.ones(num_channels, np.bool_)
    parts: list[NDArray[np.float64]] = []
    total = sum(segment.length for segment in segments)
    for own in by_series(tuple(segments)).values():
        lowest, highest = np.full(num_channels, np.inf), np.full(num_channels, -np.inf)
        for segment in own:
            for start in range(segment.position, segment.stop, _SAMPLE_ROWS):
                block = history.read(start, min(segment.stop, start + _SAMPLE_ROWS))
                known = ~np.isnan(block)
                lowest = np.minimum(lowest, np.where(known, block, np.inf).min(axis=0))
                highest = np.maximum(highest, np.where(known, block, -np.inf).max(axis=0))
                parts.append(block[:: max(1, total // _SAMPLE_ROWS)])
        with np.errstate(invalid="ignore"):
            is_constant &= ~(highest - lowest > _SAME * np.maximum(np.abs(lowest), np.abs(highest)))
    rows = np.concatenate(parts)
    return tuple(
        law_of(column[~np.isnan(column)], constant)
        for column, constant in zip(rows.T, is_constant.tolist(), strict=True)
    )


def law_of(values: NDArray[np.float64], is_constant: bool) -> str:
    """Return the law of one channel.

    Args:
        values: Known values of all series, float64 [n].
        is_constant: Whether no series has more than one value.

    >>> law_of(np.tile([0.0, 0.0, 1.0, 3.0], 50), is_constant=False)
    'count'
    """
    if len(values) < _LEAST_ROWS:
        return "plain"
    if is_constant:
        return "constant"
    distinct, rows = np.unique(values, return_counts=True)
    if distinct[0] >= 0 and len(distinct) > 2 and (distinct == np.rint(distinct)).all():
        zeros = rows[0] / len(values) if distinct[0] == 0 else 0.0
        if zeros >= _ZERO_SHARE:
            return "count"
    if rows.max() >= _ONE_VALUE * len(values):
        return "steps"
    return "steps" if resolution_of(distinct) >= _COARSE * values.std() else "plain"


def resolution_of(distinct: NDArray[np.float64]) -> float:
    """Return the step between values that are all multiples of one apart; 0 where there is none.

    Args:
        distinct: Distinct values, sorted, float64 [n].

    >>> resolution_of(np.array([20.0, 20.5, 21.5, 23.0]))
    0.5
    """
    if not 2 <= len(distinct) <= _MOST_VALUES:
        return 0.0
    step = float(np.diff(distinct).min())
    multiples = (distinct - distinct[0]) / step
    return step if bool((np.abs(multiples - np.rint(multiples)) <= _WHOLE * len(distinct)).all()) else 0.0
