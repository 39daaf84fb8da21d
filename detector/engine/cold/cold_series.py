"""A series that the model does not know learns its own centres and scales while it runs.

    1. LEARNING  the first `warmup` normal rows show centre and spread of each channel; no verdicts
    2. SETTLING  two more parts show how large its errors are by these scales; no verdicts
    3. COLD      it is judged by a higher threshold; after 2, 4 and 8 times `warmup` rows the scales are
                 learnt again, from all of these rows
    4. LEARNT    scales and threshold stand still

All of it happens between two parts of a series (`detector.engine.rounds`), so that it depends on the rows
alone. While an incident is open, nothing is learnt.

Letters: C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec
from detector.engine.cold.without_history import WithoutHistory
from detector.engine.parts import Parts
from detector.incidents.incident import IncidentEvent
from detector.rows.series_arrays import SeriesArray
from detector.scoring.cold.learnt_scales import NO_ERROR, Stage
from detector.scoring.cold.statistics import BLOCKS, ColdStatistics
from detector.scoring.preprocessing import LIMIT
from detector.scoring.verdicts import State, Verdicts

DOUBLINGS = 3
"""The scales are learnt from `warmup` rows, and again so many times, each time from twice as many."""
SETTLING_PARTS = 2
_KEPT_PARTS = 8
_HIGH_SCORE = 0.8
"""The largest error of the last parts without an alarm is to have at most this score."""
_WIDER = 0.5
_MOST_LOG_FACTOR = math.log(8.0)
_LIKE_CENTER, _LIKE_SCALE = 0.5, 2.0
"""A channel is as in the history if its centre is within so many scales, and its scale within this factor."""
_LEAST_SHARE = 1.0 / 3.0
_CONSTANT = 1e-9
_TO_LEARN = (int(State.OK), int(State.WARMING), int(State.MISSING), int(State.TRANSITION), int(State.IDLE))


class ColdSeries:
    """Lets new series learn (`detector.engine.values.Feedback`).

    Args:
        parts: The parts of the engine.
    """

    def __init__(self, parts: Parts) -> None:
        spec = parts.artifact.spec
        self._parts, self._learnt = parts, parts.window_scorer.scales.learnt
        self._statistics = ColdStatistics(len(spec.channels))
        self._usual = _UsualScales(spec)
        self._alone = WithoutHistory(len(spec.channels)) if self._learnt.has_no_history else None
        self._sharpness = spec.threshold.sharpness
        self._low, self._high = (SeriesArray((len(spec.channels),), np.float64, np.nan) for _ in range(2))
        self._errors = SeriesArray((_KEPT_PARTS,), np.float64, NO_ERROR)
        self._doublings = SeriesArray((), np.int64, 0)
        self._frozen = SeriesArray((), np.bool_, False)

    def remember(self, verdicts: Verdicts, slots: NDArray[np.int32]) -> None:
        """Learn from the normal rows among final verdicts, sorted by series and time.

        Args:
            verdicts: The next verdicts of some series.
            slots: The number of each series in `verdicts.names`, int32 [len(names)].
        """
        if not self._learnt.any:
            return
        for number in np.flatnonzero(self._learnt.are_cold(slots)).tolist():
            slot = int(slots[number])
            self._reserve(slot)
            if self._frozen.data[slot]:
                continue
            mine = verdicts.series == number
            normal = mine & self._are_normal(slot, verdicts)
            self._statistics.add(slot, self._block_rows(slot), verdicts.actual[normal])
            self._take_range(slot, verdicts.actual[normal])
            if self._alone is not None:
                self._alone.add(slot, verdicts.actual[normal])

    def acting(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of these series still learn, bool [n]."""
        return self._learnt.are_cold(slots)

    def wakes(self, event: IncidentEvent) -> bool:
        """Return False: no incident makes a series cold."""
        return False

    def act(
        self, slots: NDArray[np.int32], finish_waiting: Callable[[NDArray[np.int32]], None]
    ) -> tuple[IncidentEvent, ...]:
        """Let these series go on to what they know now; nothing is to be reported."""
        for slot in slots.tolist():
            self._reserve(slot)
            track = self._parts.incidents.track(self._parts.series.names[slot])
            is_open = track is not None and track.incident is not None
            if self._alone is not None:
                num_rows = self._statistics.num_rows(slot)
                is_open = not self._alone.learns_all(slot, self._alarm_rows(slot), num_rows) and is_open
            self._frozen.data[slot] = is_open
            if is_open:
                self._learnt.highest.data[slot] = NO_ERROR
                continue
            if self._is_accepted(slot):
                self._learnt.stage.data[slot] = int(Stage.LEARNT)
            self._take_errors(slot)
            self._learnt.low.data[slot] = self._low.data[slot]
            self._learnt.high.data[slot] = self._high.data[slot]
            if self._learnt.stage.data[slot] == Stage.SETTLING and self._has_settled(slot):
                self._learnt.stage.data[slot] = int(Stage.COLD)
            is_due = self._learnt.stage.data[slot] in (Stage.LEARNING, Stage.COLD)
            if is_due and self._statistics.is_full(slot):
                finish_waiting(np.array([slot], np.int32))
                self._take_scales(slot)
            self._learnt.log_factor.data[slot] = self._log_factor(slot)
        return ()

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        for array in self.arrays():
            array.reset(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        still = [] if self._alone is None else self._alone.arrays()
        return [*self._own(), *self._statistics.arrays(), *still]

    def learnt_rows(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return from how many normal rows each of these series has learnt so far, int64 [n]."""
        return np.array([self._statistics.num_rows(slot) for slot in slots.tolist()], np.int64)

    def _is_accepted(self, slot: int) -> bool:
        """Return whether somebody accepted another level of a series that is judged: its own say enough.

        Without a history a series goes on learning: nothing else shows what is normal.
        """
        if self._learnt.has_no_history:
            return False
        shifts = self._parts.window_scorer.scales.shifts(np.array([slot], np.int32))
        return bool(shifts.any() and self._learnt.stage.data[slot] == Stage.COLD)

    def _are_normal(self, slot: int, verdicts: Verdicts) -> NDArray[np.bool_]:
        """Return from which rows a series learns, bool [n]."""
        if self._alone is not None and self._alone.takes_all.data[slot]:
            return np.isin(verdicts.state, (*_TO_LEARN, int(State.ANOMALOUS)))
        normal: NDArray[np.bool_] = ~verdicts.paged & np.isin(verdicts.state, _TO_LEARN)
        return normal

    def _alarm_rows(self, slot: int) -> int:
        """Return how many rows ago the open incident of a series began, 0 without one."""
        track = self._parts.incidents.track(self._parts.series.names[slot])
        if track is None or track.incident is None:
            return 0
        newest = int(self._parts.window_scorer.newest(np.array([slot], np.int32))[0])
        return max(1, newest - track.incident.start_ns // int(self._parts.grid.intervals.data[slot]))

    def _take_range(self, slot: int, values: NDArray[np.float64]) -> None:
        """Widen the range of a series by normal rows; it counts from the next part on."""
        if len(values):
            low, high = self._low.data, self._high.data
            low[slot] = np.fmin(low[slot], np.fmin.reduce(values, axis=0))
            high[slot] = np.fmax(high[slot], np.fmax.reduce(values, axis=0))

    def _take_errors(self, slot: int) -> None:
        """Keep the largest error of the part that is over."""
        highest = self._learnt.highest.data
        if highest[slot] > NO_ERROR:
            kept = self._errors.data[slot]
            kept[:-1], kept[-1] = kept[1:].copy(), highest[slot]
        highest[slot] = NO_ERROR

    def _has_settled(self, slot: int) -> bool:
        return int(np.count_nonzero(self._errors.data[slot] > NO_ERROR)) >= SETTLING_PARTS

    def _log_factor(self, slot: int) -> float:
        """Return the logarithm by which the threshold of a series is higher.

        Its usual errors have at most the score 0.8. While it is cold, 1 + sqrt(warmup / rows) / 2 is another
        factor. The scales were learnt from `rows` rows.
        """
        stage = int(self._learnt.stage.data[slot])
        if stage <= Stage.SETTLING:
            return 0.0
        high = float(self._errors.data[slot].max()) - math.log(_HIGH_SCORE) / self._sharpness
        doublings = min(int(self._doublings.data[slot]), DOUBLINGS)
        wider = math.log(1.0 + _WIDER * 2.0 ** (-float(doublings) / 2)) if stage == Stage.COLD else 0.0
        return min(max(high, 0.0), _MOST_LOG_FACTOR) + wider

    def _take_scales(self, slot: int) -> None:
        """Use the scales that the rows of a series show from its next row on."""
        parts, learnt, one = self._parts, self._learnt, np.array([slot], np.int32)
        if learnt.stage.data[slot] == Stage.LEARNING:
            learnt.stage.data[slot] = int(Stage.SETTLING)
            past = parts.window_scorer.past.data[slot]
            past[np.abs(past) >= LIMIT] = np.nan  # clipped, so that other units cannot be had from them
        else:
            self._doublings.data[slot] += 1
            if self._doublings.data[slot] == DOUBLINGS and not learnt.has_no_history:
                learnt.stage.data[slot] = int(Stage.LEARNT)
        center, spread = self._statistics.estimate(slot)
        before = parts.window_scorer.scales.trained_at(one)
        before = before[0].copy(), before[1].copy()
        learnt.reserve(one)
        learnt.center.data[slot], learnt.scale.data[slot] = self._usual.scales(center, spread)
        if self._alone is not None:
            learnt.stuck_rows.data[slot] = self._alone.limits(slot, self._statistics.num_rows(slot))
        learnt.moving.data[slot] = self._usual.still & (spread > _CONSTANT * np.abs(center))
        factor, offset = parts.window_scorer.rescale(one, *before)
        parts.levels.rescale(one, factor, offset)
        parts.row_scorer.evidences.begin(one, [parts.series.names[slot]])
        self._statistics.merge(slot)

    def _block_rows(self, slot: int) -> int:
        cold = self._parts.artifact.spec.cold
        assert cold is not None
        interval_ns = int(self._parts.grid.intervals.data[slot])
        return -(-self._parts.options.cold.warmup(cold, interval_ns) // BLOCKS)

    def _reserve(self, slot: int) -> None:
        for array in self._own():
            array.reserve(slot + 1)

    def _own(self) -> tuple[SeriesArray, ...]:
        return self._low, self._high, self._errors, self._doublings, self._frozen


class _UsualScales:
    """What the scales of a channel are in the history, to compare those of a few rows with."""

    def __init__(self, spec: Spec) -> None:
        self._center, self._scale = spec.column("center"), spec.column("scale")
        self._has_no_history = spec.cold is not None and not spec.cold.series
        self.still = np.array([channel.law == "constant" for channel in spec.channels])
        own: dict[str, list[float]] = {name: [] for name in spec.channel_names}
        for some in spec.own_scales.values():
            for one in some:
                own[one.channel].append(one.scale)
        self._is_alike = np.array([not scales for scales in own.values()])
        pairs = list(zip(own.values(), self._scale.tolist(), strict=True))
        self._least = _LEAST_SHARE * np.array([min(some, default=common) for some, common in pairs])
        self._typical = np.array([float(np.median(some)) if some else common for some, common in pairs])

    def scales(
        self, center: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the centres and scales to use, float64 [C] each; NaN where those of the history stay.

        A channel without values, or whose rows are as in the history, keeps the scale of all series. One that
        did not move has a typical scale of the history. No scale is below a third of the least one there.
        Without a history the rows alone say it; a channel that did not move has its own size as its scale.

        Args:
            center: What the rows show, float64 [C], NaN where unknown.
            spread: Likewise; 0 where the channel did not move.
        """
        constant = spread <= _CONSTANT * np.abs(center)
        if self._has_no_history:
            return center, np.where(constant, np.maximum(np.abs(center), 1.0), spread)
        scale = np.where(constant, self._typical, np.maximum(spread, self._least))
        scale = np.where(self.still, self._scale, scale)
        near = np.abs(center - self._center) <= _LIKE_CENTER * self._scale
        ratio = spread / self._scale
        near &= constant | ((ratio <= _LIKE_SCALE) & (ratio >= 1.0 / _LIKE_SCALE))
        kept = np.isnan(center) | (near & self._is_alike & ~self.still)
        return np.where(kept, np.nan, center), np.where(kept, np.nan, scale)


def cold_series(parts: Parts) -> tuple[ColdSeries, ...]:
    """Return what lets new series of an engine learn, if they begin cold."""
    return (ColdSeries(parts),) if parts.window_scorer.scales.learnt.is_used else ()
