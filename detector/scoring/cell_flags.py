"""Flag cells by rules that need no model: stuck and missing channels, impossible values, cells not judged.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import budget_shares, limit_of
from detector.artifact.spec import Spec
from detector.rows.missing_channels import MissingChannels
from detector.rows.sensor_checks import Flatline, is_sentinel, out_of_range
from detector.rows.series_arrays import SeriesArray
from detector.rows.windows import NewRows
from detector.scoring.context.modes import WIDTH, ModeRules, ModeTracker
from detector.scoring.page_level import PageLevel

STUCK, OUT_OF_RANGE, MISSING, UNJUDGED, DEPARTS = (np.uint8(1 << bit) for bit in range(5))
"""Bits of a cell's flag: the channel is stuck, the value is impossible, the channel has stopped sending, the
channel is not judged in the mode of the row, the value departs and does not become the past as it is."""
HOLE = OUT_OF_RANGE | UNJUDGED
"""Bits of cells that are holes in every window."""
_ANY_ROWS = 1e9
_JUST = 1e-9
StuckLimits = Callable[[NDArray[np.int32]], NDArray[np.float64] | None]


def _of_model(slots: NDArray[np.int32]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class FlaggedRows:
    """Hold the flags of n rows.

    cells    uint8 [n, C]
    context  int32 [n, K], the modes of the rows as columns (`RowModes.as_columns`); K is 0 without modes
    """

    cells: NDArray[np.uint8]
    context: NDArray[np.int32]


class CellFlags:
    """Flag the cells of the rows of any number of series. Not thread-safe.

    Args:
        spec: The model.
        stuck_limits: Returns the limits of stuck channels that each series has learnt, float64 [n, C], by
            their numbers, int32 [n]; None where those of the model hold.
    """

    def __init__(self, spec: Spec, stuck_limits: StuckLimits = _of_model) -> None:
        self._stuck_limits = stuck_limits
        self._valid_min, self._valid_max = spec.column("valid_min"), spec.column("valid_max")
        self._sentinels = spec.sentinels()
        self._flatline = Flatline(spec.column("flatline_rows"))
        self._stuck_level = _stuck_level(spec, self._flatline)
        self._missing = MissingChannels(len(spec.channels))
        self._modes: ModeTracker | None = None
        if spec.modes is not None:
            self._modes = ModeTracker(spec.modes, spec.channel_names)
            self._rules = ModeRules(spec.modes, spec.channel_names, spec.window)

    @property
    def num_context(self) -> int:
        """Return K, the columns of the context."""
        return 0 if self._modes is None else WIDTH

    def flag(self, new_rows: NewRows) -> FlaggedRows:
        """Return the flags of the next rows of some series."""
        impossible = out_of_range(new_rows.values, self._valid_min, self._valid_max)
        impossible |= is_sentinel(new_rows.values, self._sentinels)
        missing = self._missing.missing(new_rows)
        if self._modes is None:
            stuck = self._stuck(new_rows, None)
            cells: NDArray[np.uint8] = stuck * STUCK | impossible * OUT_OF_RANGE | missing * MISSING
            return FlaggedRows(cells, np.empty((len(new_rows), 0), np.int32))
        modes = self._modes.follow(new_rows, np.where(impossible, np.nan, new_rows.values))
        unjudged = self._rules.unjudged(modes)
        stuck = self._stuck(new_rows, unjudged)
        impossible &= ~unjudged
        cells = stuck * STUCK | impossible * OUT_OF_RANGE | missing * MISSING | unjudged * UNJUDGED
        return FlaggedRows(cells, modes.as_columns())

    def use_ranges(self, valid_min: NDArray[np.float64], valid_max: NDArray[np.float64]) -> None:
        """Apply other bounds of possible values from the next row on, float64 [C] each; NaN: no bound."""
        self._valid_min, self._valid_max = valid_min, valid_max

    def use_missing_limits(self, limit_rows: NDArray[np.int64]) -> None:
        """Flag channels as missing after so many rows, int64 [C], from the next row on; 0: never."""
        self._missing.use_limits(limit_rows)

    def never_had(self, slot: int, channels: Sequence[int]) -> None:
        """Do not miss these channels of a new series until they have sent something."""
        self._missing.never_had(slot, channels)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for part in self._keepers():
            part.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that the parts keep, in the order of the snapshot's cells."""
        return [array for part in self._keepers() for array in part.arrays()]

    def _keepers(self) -> tuple[Flatline | PageLevel | MissingChannels | ModeTracker, ...]:
        level = () if self._stuck_level is None else (self._stuck_level,)
        modes = () if self._modes is None else (self._modes,)
        return self._flatline, *level, self._missing, *modes

    def _stuck(self, new_rows: NewRows, unjudged: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Return which channels are stuck, bool [n, C]: longer than the limit, and than the page level says.

        The level answers to runs that ended by themselves: they show how long a channel may stand still.
        Cells that are not judged are never stuck.
        """
        ratio = self._flatline.stuck(new_rows)
        learnt = self._stuck_limits(new_rows.slot) if len(new_rows) else None
        if learnt is not None:
            ratio /= learnt
        if unjudged is not None:
            ratio[unjudged] = 0.0
        if self._stuck_level is None or len(new_rows) == 0:
            return ratio >= 1.0
        longest = np.log(np.maximum(ratio.max(axis=1), 1e-300)) + _JUST
        longest[np.isnan(new_rows.values).all(axis=1)] = np.nan
        level = self._stuck_level.levels(new_rows.slot, new_rows.row, longest)
        stuck: NDArray[np.bool_] = ratio >= np.exp(level)[:, None]
        return stuck


def _stuck_level(spec: Spec, flatline: Flatline) -> PageLevel | None:
    """Return the page level of stuck channels. How long a channel was stuck is its height, not its length."""
    limit = limit_of(spec.threshold.limit, budget_shares(spec).stuck)
    if limit is None or flatline.is_off:
        return None
    return PageLevel(replace(limit, long_rows=_ANY_ROWS), above_level=True)
