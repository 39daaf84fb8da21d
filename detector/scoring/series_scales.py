"""Centre and scale of each channel in each series: its own where training learnt some, else the common ones.

This is the only place where scoring turns values into the units of the model and back.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec
from detector.rows.series_arrays import SeriesArray
from detector.scoring.cold.learnt_scales import LearntScales, Stage
from detector.scoring.preprocessing import scale_rows

_SAME = 1e-6
"""Values are the same up to this share of them: a value may have passed through 32 bits."""
_COMMON = 0
"""The entry of a series without scales of its own."""


class SeriesScales:
    """Converts between the units of the channels and those of the model. Not thread-safe.

    It keeps a number for each series. A snapshot does not need it: it follows from the name of the series.
    It also keeps how far the level of each channel was moved when somebody accepted it (`move`). That is part
    of the snapshot: model value = (value - centre - shift) / scale. So is what was learnt of new series.

    Attributes:
        learnt: the scales of series that the model does not know.
    """

    def __init__(self, spec: Spec) -> None:
        own = spec.own_scales
        unlike = {one.channel for some in own.values() for one in some}
        place = {name: at for at, name in enumerate(spec.channel_names) if name in unlike}
        self._unlike = np.array(list(place.values()), np.intp)
        self._center, self._scale = spec.column("center"), spec.column("scale")
        self._numbers = {series: number for number, series in enumerate(own, 1)}
        common = self._center[self._unlike], self._scale[self._unlike]
        self._centers, self._scales = (np.tile(one, (1 + len(own), 1)) for one in common)
        column = {name: at for at, name in enumerate(place)}
        for number, some in enumerate(own.values(), 1):
            for one in some:
                at = number, column[one.channel]
                self._centers[at], self._scales[at] = one.center, one.scale
        self._still = np.array([channel.law == "constant" for channel in spec.channels])
        self._number = SeriesArray((), np.int32, _COMMON)
        self._shift = SeriesArray((len(spec.channels),), np.float64, 0.0)
        self._is_shifted = False
        self.learnt = LearntScales(spec)

    @property
    def has_own(self) -> bool:
        """Whether the model has own scales of any series."""
        return len(self._numbers) > 0

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the scales of new series.

        Args:
            slots: their numbers, int32 [n].
            names: their names.
        """
        self.learnt.name(slots, names)
        if self.has_own and len(slots):
            self._reserve(slots)
            self._number.data[slots] = [self._numbers.get(name, _COMMON) for name in names]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._number.reset(slots)
        self._shift.reset(slots)
        self.learnt.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the accepted shifts, and what was learnt; call `note_restored` after writing to them."""
        return [self._shift, *self.learnt.arrays()]

    def note_restored(self) -> None:
        """Use the shifts that were written."""
        self._is_shifted = bool(self._shift.data.any())

    def move(self, slots: NDArray[np.int32], by: NDArray[np.float64]) -> None:
        """Move the level of each channel of these series, float64 [n, C], in the units of the channels."""
        self._reserve(slots)
        self._shift.data[slots] += by
        self.note_restored()

    def shifts(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return how far the levels of these series were moved so far, float64 [n, C]."""
        self._reserve(slots)
        shifts: NDArray[np.float64] = self._shift.data[slots]
        return shifts

    def are_common(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which series have only common scales although others have their own, bool [n]."""
        if not self.has_own:
            return np.zeros(len(slots), np.bool_)
        self._reserve(slots)
        common: NDArray[np.bool_] = self._number.data[slots] == _COMMON
        common &= self.learnt.stages(slots) == Stage.KNOWN
        return common

    def at(self, slots: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return centre and scale for each of `slots`, float64 [n, C] each; [1, C] where all are alike.

        The centre includes what was accepted.
        """
        center, scale = self.trained_at(slots)
        if not self._is_shifted:
            return center, scale
        return center + self.shifts(slots), scale

    def trained_at(self, slots: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return centre and scale as training found them, as `at` does."""
        if not self.has_own and not self.learnt.any:
            return self._center[None], self._scale[None]
        self._reserve(slots)
        number = self._number.data[slots]
        center, scale = (np.tile(one, (len(slots), 1)) for one in (self._center, self._scale))
        center[:, self._unlike], scale[:, self._unlike] = self._centers[number], self._scales[number]
        return self.learnt.instead_of(slots, center, scale) if self.learnt.any else (center, scale)

    def to_model(self, values: NDArray[np.float64], slots: NDArray[np.int32]) -> NDArray[np.float32]:
        """Convert rows to the units of the model, float32 [n, C]; NaN stays NaN.

        A channel that never moved in the history is seen at rest, whatever its value (`moved`).

        Args:
            values: in the units of the channels, float64 [n, C].
            slots: the series of each row, int32 [n].
        """
        scaled = scale_rows(values, *self.at(slots))
        scaled[:, self._still] *= 0.0
        return scaled

    def to_channels(self, scaled: NDArray[np.float64], slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Convert rows in the units of the model, float64 [n, C], to those of the channels."""
        center, scale = self.at(slots)
        values: NDArray[np.float64] = scaled * np.where(self._still, 0.0, scale) + center
        return values

    @property
    def still(self) -> NDArray[np.bool_]:
        """Which channels never moved in the history, bool [C]."""
        return self._still

    def moved(self, values: NDArray[np.float64], slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return where a channel that never moved in the history has another value now, bool [n, C].

        It is False where the value is unknown, or that of the history. That is unknown where its
        series had different ones, and this series had none.

        Args:
            values: in the units of the channels, float64 [n, C].
            slots: the series of each row, int32 [n].
        """
        center = self.at(slots)[0]
        with np.errstate(invalid="ignore"):
            away = np.abs(values - center) > _SAME * np.maximum(np.abs(values), np.abs(center))
        moved: NDArray[np.bool_] = away & self._still & ~self.learnt.restless(slots)
        if self.has_own:
            moved[np.ix_(self.are_common(slots), self._unlike)] = False
        return moved

    def with_range(
        self, slots: NDArray[np.int32], values: NDArray[np.float64], score: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return scores with what is far outside the range of a series (`LearntScales.with_range`)."""
        if not self.learnt.any:
            return score
        return self.learnt.with_range(slots, values - self.shifts(slots), score)

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        for array in (self._number, self._shift):
            array.reserve(int(slots.max(initial=-1)) + 1)
