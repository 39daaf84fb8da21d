"""Find the channels that make all others depart, and by how much they depart themselves.

A fault in one channel makes those depart that are predicted from it. The check: put one channel where the
others expect it, and compute all departures again. Where the guilty one was replaced, the others fit.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Departures = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Departures of rows, float64 [n, C], with running means of the values, float64 [2, C]."""
_MOST_GUILTY = 3
_LEAST = 3.0
"""A guilty channel departs by so many spreads, at least."""
_FEWEST = 3
_MOST_SQUARE = 100.0
"""A departure beyond 10 spreads counts as one of 10: it says no more."""
_FAST_ROWS = 16


def guilty(
    departures: Departures,
    rows: NDArray[np.float64],
    means: NDArray[np.float64],
    spread: NDArray[np.float64],
    alarm: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much each guilty channel departs, float64 [C], NaN for the others.

    Also return the running means with the guilty channels as the others expect them, float64 [2, C].

    Args:
        departures: computes departures in spreads.
        rows: the last rows of a series, float64 [n, C], NaN where unknown.
        means: their running means, float64 [2, C].
        spread: usual size of a departure, in the units of the rows, float64 [C].
        alarm: which channels may be guilty, bool [C].
    """
    found = np.full(rows.shape[1], np.nan)
    if np.isnan(means[0]).all():
        return found, means
    for _ in range(_MOST_GUILTY):
        departure = departures(rows, means)
        known = np.isfinite(departure)
        middle = np.nanmedian(np.where(known.any(axis=0), departure, 0.0), axis=0)
        suspect = (np.abs(middle) >= _LEAST) & (known.sum(axis=0) >= _FEWEST)
        if not (suspect & alarm).any():
            break
        replaced = [_replaced(rows, means, departure, spread, at) for at in range(len(found))]
        left = [
            float(np.minimum(np.square(np.nan_to_num(departures(*one), nan=0.0)), _MOST_SQUARE).sum())
            for one in replaced
        ]
        at = int(np.argmin(np.where(np.isnan(found), left, np.inf)))
        if not (suspect & alarm)[at]:
            break
        found[at] = middle[at]
        rows, means = replaced[at]
    return found, means


def _replaced(
    rows: NDArray[np.float64],
    means: NDArray[np.float64],
    departure: NDArray[np.float64],
    spread: NDArray[np.float64],
    channel: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows and running means with one channel as the others expect it."""
    rows, means = rows.copy(), means.copy()
    rows[:, channel] -= np.nan_to_num(departure[:, channel], nan=0.0) * spread[channel]
    known = rows[-_FAST_ROWS:, channel]
    known = known[np.isfinite(known)]
    if len(known):
        means[:, channel] = known.mean()
    return rows, means
