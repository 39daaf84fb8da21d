"""Compare each channel with what the other channels say it should be.

The window model learns how a channel goes on from its own past, so it follows a fault that lasts. This
reference never looks at the channel's own past. It is a ridge regression (Hoerl and Kennard, 1970), fitted
once and frozen. The residual of a channel that is wrong therefore stays as long as the fault does.

The features of a row are the values of the channels, their running means, their squares, and the products
of two channels. A product or square belongs to all of its channels, so it never predicts one of them.

Letters: n rows, C channels, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import CROSSED_CHANNELS, Reference
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.lasting.relearnt import RelearntDepartures

BLOCK_ROWS = 16
"""Running means change at row numbers that this divides, so that they do not depend on the cut."""
_SPANS = (1, 4)
_KEPT = max(_SPANS)
_FIXED = float(1 << 20)
_LIMIT = 8.0
"""Values of other channels are clipped here, in units of the model: squares of wild values say nothing."""
_BATCH = 64
"""Rows are multiplied in batches of one size, so that the other rows of a batch change no bit."""
_MOST_INFLUENCE = 0.5
_BEYOND = 0.1
"""A value is one of history up to this share of its range beyond its ends."""
_NO_BLOCK = np.iinfo(np.int64).min // 2
_COMMON = 0


class RunningMeans:
    """Keep the means of each channel of each series over the last 16 and 64 rows. Not thread-safe.

    A mean is over whole blocks of 16 rows, those that ended before the block of the row. A block whose rows
    never came has no values. All sums are whole numbers, which add up to the same however the rows are cut
    into calls.

    Args:
        num_channels: C.
        limit: values are clipped at so much on both sides.
    """

    def __init__(self, num_channels: int, limit: float = _LIMIT) -> None:
        self._limit = limit
        self._block = SeriesArray((), np.int64, _NO_BLOCK)
        self._sums = SeriesArray((_KEPT + 1, num_channels), np.int64, 0)
        self._counts = SeriesArray((_KEPT + 1, num_channels), np.int64, 0)

    def follow(
        self, slot: NDArray[np.int32], row: NDArray[np.int64], scaled: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return the two means before the block of each row, float64 [n, 2, C]; NaN where no value came.

        Args:
            slot: The series of the next rows, int32 [n], sorted by slot and row.
            row: Row numbers, int64 [n].
            scaled: Values, [n, C], clipped to the limit, NaN where unknown.
        """
        for array in self.arrays():
            array.reserve(int(slot.max(initial=-1)) + 1)
        num, number = len(slot), row // BLOCK_ROWS
        starts = starts_of(slot, number)
        if len(starts) == 0:
            return np.empty((0, len(_SPANS), scaled.shape[1]))
        known = ~np.isnan(scaled)
        fixed = np.rint(np.clip(np.where(known, scaled, 0.0), -self._limit, self._limit) * _FIXED).astype(
            np.int64
        )
        slot, number = slot[starts], number[starts]
        place, slot, first, goes_on = self._with_skipped(slot, number)
        totals = []
        for array, values in ((self._sums, fixed), (self._counts, known.astype(np.int64))):
            added = np.zeros((len(slot), values.shape[1]), np.int64)
            added[place] = np.add.reduceat(values, starts)
            totals.append(self._blocks(array, added, slot, first, goes_on)[place])
        ends = first + lengths_of(first, len(slot)) - 1
        self._block.data[slot[first]] = number[np.searchsorted(place, ends)]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = totals[0] / (totals[1] * _FIXED)
        return np.repeat(means, lengths_of(starts, num), axis=0)

    def _with_skipped(
        self, slot: NDArray[np.int32], number: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp], NDArray[np.bool_]]:
        """Add the blocks whose rows never came: values before a long gap are no mean of the last rows.

        Returns, for b blocks of k series:
            the places of the given blocks among all, intp [given]
            the series of each, int32 [b]
            where the blocks of each series begin, intp [k]
            whether the first of them goes on with the one that is not over, bool [k]
        """
        first = starts_of(slot)
        before = np.concatenate([number[:1], number[:-1]])
        before[first] = self._block.data[slot[first]]
        goes_on = before[first] == number[first]
        skipped = np.clip(number - before - 1, 0, _KEPT)
        place = np.arange(len(number)) + np.cumsum(skipped)
        every = np.repeat(slot, skipped + 1)
        return place, every, starts_of(every), goes_on

    def latest(self, slot: int) -> NDArray[np.float64]:
        """Return the mean of each channel of a series over its last 65 to 80 rows, float64 [C]; NaN: none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: NDArray[np.float64] = self._sums.data[slot].sum(axis=0) / (
                self._counts.data[slot].sum(axis=0) * _FIXED
            )
        return mean

    def recent(self, slot: int) -> NDArray[np.float64]:
        """Return the two means over the last 16 and 64 rows, at the end of a block, float64 [2, C]."""
        sums, counts = self._sums.data[slot], self._counts.data[slot]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [sums[-span:].sum(axis=0) / (counts[-span:].sum(axis=0) * _FIXED) for span in _SPANS]
        return np.stack(means)

    def before(self, slot: int, row: int) -> NDArray[np.float64]:
        """Return the mean over the kept blocks that end before a row, float64 [C]; NaN: there are none."""
        number = int(self._block.data[slot]) - np.arange(_KEPT + 1)[::-1]
        whole = number < row // BLOCK_ROWS
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: NDArray[np.float64] = self._sums.data[slot, whole].sum(axis=0) / (
                self._counts.data[slot, whole].sum(axis=0) * _FIXED
            )
        return mean

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return the state of every series, for a snapshot."""
        return [self._block, self._sums, self._counts]

    def _blocks(
        self,
        array: SeriesArray,
        added: NDArray[np.int64],
        slot: NDArray[np.int32],
        first: NDArray[np.intp],
        goes_on: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """Return totals over the blocks before each of the b new blocks, int64 [b, 2, C]; keep the newest.

        Args:
            array: The kept blocks of every series; the last of them is not over.
            added: Totals of the new blocks, int64 [b, C].
            slot: The series of each, int32 [b].
            first: Where the blocks of each series begin, intp [k].
            goes_on: Whether the first of them goes on with the one that is not over, bool [k].
        """
        lengths = lengths_of(first, len(slot))
        kept = array.data[slot[first]]
        on = np.flatnonzero(goes_on)
        added[first[on]] += kept[on, -1]
        kept[on, 1:] = kept[on, :-1].copy()
        series = np.repeat(np.arange(len(first)), lengths)
        at = np.arange(len(slot)) + (series + 1) * (_KEPT + 1)
        column = np.empty((len(slot) + len(first) * (_KEPT + 1), added.shape[1]), np.int64)
        column[at] = added
        column[(first + np.arange(len(first)) * (_KEPT + 1))[:, None] + np.arange(_KEPT + 1)] = kept
        last = at[first + lengths - 1]
        array.data[slot[first]] = column[last[:, None] - np.arange(_KEPT + 1)[::-1]]
        total = np.cumsum(column, axis=0)
        return np.stack([total[at - 1] - total[at - 1 - span] for span in _SPANS], axis=1)


def features(scaled: NDArray[np.floating], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the constant 1 and the features of rows, float64 [n, F + 1].

    An unknown value is replaced by the faster mean of its channel, or by 0, the centre.

    Args:
        scaled: Rows in the units of the model, [n, C], NaN where unknown.
        means: Their running means (`RunningMeans.follow`), float64 [n, 2, C].
    """
    means = np.nan_to_num(means, nan=0.0)
    x = scaled.astype(np.float64)
    missing = np.isnan(x)
    if missing.any():
        x = np.where(missing, means[:, 0], x)
    x = np.clip(x, -_LIMIT, _LIMIT)
    parts = [np.ones((len(x), 1)), x, means[:, 0], means[:, 1], x * x]
    if x.shape[1] <= CROSSED_CHANNELS:
        one, other = np.triu_indices(x.shape[1], 1)
        parts.append(x[:, one] * x[:, other])
    return np.concatenate(parts, axis=1)


def owners(num_channels: int) -> NDArray[np.bool_]:
    """Return which channels each of the F + 1 features comes from, bool [F + 1, C]."""
    each = np.eye(num_channels, dtype=np.bool_)
    parts = [np.zeros((1, num_channels), np.bool_), each, each, each, each]
    if num_channels <= CROSSED_CHANNELS:
        one, other = np.triu_indices(num_channels, 1)
        parts.append(each[one] | each[other])
    return np.concatenate(parts)


def predicted(rows: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features [n, F + 1] times weights [F + 1, C] in batches of one size, float64 [n, C]."""
    num = len(rows)
    batches = -(-num // _BATCH)
    padded = np.zeros((batches * _BATCH, rows.shape[1]))
    padded[:num] = rows
    product: NDArray[np.float64] = padded.reshape(batches, _BATCH, rows.shape[1]) @ weights
    return product.reshape(-1, weights.shape[1])[:num]


def unsure(strange: NDArray[np.bool_], influence: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which departures depend too much on strange values, bool [n, C].

    Args:
        strange: Cells without a value, or with one that no history had, bool [n, C].
        influence: Of each channel (first axis) on the residual of each other, squared, float64 [C, C].
    """
    found: NDArray[np.bool_] = predicted(strange.astype(np.float64), influence) > _MOST_INFLUENCE
    return found


class ReferenceResiduals:
    """Compute the departure of every channel from what the others say, in spreads. Not thread-safe.

    It keeps the number of each series' baseline. A snapshot does not need it: it follows from the name.

    Args:
        reference: What the training learnt.
    """

    def __init__(self, reference: Reference) -> None:
        self._weights = np.array(reference.weights)
        self._spread = np.array(reference.spread)
        self._influence = np.square(np.array(reference.influence))
        self._baselines = np.array([reference.baseline, *reference.baselines.values()])
        self._numbers = {series: number for number, series in enumerate(reference.baselines, 1)}
        self._number = SeriesArray((), np.int32, _COMMON)
        lowest, highest = np.array(reference.lowest), np.array(reference.highest)
        beyond = _BEYOND * (highest - lowest) + reference.spread
        self._lowest, self._highest = lowest - beyond, highest + beyond
        self._means = RunningMeans(len(reference.spread))
        self._relearnt = RelearntDepartures(len(reference.spread))

    def name(self, slots: NDArray[np.int32], names: Sequence[str]) -> None:
        """Look up the baselines of new series, by their numbers, int32 [n], and names."""
        if len(slots):
            self._reserve(slots)
            self._number.data[slots] = [self._numbers.get(name, _COMMON) for name in names]

    def are_unknown(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which series have no baseline of their own, bool [n]."""
        self._reserve(slots)
        unknown: NDArray[np.bool_] = self._number.data[slots] == _COMMON
        return unknown

    def add(
        self, slot: NDArray[np.int32], row: NDArray[np.int64], scaled: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the departures of the next rows, float64 [n, C], and their running means, float64 [n, 2, C].

        A departure is NaN where the channel has no value. It is NaN too where much of what it depends on has
        none, or a value that no history had, or no running mean. So are the first rows of a series.

        Args:
            slot: The series of each row, int32 [n]; rows are sorted by slot and row.
            row: Row numbers, int64 [n].
            scaled: Values in the units of the model, float32 [n, C], NaN where unknown.
        """
        means = self._means.follow(slot, row, np.clip(scaled, self._lowest, self._highest).astype(np.float32))
        departure = self.departures(slot, scaled, means)
        strange = ~((scaled >= self._lowest) & (scaled <= self._highest)) | np.isnan(means[:, 0])
        if strange.any():
            departure[unsure(strange, self._influence)] = np.nan
        departure[np.isnan(means[:, 0]).all(axis=1)] = np.nan
        self._relearnt.learn(slot, departure)
        return departure, means

    def departures(
        self, slot: NDArray[np.int32], scaled: NDArray[np.floating], means: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the departures of rows with these running means, float64 [n, C]; nothing is kept."""
        self._reserve(slot)
        inside = np.clip(scaled, self._lowest, self._highest)
        expected = predicted(features(inside, means), self._weights)
        expected += self._baselines[self._number.data[slot]]
        departure: NDArray[np.float64] = (scaled - expected) / self._spread
        return departure - self._relearnt.usual(slot)

    def left_without(
        self,
        slot: NDArray[np.int32],
        found: tuple[NDArray[np.float64], ...],
    ) -> NDArray[np.float64]:
        """Return the sum of squared departures left where a channel is as the others expect, float64 [n, C].

        One channel at a time is replaced, its running means too, and all departures are computed again.

        Args:
            slot: The series of each row, int32 [n].
            found: What was found of the rows: values in the units of the model, float64 [n, C]; their
                running means, float64 [n, 2, C]; departures, float64 [n, C]; running means of the
                departures, float64 [n, 2, C], NaN where unknown; by how much the spread is wider,
                float64 [n, C].
        """
        scaled, means, departure, mean_departure, wider = found
        by = np.nan_to_num(departure, nan=0.0) * self._spread
        means_by = np.nan_to_num(mean_departure, nan=0.0) * self._spread
        left = np.empty(scaled.shape)
        for channel in range(scaled.shape[1]):
            row, some = scaled.copy(), means.copy()
            row[:, channel] -= by[:, channel]
            some[:, :, channel] -= means_by[:, :, channel]
            left[:, channel] = np.nansum(np.square(self.departures(slot, row, some) / wider), axis=1)
        return left

    def mean_without(
        self, slot: NDArray[np.int32], means: NDArray[np.float64], mean_departure: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the mean departures left where a channel is as the others expect, float64 [n, C, C].

        The second axis is the channel that is replaced. The change is that of a row of means.

        Args:
            slot: The series of each row, int32 [n].
            means: Running means of the values, float64 [n, 2, C].
            mean_departure: Running means of the departures, float64 [n, 2, C], NaN where unknown.
        """
        by = np.nan_to_num(mean_departure, nan=0.0) * self._spread
        level = np.nan_to_num(mean_departure[:, 1], nan=0.0)
        before = self.departures(slot, means[:, 1], means)
        left = np.empty((len(slot), means.shape[2], means.shape[2]))
        for channel in range(means.shape[2]):
            some = means.copy()
            some[:, :, channel] -= by[:, :, channel]
            changed = self.departures(slot, some[:, 1], some) - before
            left[:, channel] = level + np.nan_to_num(changed, nan=0.0)
        return left

    def running_means(self, slot: int) -> NDArray[np.float64]:
        """Return the running means of a series at the end of a block, float64 [2, C]."""
        return self._means.recent(slot)

    def accept(self, slot: int) -> None:
        """Learn the usual departure of a series again: its level was accepted."""
        self._means.drop(np.array([slot], np.int32))
        self._relearnt.begin(slot)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Forget the running means of these series, whose row numbers changed."""
        self._means.drop(slots)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._number.reset(slots)
        self._means.drop(slots)
        self._relearnt.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        return [*self._means.arrays(), *self._relearnt.arrays()]

    def _reserve(self, slots: NDArray[np.int32]) -> None:
        self._number.reserve(int(slots.max(initial=-1)) + 1)
