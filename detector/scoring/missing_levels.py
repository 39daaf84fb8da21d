"""Statistics of windows without some channels, on the scale of whole windows.

An autoencoder that knows fewer channels reconstructs the others less well, or has less to reconstruct. The
statistics of healthy channels would therefore rise or fall as soon as another one stops sending. Training has
measured by how much (`trainer.fitting.missing_levels`), for each channel that is missing alone and for each
that is left alone. Between the two the correction is interpolated.

A channel misses what the fullest one has. So rows without any value are gaps and change no statistic, and
neither does a sensor that sends its channels in turn.

Letters: N windows, C channels, K statistics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Member
from detector.scoring.ensemble_error import from_logarithm, log_statistics

_WHOLLY_MISSING = 0.25
"""Share of a window without a value from which a channel counts as missing; below it counts in part."""


def without_missing(
    statistics: NDArray[np.float64], flat: NDArray[np.float32], ends: NDArray[np.intp], member: Member
) -> NDArray[np.float64]:
    """Return the statistics as whole windows would have them, float64 [N, K].

    Args:
        statistics: of the windows as they are, float64 [N, K].
        flat: rows in the model's units, float32 [rows, C], NaN where missing.
        ends: the last row of each window, intp [N].
        member: the member of the ensemble that computed them.
    """
    if not member.missing or flat.shape[1] == 1 or len(ends) == 0:
        return statistics
    absent = np.cumsum(np.isnan(flat), axis=0, dtype=np.int32)
    if not absent[-1].any():
        return statistics
    first = ends - member.window
    inside = absent[ends] - np.where((first >= 0)[:, None], absent[first], 0)
    inside -= inside.min(axis=1, keepdims=True)
    holed = np.flatnonzero(inside.any(axis=1))
    corrected = statistics.copy()
    weight = np.minimum(inside[holed] / (_WHOLLY_MISSING * member.window), 1.0)
    corrected[holed] = _corrected(statistics[holed], weight, member)
    return corrected


def _corrected(
    statistics: NDArray[np.float64], weight: NDArray[np.float64], member: Member
) -> NDArray[np.float64]:
    """Return the statistics of windows with holes; `weight` says how missing each channel is, [N, C]."""
    num_channels = weight.shape[1]
    much = np.maximum(weight.max(axis=1), 1e-9)
    gone = weight / weight.sum(axis=1, keepdims=True)
    left = 1.0 - weight
    left /= np.maximum(left.sum(axis=1, keepdims=True), 1e-9)
    between = np.clip((weight.sum(axis=1) - 1.0) / max(num_channels - 2, 1), 0.0, 1.0)
    logarithm = log_statistics(statistics)
    for at, level in enumerate(member.missing):
        factor = (1 - between) * (gone @ level.factor_without) + between * (left @ level.factor_only)
        offset = (1 - between) * (gone @ level.offset_without) + between * (left @ level.offset_only)
        logarithm[:, at] += much * ((factor - 1.0) * logarithm[:, at] + offset)
    return from_logarithm(logarithm)
