"""Find cells that no measurement can be: values outside a stated range, sentinels, and far lone values.

A value is far if a wide gap separates it from the rest of its series. It must also lie hundreds of spreads
from their median. The spread is that of the rest, so that no far value can hide itself. Heavy tails fill
the gap, and a channel that is constant except for pulses has no spread to be far from.

Distances are counted in logarithmic bins, a series at a time. Any number of rows needs the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAR, FAR_IF_FEW = 300.0, 50.0
"""Spreads from the median at which values are impossible: any number of them, and a few of them."""
_GAP = 4.0
_MOST_SHARE, _MOST_SHARE_OF_SERIES = 0.03, 0.25
_FEW, _FEW_SHARE = 3, 0.001
_CONSTANT, _CONSTANT_UNIT = 1e-9, 0.1
_CODE_FAR = 10.0
_PER_OCTAVE = 4
_MIDDLE = 1.1  # of a bin, in units of its lower edge
_LOWEST, _HIGHEST = -1074, 1024
_NUM_BINS = (_HIGHEST - _LOWEST + 1) * _PER_OCTAVE + 1
_LARGEST = np.finfo(np.float64).max
_BINS = np.arange(_NUM_BINS - 1)
_EDGES = np.concatenate(
    [
        [0.0],
        np.ldexp(0.5 + 0.5 * (_BINS % _PER_OCTAVE) / _PER_OCTAVE, _BINS // _PER_OCTAVE + _LOWEST),
        [np.inf],
    ]
)
CODES = np.sort(
    np.array(
        [
            *(sign * code for code in (99.99, 999.0, 999.9, 999.99, 9999.0, 9999.99) for sign in (-1, 1)),
            *(sign * code for code in (99999.0, 999999.0, 9999999.0) for sign in (-1, 1)),
            *(sign * code for code in (1e20, 1e30, 1e35, 1e36, 3.4028234663852886e38) for sign in (-1, 1)),
            *(sign * code for code in (32767.0, 32768.0, 65535.0, 2147483647.0) for sign in (-1, 1)),
            *(-999.25, -2147483648.0),
            *(4294967295.0, 9.969209968386869e36, -9.969209968386869e36, _LARGEST, -_LARGEST),
        ]
    )
)
"""Values that devices and file formats write in place of a value that they do not have, float64, sorted."""
_SAME = 1e-6
_LEAST_CODE = 99.0


@dataclass(frozen=True, slots=True)
class Distances:
    """Hold how far the values of one series lie from the median of their channel.

    Attributes:
        median: float64 [C]; NaN for a channel without values.
        counts: Values in each bin of the distance, without those that equal a code, int64 [C, bins].
        codes: Values that equal each of `CODES`, int64 [C, codes].
    """

    median: NDArray[np.float64]
    counts: NDArray[np.int64]
    codes: NDArray[np.int64]

    @staticmethod
    def around(median: NDArray[np.float64]) -> Distances:
        """Return distances around `median`, float64 [C], without any value yet."""
        num = len(median)
        return Distances(median, np.zeros((num, _NUM_BINS), np.int64), np.zeros((num, len(CODES)), np.int64))

    def add(self, values: NDArray[np.float64]) -> None:
        """Count more values, float64 [n, C]; NaN is not counted."""
        for channel in range(values.shape[1]):
            column = values[:, channel]
            column = column[~np.isnan(column)]
            code = code_of(column)
            is_code = code >= 0
            self.codes[channel] += np.bincount(code[is_code], minlength=len(CODES))
            bins = _bins(distance(column[~is_code], self.median[channel]))
            self.counts[channel] += np.bincount(bins, minlength=_NUM_BINS)


def distance(values: NDArray[np.float64], median: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the finite distance of values from their median, float64 of the same shape."""
    with np.errstate(over="ignore"):
        found: NDArray[np.float64] = np.minimum(np.abs(values - median), _LARGEST)
    return found


