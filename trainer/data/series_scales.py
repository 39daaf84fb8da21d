"""Own centres and scales of the series whose values differ too much for the common ones of a channel.

A channel is unlike if the scales of its series differ by more than 3 times. It is unlike too if their centres
deviate by more than 1.5 of their usual scales. Two series deviate so if they lie 3 scales apart. The common
scale then measures the distance between the series. A fault of one of them is small in that unit, and no
model finds it.

The statistics are robust. Values beyond the quantiles 0.05 and 0.95 count as these quantiles do
(winsorised mean and deviation: Tukey, 1962). Rows come from the training part, and masked cells do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.bounds import MOST_OWN_SCALES
from detector.artifact.spec import OwnScale
from trainer.data.channel_statistics import ChannelStatistics
from trainer.data.history import History, Segment, by_series

UNLIKE = 3.0
_TAIL = 0.05
_RARE_SHARE = 0.1
LEAST_VALUES, _LEAST_SHARE, _FEWEST = 64, 0.05, 8
"""Values of a channel that its own scale in a series needs."""
_CONSTANT, _CONSTANT_SHARE = 1e-9, 0.1
_BLOCK_ROWS = 1 << 16
_SAMPLE_CELLS, _LEAST_SAMPLE = 1 << 20, 1 << 10
_SEED = 7
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Unlike:
    """Hold what series have of their own.

    Attributes:
        own_scales: series -> centre and scale of each unlike channel that it has values of.
        common: Unlike channels that keep one scale, as the description has no room for more.
        too_short: Series with too few values of an unlike channel to learn its scale.
    """

    own_scales: dict[str, tuple[OwnScale, ...]]
    common: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Return what stays on common scales that do not fit, in sentences."""
        notes = []
        if self.common:
            notes.append(
                f"the series of {_some(self.common)} are unlike, but a model has no room for more scales of"
                " single series; train one model for each group of similar machines"
            )
        if self.too_short:
            notes.append(
                f"{_some(self.too_short)} had too few values to learn scales of their own, and are judged by"
                " the common ones"
            )
        return notes


