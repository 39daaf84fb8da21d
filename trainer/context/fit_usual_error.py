"""Learn at which times of the week the error is usually high, as at a shift change or a weekly job.

The errors of the history are looked at by slots of the day, then of the week. What counts is the largest
error of each occurrence of a slot. A slot is unusual if most of its occurrences are: one fault is none. All
series of one day are one occurrence, so one event of a whole plant is none either. The factor is what its
errors hardly ever exceed, by their median and spread, in units of the threshold; at most 100.

Letters: n rows, N days of all series, S slots a day.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.season import DAY_SECONDS, MOST_FACTOR, Calendar, Season, UsualError
from detector.artifact.spec import Artifact
from detector.calibration.mode_factors import factor_of
from detector.calibration.recalibrate import recalibrated
from detector.scoring.context.profile import WeekClock
from detector.scoring.context.usual_error import UsualErrors
from detector.scoring.ensemble_error import EnsembleError
from trainer.calibrate import HeldOut, held_out_statistics
from trainer.context.fit_season import slot_seconds_of
from trainer.context.slot_runs import chosen_runs
from trainer.data.history import History, Segment, by_series

_MOST_ROWS = 300_000
_LEAST_DAYS, _LEAST_WEEKS = 4, 4
_KEPT_DAYS = 35
"""So many newest days of each series are looked at, of fewer series where there are many."""
_HIGH, _LEAST_SHARE = 0.9, 0.6
"""An occurrence is high above this quantile of all slots; so many of them must be."""
_BY_CHANCE = 0.1
_BEYOND, _LEAST_SIZE = 3.5, 0.15
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class _Peaks:
    """Hold the largest logarithm of an error in each slot of each day, float64 [N, S].

    Weekdays and days are int64 [N] each; several series have lines of the same day. `even`, bool [N, S], are
    evenly chosen slots: they show how high an error is at any time. None: all.
    """

    largest: NDArray[np.float64]
    weekday: NDArray[np.int64]
    day: NDArray[np.int64]
    even: NDArray[np.bool_] | None = None


def with_usual_error(
    artifact: Artifact, history: History, segments: tuple[Segment, ...], calendar: Calendar
) -> Artifact:
    """Return the artifact with the times of usual errors, and a threshold calibrated without them.

    Args:
        artifact: The calibrated model; its season may be None.
        history: Rows of all series.
        segments: The held-out rows.
        calendar: The zone whose clock counts, and special days.
    """
    spec = artifact.spec
    length = slot_seconds_of(max([history.interval_ns, *history.intervals.values()]))
    if spec.season is not None:
        length = spec.season.slot_seconds
    if _most_days(history) < _LEAST_DAYS:
        return artifact
    peaks = _peaks(artifact, history, WeekClock(calendar, length), DAY_SECONDS // length)
    upper = None if peaks is None else _upper(peaks)
    if upper is None or not np.isfinite(upper).any():
        return artifact
    season = spec.season or Season(calendar, length)
    kept, times = artifact.held_out, None
    for _ in range(_ROUNDS):
        season = replace(season, usual_error=_usual_error(upper, math.log(artifact.spec.threshold.value)))
        if not season.usual_error.slots:
            break
        if times is None:  # the rows are scored once more only where something recurs
            times = _times(history, segments, held_out_statistics(artifact, history, segments))
        artifact = _recalibrated(replace(artifact, held_out=kept), times, season)
    if not season.usual_error.slots and spec.season is None:
        return artifact
    return replace(artifact, spec=replace(artifact.spec, season=season))


def _most_days(history: History) -> float:
    """Return how many days the rows of the longest series span."""
    days: dict[str, float] = {}
    for one in history.segments:
        length = one.length * history.intervals.get(one.series, history.interval_ns) / 1e9 / DAY_SECONDS
        days[one.series] = days.get(one.series, 0.0) + length
    return max(days.values(), default=0.0)


def _peaks(artifact: Artifact, history: History, clock: WeekClock, slots: int) -> _Peaks | None:
    """Return the peaks of the newest rows of the chosen series; None where they have no errors."""
    segments, evenly = _segments(history, clock)
    found = held_out_statistics(artifact, history, segments)
    error = np.log(np.maximum(_errors(artifact, found), 1e-300))
    known = np.isfinite(error)
    if not known.any():
        return None
    series = sorted({one.series for one in segments})
    place_of = {name: place for place, name in enumerate(series)}
    number = np.array([place_of[one.series] for one in segments], np.int64)[found.segment[known]]
    day, slot = clock.slots(_times(history, segments, found)[known])
    days, place = np.unique(number * 10**7 + day, return_inverse=True)
    largest = np.full((len(days), slots), -np.inf)
    np.maximum.at(largest, (place, slot), error[known])
    largest[np.isneginf(largest)] = np.nan
    even = None
    if evenly is not None:
        even = np.array([[(one, at) in evenly for at in range(slots)] for one in (days % 10**7).tolist()])
    return _Peaks(largest, clock.weekdays(days % 10**7), days % 10**7, even)


def _segments(
    history: History, clock: WeekClock
) -> tuple[tuple[Segment, ...], frozenset[tuple[int, int]] | None]:
    """Return the rows to score, and which days and slots of them are evenly chosen; None: all newest rows."""
    chosen = _chosen(history)
    mine = tuple(one for one in history.segments if one.series in chosen)
    if len(chosen) == 1:
        interval_ns = history.intervals.get(mine[0].series, history.interval_ns)
        newest = _newest(mine, round(_KEPT_DAYS * DAY_SECONDS * 1e9 / interval_ns))
        if sum(one.length for one in newest) > _MOST_ROWS:
            return chosen_runs(history, newest, clock, _MOST_ROWS)
    return _newest(mine, _MOST_ROWS // max(1, len(chosen))), None


def _chosen(history: History) -> frozenset[str]:
    """Return the series to look at: few enough that all rows of five weeks of each may be read.

    Series with four weeks or more come first; of too many, evenly spaced ones are chosen.
    """
    rows = {series: sum(one.length for one in own) for series, own in by_series(history.segments).items()}
    a_day = {
        series: DAY_SECONDS * 1e9 / history.intervals.get(series, history.interval_ns) for series in rows
    }
    long = [series for series in sorted(rows) if rows[series] >= 7 * _LEAST_WEEKS * a_day[series]]
    pool = long or sorted(rows)
    need = max((min(rows[series], _KEPT_DAYS * a_day[series]) for series in pool), default=1.0)
    num = min(len(pool), max(1, int(_MOST_ROWS / max(need, 1.0))))
    return frozenset(pool[place * len(pool) // num] for place in range(num))


def _newest(segments: tuple[Segment, ...], most: int) -> tuple[Segment, ...]:
    """Return the newest so many rows of each series."""
    left: dict[str, int] = {}
    found = []
    for one in reversed(segments):
        room = most - left.get(one.series, 0)
        part = one.cut(max(one.position, one.stop - room), one.stop) if room > 0 else None
        if part is not None:
            left[one.series] = left.get(one.series, 0) + part.length
            found.append(part)
    return tuple(reversed(found))


def _errors(artifact: Artifact, held_out: HeldOut) -> NDArray[np.float64]:
    """Return the error of each row by the measure of its mode of operation, float64 [n]."""
    members, modes = artifact.spec.members, artifact.spec.modes
    combined = EnsembleError(members, [member.settled for member in members], artifact.spec.scoring.combine)
    errors = combined.errors(held_out.final)
    if modes is None or held_out.group is None:
        return errors
    scaled: NDArray[np.float64] = errors / factor_of(modes, held_out.group)
    return scaled


def _times(history: History, segments: tuple[Segment, ...], rows: HeldOut) -> NDArray[np.int64]:
    """Return the start of each held-out row in nanoseconds, int64 [n]."""
    interval = np.array(
        [history.intervals.get(one.series, history.interval_ns) for one in segments], np.int64
    )
    times: NDArray[np.int64] = rows.row * interval[rows.segment]
    return times


def _upper(peaks: _Peaks) -> NDArray[np.float64] | None:
    """Return what errors hardly ever exceed, by weekday and slot, float64 [7, S]; -inf where usual.

    What recurs every day is known from more days than what recurs every week, so it comes first.
    """
    is_known = np.isfinite(peaks.largest)
    if peaks.even is not None and (is_known & peaks.even).any():
        is_known &= peaks.even
    known = peaks.largest[is_known]
    high = float(np.quantile(known, _HIGH))
    slots = peaks.largest.shape[1]
    upper = np.full((7, slots), -np.inf)
    if len(np.unique(peaks.day)) >= _LEAST_DAYS:
        upper[:] = _upper_of(peaks.largest, peaks.day, high, 1)
    for weekday in range(7):
        mine = peaks.weekday == weekday
        if len(np.unique(peaks.day[mine])) >= _LEAST_WEEKS:
            found = _upper_of(peaks.largest[mine], peaks.day[mine], high, 7)
            upper[weekday] = np.maximum(upper[weekday], found)
    return upper


def _upper_of(
    largest: NDArray[np.float64], day: NDArray[np.int64], high: float, tests: int
) -> NDArray[np.float64]:
    """Return what the errors of each slot hardly ever exceed, float64 [S]; -inf where few days are high.

    Args:
        largest: The largest error of each slot of each day and series, a logarithm, float64 [N, S].
        day: The day of each line, int64 [N]; a day is high where most of its series are.
        high: An occurrence is high above it.
        tests: How many times as many slots are looked at: chance must hardly ever make one of them unusual.
    """
    known = np.isfinite(largest)
    days, place = np.unique(day, return_inverse=True)
    counts = np.zeros((2, len(days), largest.shape[1]))
    np.add.at(counts[0], place, known)
    np.add.at(counts[1], place, known & (largest > high))
    num = (counts[0] > 0).sum(axis=0)
    num_high = ((counts[0] > 0) & (counts[1] >= _LEAST_SHARE * counts[0])).sum(axis=0)
    least = np.array([_least_high(one, largest.shape[1] * tests) for one in range(len(days) + 1)])
    is_high = (num_high >= _LEAST_SHARE * num) & (num_high >= least[num])
    upper: NDArray[np.float64] = np.where(is_high, _limit(largest, place), -np.inf)
    return upper


def _limit(largest: NDArray[np.float64], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what the errors of each slot hardly ever exceed, float64 [S], though one may be a fault.

    It lies some spreads above the median, the smaller of the upper and the lower spread. And it is hardly
    above the second largest occurrence, since the largest may be a fault.

    Args:
        largest: The largest error of each slot of each day and series, a logarithm, float64 [N, S].
        place: Which of the different days each line is of, int64 [N].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # slots without any error
        below, median, above = np.nanquantile(largest, (0.25, 0.5, 0.75), axis=0)
    size = np.maximum(np.minimum(above - median, median - below) / 0.6745, _LEAST_SIZE)
    by_day = np.full((int(place.max()) + 1, largest.shape[1]), -np.inf)
    np.maximum.at(by_day, place, np.where(np.isfinite(largest), largest, -np.inf))
    second = np.sort(by_day, axis=0)[-2:][0]
    limit: NDArray[np.float64] = np.minimum(median + _BEYOND * size, second + _BEYOND * _LEAST_SIZE)
    return limit


def _least_high(num: int, slots: int) -> int:
    """Return how many of so many occurrences are high in one of all slots by chance less than 1 in 10 times.

    >>> [_least_high(num, 96 * 7) for num in (3, 6, 30)]
    [4, 5, 11]
    """
    chance = 1.0 - _HIGH
    tail, least = 0.0, num + 1
    while least > 0:
        at = least - 1
        tail += math.comb(num, at) * chance**at * _HIGH ** (num - at) if at <= num else 0.0
        if tail * slots >= _BY_CHANCE:
            break
        least = at
    return max(least, 4)


def _usual_error(upper: NDArray[np.float64], threshold: float) -> UsualError:
    """Return the factors of the slots whose errors may exceed the threshold, a logarithm."""
    beyond = (upper - threshold).ravel()
    slots = np.flatnonzero(beyond > 0.0)
    return UsualError(
        tuple(slots.tolist()),
        tuple(np.minimum(np.exp(np.minimum(beyond[slots], 18.0)), MOST_FACTOR).tolist()),
    )


def _recalibrated(artifact: Artifact, times: NDArray[np.int64], season: Season) -> Artifact:
    """Return the artifact with held-out errors in units of what is usual at their time, and its threshold.

    The errors are those that were kept: of rows that the weights had not learnt. The artifact stays where
    they are more than the held-out rows.

    Args:
        artifact: The calibrated model.
        times: The start of each held-out row in nanoseconds, int64 [n].
        season: With the usual errors.
    """
    kept = artifact.held_out
    num = len(kept["error"])
    if num > len(times):
        return artifact
    factor = UsualErrors(season).factor(times[-num:])
    changed = dict(kept)
    changed |= {name: kept[name] / factor for name in ("error", "fresh") if name in kept}
    return replace(recalibrated(replace(artifact, held_out=changed)), version=artifact.version)