def code_of(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which of `CODES` each value is, intp [n]; -1 for none.

    The comparison allows for a value that was stored with 32 bits.

    >>> CODES[code_of(np.array([-9999.0, 1.0]))[:1]].tolist(), code_of(np.array([1.0])).tolist()
    ([-9999.0], [-1])
    """
    found = np.full(len(values), -1, np.intp)
    large = np.flatnonzero(np.abs(values) > _LEAST_CODE)
    at = np.clip(np.searchsorted(CODES, values[large]), 1, len(CODES) - 1)
    below = values[large] - CODES[at - 1] < CODES[at] - values[large]
    at = np.where(below, at - 1, at)
    same = np.abs(values[large] / CODES[at] - 1.0) <= _SAME
    found[large[same]] = at[same]
    return found


def cut_of(counts: NDArray[np.int64], median: float, most: float) -> float:
    """Return the distance from which values of a channel are impossible; infinity if none is.

    Args:
        counts: Values of one series in each bin of the distance, int64 [bins].
        median: The median of the channel in this series.
        most: No more values than this can be impossible: more of them are a pattern.
    """
    used = np.flatnonzero(counts)
    below = np.cumsum(counts[used])
    if len(used) < 2:
        return np.inf
    num = int(below[-1])
    few = max(_FEW, _FEW_SHARE * num)
    lower, upper = _EDGES[used], np.where(used == 0, 0.0, _EDGES[used + 1])
    for at in np.flatnonzero((lower[1:] >= _GAP * upper[:-1]) & (num - below[:-1] <= most)).tolist():
        far = float(lower[at + 1])
        spread = _spread(counts[used[: at + 1]], lower[: at + 1])
        needed = FAR_IF_FEW if num - below[at] <= few else FAR
        if spread <= _CONSTANT * abs(median):
            spread, needed = _unit_of_constant(median), FAR if num - below[at] <= few else np.inf
        if far >= needed * spread:
            return far
    return np.inf


def impossible_codes(distances: Distances, channel: int, cut: float) -> NDArray[np.intp]:
    """Return which codes that occur are no values of this channel, intp [k].

    A code is a value if other values come near it. A channel that is a code most of the time has none.
    """
    counts, median = distances.counts[channel], float(distances.median[channel])
    found = np.flatnonzero(distances.codes[channel])
    used = np.flatnonzero(counts)
    used = used[_EDGES[used] < cut]
    if len(found) == 0 or len(used) == 0 or distances.codes[channel].sum() > counts.sum():
        return found[:0]
    away = distance(CODES[found], median)
    farthest = float(_EDGES[used[-1] + 1]) if used[-1] else 0.0
    spread = _spread(counts[used], _EDGES[used])
    needed = _CODE_FAR * spread
    if spread <= _CONSTANT * abs(median):
        needed = FAR * _unit_of_constant(median)
    return found[(away >= _GAP * farthest) & (away >= needed)]


def most_impossible(num_of_series: int, num_of_all: int) -> float:
    """Return how many values of a channel in one series can be impossible, given its and all known values."""
    return max(1.0, min(_MOST_SHARE_OF_SERIES * num_of_series, _MOST_SHARE * num_of_all))


def _bins(away: NDArray[np.float64]) -> NDArray[np.intp]:
    mantissa, exponent = np.frexp(away)
    inner = ((mantissa - 0.5) * 2 * _PER_OCTAVE).astype(np.intp)
    bins: NDArray[np.intp] = np.where(away > 0, (exponent - _LOWEST) * _PER_OCTAVE + inner + 1, 0)
    return bins


def _spread(counts: NDArray[np.int64], lower: NDArray[np.float64]) -> float:
    """Return the root mean square distance of values in bins, given the lower edge of each bin, in order."""
    largest = float(lower[-1])
    if largest == 0.0:
        return 0.0
    relative = lower / largest  # the squares of large values would not be finite
    return _MIDDLE * largest * float(np.sqrt((counts * relative**2).sum() / counts.sum()))


def _unit_of_constant(median: float) -> float:
    return _CONSTANT_UNIT * abs(median) if median else 1.0