def series_scales(
    history: History, segments: tuple[Segment, ...], statistics: ChannelStatistics, window: int
) -> Unlike:
    """Return the centres and scales of series in unlike channels; nothing if all channels are alike.

    A series is too short for a scale of its own if it has few values of the channel. It needs two windows,
    64 values, and a twentieth of what another one has. It may have seen only a part of a slow cycle.

    Args:
        history: Rows of all series.
        segments: Rows to use.
        statistics: The common centres and scales.
        window: Rows of the longest window.
    """
    names = list(by_series(segments))
    if len(names) < 2:
        return Unlike({})
    found = list(_of_series(history, segments))
    center, spread = np.stack([one[0] for one in found]), np.stack([one[1] for one in found])
    count = np.stack([one[2] for one in found])
    enough = count >= np.maximum(max(2 * window, LEAST_VALUES), _LEAST_SHARE * count.max(axis=0))
    doubtful = are_unlike(center, spread)
    center, spread = np.where(enough, center, np.nan), np.where(enough, spread, np.nan)
    every = np.flatnonzero(are_unlike(center, spread))
    kept = every[: MOST_OWN_SCALES // len(names)]
    doubtful[kept] = True
    short = (~enough & (count > 0))[:, doubtful].any(axis=1)
    return Unlike(
        _own_scales(history.channels, names, kept, center, _usable(center, spread, statistics.scale)),
        tuple(history.channels[at] for at in every[len(kept) :].tolist()),
        tuple(name for name, is_short in zip(names, short.tolist(), strict=True) if is_short),
    )


def _own_scales(
    channels: Sequence[str],
    names: Sequence[str],
    unlike: NDArray[np.intp],
    center: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> dict[str, tuple[OwnScale, ...]]:
    """Return what each series has of its own in the channels `unlike`; a scale of NaN is unknown."""
    own = {}
    for row, name in enumerate(names):
        entries = [
            OwnScale(channels[at], float(center[row, at]), float(scale[row, at]))
            for at in unlike.tolist()
            if np.isfinite(scale[row, at])
        ]
        if entries:
            own[name] = tuple(entries)
    return own


def _some(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def robust_statistics(
    values: NDArray[np.float64], least: int = LEAST_VALUES, rare_share: float = _RARE_SHARE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return winsorised mean and deviation of each channel, float64 [C] each.

    The deviation is 0 for a constant channel. Both are NaN for a channel with too few values.

    Args:
        values: Rows of one series, float64 [n, C], NaN where missing.
        least: Values that a channel needs.
        rare_share: The deviation is at least this share of the plain one. So a rare state, which clipping
            hides, stays within about 70 deviations.
    """
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    ordered = np.sort(values, axis=0)  # missing values come last
    places = [np.floor(share * (count - 1)).astype(np.intp)[None] for share in (_TAIL, 0.5)]
    low, middle = (np.take_along_axis(ordered, place, axis=0)[0] for place in places)
    high = np.take_along_axis(ordered, count[None] - 1 - places[0], axis=0)[0]
    away = np.where(known, values - middle, 0.0)  # keeps the squares exact for large, steady values
    mean, spread = _moments(np.clip(away, low - middle, high - middle), known, count)
    center = middle + mean
    spread = np.maximum(spread, rare_share * _moments(away, known, count)[1])
    spread[spread <= _CONSTANT * np.abs(center)] = 0.0
    too_few = known.sum(axis=0) < least
    center[too_few], spread[too_few] = np.nan, np.nan
    return center, spread


def _moments(
    away: NDArray[np.float64], known: NDArray[np.bool_], count: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the known values of each channel, float64 [C] each."""
    mean = np.where(known, away, 0.0).sum(axis=0) / count
    square = np.where(known, away - mean, 0.0) ** 2
    return mean, np.sqrt(square.sum(axis=0) / count)


def are_unlike(center: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which channels are unlike in their series, bool [C].

    Args:
        center: Centre of each series and channel, float64 [S, C]; NaN where unknown.
        spread: Scale of each, float64 [S, C]; 0 where constant, NaN where unknown.
    """
    varies = spread > 0
    largest = np.where(varies, spread, 0.0).max(axis=0)
    smallest = np.where(varies, spread, np.inf).min(axis=0)
    unlike: NDArray[np.bool_] = largest > UNLIKE * smallest
    known = np.isfinite(center)
    num = np.maximum(known.sum(axis=0), 1)
    middle = np.where(known, center / num, 0.0).sum(axis=0)
    away = np.where(known, np.abs(center - middle), 0.0)
    farthest = np.maximum(away.max(axis=0), np.finfo(np.float64).tiny)
    between = farthest * np.sqrt(((away / farthest) ** 2).sum(axis=0) / num)
    size = np.where(known, np.abs(center), 0.0).max(axis=0)
    unlike |= (between > UNLIKE / 2 * _usual(spread)) & (between > _CONSTANT * size)
    return unlike


def _usual(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square of the scales of series in which a channel varies, float64 [C], or 0."""
    varies = spread > 0
    largest = np.maximum(np.where(varies, spread, 0.0).max(axis=0), np.finfo(np.float64).tiny)
    relative = np.where(varies, spread, 0.0) / largest  # the squares of large scales would not be finite
    usual: NDArray[np.float64] = largest * np.sqrt(
        (relative**2).sum(axis=0) / np.maximum(varies.sum(axis=0), 1)
    )
    return usual


def _usable(
    center: NDArray[np.float64], spread: NDArray[np.float64], common: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return scales without 0, float64 [S, C].

    A channel that is constant in one series has the usual scale of the others there. The scale is at most a
    tenth of the value, and at most the common scale.
    """
    usual = _usual(spread)
    fallback = np.where(usual > 0, np.minimum(usual, common), common)
    share = np.where(center == 0, np.inf, _CONSTANT_SHARE * np.abs(center))
    scale: NDArray[np.float64] = np.where(spread == 0, np.minimum(fallback, share), spread)
    return scale


def _of_series(
    history: History, segments: tuple[Segment, ...]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]]:
    """Yield centre, scale and number of values of each series; a random sample of long ones is enough."""
    most = max(_LEAST_SAMPLE, _SAMPLE_CELLS // len(history.channels))
    for own in by_series(segments).values():
        share = most / sum(segment.length for segment in own)
        rng = np.random.default_rng(_SEED)
        parts, count = [], np.zeros(len(history.channels), np.int64)
        for segment in own:
            for start in range(segment.position, segment.stop, _BLOCK_ROWS):
                block = history.read(start, min(segment.stop, start + _BLOCK_ROWS))
                count += (~np.isnan(block)).sum(axis=0)
                # At random, since equal steps could meet one phase of a periodic channel only.
                parts.append(block if share >= 1.0 else block[rng.random(len(block)) < share])
        yield *robust_statistics(np.concatenate(parts), _FEWEST), count
