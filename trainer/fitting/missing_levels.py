"""What the statistics of a member become where channels are missing, measured on held-out windows.

Each channel is hidden alone, and then all the others are. The logarithms of the statistics get a factor and
an offset that put their median and their high quantile where those of whole windows are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Member, MissingLevel
from detector.models.ensemble import Ensemble
from detector.models.execution.network import Runner
from detector.scoring.ensemble_error import log_statistics
from detector.scoring.preprocessing import fill_missing
from trainer.data.training_windows import TrainingWindows

_WINDOWS, _LEAST_WINDOWS = 256, 32
_WINDOWS_IN_ALL = 8_192
_BATCH = 64
_HIGH = 0.99
_SMALL_SPREAD = 0.05


def with_missing_levels(
    members: tuple[Member, ...], module: Ensemble, windows: Iterable[TrainingWindows]
) -> tuple[Member, ...]:
    """Return the members with what was measured about missing channels.

    Args:
        members: The members of the ensemble.
        module: Their trained networks, on the CPU.
        windows: Windows of rows that trained no weights, one set for each member.
    """
    return tuple(
        replace(member, missing=_levels_of(module[at].on("cpu"), held_out))
        for at, (member, held_out) in enumerate(zip(members, windows, strict=True))
    )


def _levels_of(run: Runner, windows: TrainingWindows) -> tuple[MissingLevel, ...]:
    """Return one level for each statistic; none for a single channel, which has no others."""
    num_channels = len(windows.center)
    if num_channels == 1:
        return ()
    num = int(np.clip(_WINDOWS_IN_ALL // (2 * num_channels), _LEAST_WINDOWS, _WINDOWS))
    x_NWC = windows.spread(num)
    whole = _logarithms(run, x_NWC)
    each = np.eye(num_channels, dtype=np.bool_)
    without = [_scale_to(whole, _logarithms(run, _hidden(x_NWC, one))) for one in each]
    only = [_scale_to(whole, _logarithms(run, _hidden(x_NWC, ~one))) for one in each]
    factor_without, offset_without = np.stack(without).transpose(1, 2, 0)
    factor_only, offset_only = np.stack(only).transpose(1, 2, 0)
    return tuple(
        MissingLevel(*(tuple(part[at].tolist()) for part in parts))
        for parts in [(factor_without, offset_without, factor_only, offset_only)]
        for at in range(whole.shape[1])
    )


def _hidden(x_NWC: NDArray[np.float32], channels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the windows without some channels, bool [C]."""
    hidden: NDArray[np.float32] = np.where(channels, np.float32(np.nan), x_NWC)
    return hidden


def _logarithms(run: Runner, x_NWC: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the logarithms of the statistics of windows, NaN in missing cells, float64 [N, K]."""
    found = []
    for at in range(0, len(x_NWC), _BATCH):
        part = x_NWC[at : at + _BATCH]
        known = ~np.isnan(part)
        found.append(run(fill_missing(part), None if known.all() else known, 0)[1])
    return log_statistics(np.concatenate(found).astype(np.float64))


def _scale_to(whole: NDArray[np.float64], holed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return factor and offset of each statistic, float64 [2, K]. The factor is at most 1.

    Where the holed windows have no cell, as of a channel that is never judged, nothing is changed.
    """
    (middle, high), (middle_holed, high_holed) = (
        np.quantile(one, [0.5, _HIGH], axis=0) for one in (whole, holed)
    )
    spread = np.maximum(high - middle, _SMALL_SPREAD)
    factor = np.minimum(spread / np.maximum(high_holed - middle_holed, _SMALL_SPREAD), 1.0)
    found = np.stack([factor, high - factor * high_holed])
    return np.where(np.isfinite(found).all(axis=0), found, np.array([[1.0], [0.0]]))
