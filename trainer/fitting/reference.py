"""Fit the frozen reference: each channel by the others, in closed form, in one pass over the history.

Every series is cut into a few parts of time. The residuals of a part come from a regression that did not
see it (cross-validation by contiguous parts). A level of operation that only one part has shows as the
departure that a new level would be. Sums of squares and products of each part are all that is kept.

Letters: n rows, C channels, F features, P parts, B blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.reference import LARGE_DEPARTURES, Reference, least_history, num_features
from detector.artifact.spec import Spec
from detector.calibration.cumulative_threshold import SumTail, calibrated_sums, large_sum_tail, sum_tail
from detector.scoring.lasting.changes import RowChanges
from detector.scoring.lasting.cumulative import MOST_DEPARTURE
from detector.scoring.lasting.reference import RunningMeans, features, owners, predicted, unsure
from detector.scoring.preprocessing import scale_rows
from trainer.data.history import History, Segment, by_series
from trainer.fitting.changes import fit_widening
from trainer.fitting.newest_rows import NewestRows

_PARTS = 5
_RIDGE = 1e-3
_READ_ROWS = 1 << 14
_LEAST_SPREAD = 0.02
_LEAST_ROWS = 256
_SAMPLE_ROWS = 4_096
_MOST = 3.0
_SHORT, _LONG = 256, 1_024
_ALLOWANCE, _MOST_ALLOWANCE = 0.25, 2.0
_KEPT_ROWS = 200_000
_FEW_VALUES = {"count", "steps"}


@dataclass(slots=True)
class _Sums:
    """Hold the sums of products of the features, [P, F + 1, F + 1], and with the channels, [P, F + 1, C]."""

    square: NDArray[np.float64]
    product: NDArray[np.float64]
    rows: NDArray[np.float64]


@dataclass(slots=True)
class _Residuals:
    """Hold the residuals of the history in the order of the series and of time.

    series   the name of each
    values   float64 [n, C] of each, NaN where unknown
    changes  float64 [n, C] of each: how far each channel is from the row before
    missing  bool [n, C] of each: cells without a value, or without a mean of the values before
    """

    series: list[str] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    changes: list[NDArray[np.float64]] = field(default_factory=list)
    missing: list[NDArray[np.bool_]] = field(default_factory=list)

    def of_whole_rows(self) -> NDArray[np.float64]:
        """Return the residuals of rows without a missing cell, float64 [n, C]; of all where these are few.

        Where a channel is not judged in some mode, all of its cells are missing there. The residuals of the
        others then have another centre, and would widen the spread of all rows.
        """
        values = np.concatenate(self.values)
        whole = values[~np.concatenate(self.missing).any(axis=1)]
        few = (~np.isnan(whole)).sum(axis=0) < np.minimum(_LEAST_ROWS, (~np.isnan(values)).sum(axis=0))
        return values if few.any() else whole

    def leave_out(self, influence: NDArray[np.float64]) -> None:
        """Make unknown what the running engine does not know either: it must not shift the centre."""
        for values, missing in zip(self.values, self.missing, strict=True):
            values[unsure(missing, np.square(influence))] = np.nan


def fit_reference(spec: Spec, history: History) -> Reference | None:
    """Return the reference of a history, or None where it has too few rows.

    Args:
        spec: The description of the model; its scales, interval and alarm budget are used.
        history: The cleaned rows that the model learns from.
    """
    num_channels = len(spec.channels)
    sums = _sums_of(spec, history)
    if sums.rows.sum() < least_history(num_channels):
        return None
    weights = _solved(sums.square.sum(axis=0), sums.product.sum(axis=0), num_channels)
    residuals, lowest, highest = _residuals_of(spec, history, _without_each_part(sums, num_channels))
    few_values = np.array([channel.law in _FEW_VALUES for channel in spec.channels])
    _, spread = robust_center(residuals.of_whole_rows(), few_values)
    influence = _influence(spec, history, weights, spread)
    residuals.leave_out(influence)
    whole, (baseline, spread) = spread, robust_center(np.concatenate(residuals.values), few_values)
    influence *= whole / spread
    own = _baselines(residuals, baseline, spread)
    departures = [
        (values - own.get(series, baseline)) / spread
        for series, values in zip(residuals.series, residuals.values, strict=True)
    ]
    moves = np.array([channel.law != "constant" for channel in spec.channels])
    between = np.std(list(own.values()), axis=0) / spread if len(own) > 1 else np.zeros(num_channels)
    reference = Reference(
        weights=_table(weights),
        spread=_list(spread),
        baseline=_list(baseline),
        allowance=_list(np.zeros(num_channels)),
        unknown=_list(2.0 * between),
        threshold=_list(np.zeros(num_channels)),
        influence=_table(influence),
        lowest=_list(lowest),
        highest=_list(highest),
        baselines={series: _list(values) for series, values in own.items()},
    )
    reference = with_limits(reference, departures, residuals.changes, moves)
    return calibrated_sums(reference, spec.threshold.alarm_budget, spec.interval_ns)


def _without_each_part(sums: _Sums, num_channels: int) -> NDArray[np.float64]:
    """Return the weights of the history without each of its parts, float64 [P, F + 1, C]."""
    square, product = sums.square.sum(axis=0), sums.product.sum(axis=0)
    parts = zip(sums.square, sums.product, strict=True)
    return np.stack([_solved(square - one, product - other, num_channels) for one, other in parts])


def with_limits(
    reference: Reference,
    departures: Sequence[NDArray[np.float64]],
    changes: Sequence[NDArray[np.float64]],
    moves: NDArray[np.bool_] | None = None,
) -> Reference:
    """Return the reference with what follows from the departures of the history: what is no evidence.

    Args:
        reference: Without it.
        departures: One float64 [n, C] for each series, in spreads, NaN where unknown.
        changes: One float64 [n, C] for each series: how far each channel is from the row before.
        moves: Which channels moved in the history, bool [C]; the others are left out. None: all.
    """
    wider = fit_widening(departures, changes)
    local = [one / wider.of(change) for one, change in zip(departures, changes, strict=True)]
    allowance, tails, large = _limits(local)
    if moves is not None:
        allowance = np.where(moves, allowance, np.inf)
    return replace(
        reference,
        allowance=_list(np.minimum(allowance, 1e6)),
        threshold=_list((allowance <= _MOST_ALLOWANCE).astype(np.float64)),
        tails=tuple(zip(*map(astuple, tails), strict=True)),
        large_tails=tuple(zip(*map(astuple, large), strict=True)),
        change_usual=_list(wider.usual),
        change_knots=_table(wider.knots),
        change_factors=_table(wider.factors),
    )


def _limits(
    local: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], list[SumTail], list[SumTail]]:
    """Return the allowance of each channel, float64 [C], the tail of its sums, and that of large ones."""
    whole = [np.clip(one, -MOST_DEPARTURE, MOST_DEPARTURE) for one in local]
    departures = [np.clip(one, -_MOST, _MOST) for one in whole]
    allowance = allowances(departures)
    large = [
        large_sum_tail([one[:, channel] for one in whole], allowed, beyond)
        for beyond in LARGE_DEPARTURES
        for channel, allowed in enumerate(allowance.tolist())
    ]
    tails = [
        sum_tail([one[:, channel] for one in departures], allowed)
        for channel, allowed in enumerate(allowance.tolist())
    ]
    return allowance, tails, large


def robust_center(
    residuals: NDArray[np.float64], few_values: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and spread of the residuals of each channel, float64 [C] each.

    The centre is Huber's: residuals count at most 3 spreads. A few rows of a fault hardly move it.

    Args:
        residuals: float64 [n, C], NaN where unknown.
        few_values: Channels that have few values, as counts do, bool [C]. Most residuals may be alike there,
            so that the median distance is nearly 0. Their spread is at least the standard deviation.
    """
    known = ~np.isnan(residuals)
    empty = ~known.any(axis=0)
    residuals = np.where(empty, 0.0, residuals)
    center = np.nanmedian(residuals, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(residuals - center), axis=0)
    deviation = np.nanstd(residuals, axis=0)
    at_least = np.where(few_values, deviation, 0.0) if few_values is not None else 0.0 * deviation
    spread = np.maximum(np.where(spread > 0, np.maximum(spread, at_least), deviation), _LEAST_SPREAD)
    for _ in range(6):
        center = center + spread * np.nanmean(np.clip((residuals - center) / spread, -_MOST, _MOST), axis=0)
    size = np.sqrt(np.nanmean(np.square(np.clip((residuals - center) / spread, -_MOST, _MOST)), axis=0))
    return center, np.maximum(spread * size, _LEAST_SPREAD)


def allowances(departures: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the departure of each channel that is no evidence, float64 [C], at least a quarter spread.

    A channel whose residual wanders for hours is allowed as much as it wanders. That is twice the standard
    deviation of means over 256 rows, or three times that of means over 1,024.
    Few blocks know it badly: they allow more.

    Args:
        departures: One float64 [n, C] for each series, in spreads, NaN where unknown.
    """
    allowed = np.full(departures[0].shape[1], _ALLOWANCE)
    for rows, factor in ((_SHORT, 2.0), (_LONG, 3.0)):
        means = [_block_means(one, rows) for one in departures]
        every = np.concatenate(means)
        if len(every) >= 2:
            few = 1.0 + 4.0 / len(every)
            every = np.where(np.isnan(every).all(axis=0), 0.0, every)  # a channel that is never judged
            allowed = np.maximum(allowed, factor * few * np.nan_to_num(np.nanstd(every, axis=0)))
    return allowed


def _block_means(values: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Return the means of blocks of so many rows, float64 [B, C]; NaN where half of a block is unknown."""
    blocks = values[: len(values) // rows * rows].reshape(-1, rows, values.shape[1])
    known = (~np.isnan(blocks)).sum(axis=1)
    total = np.nansum(blocks, axis=1)
    return np.where(2 * known >= rows, total / np.maximum(known, 1), np.nan)


def _baselines(
    residuals: _Residuals, baseline: NDArray[np.float64], spread: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the baseline of each series with enough rows, float64 [C]."""
    found = {}
    for series, values in zip(residuals.series, residuals.values, strict=True):
        enough = (~np.isnan(values)).sum(axis=0) >= _LEAST_ROWS
        if enough.any():
            found[series] = np.where(enough, _center_within(values, baseline, spread), baseline)
    return found


def _center_within(
    values: NDArray[np.float64], center: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the centre of one series with the spread of all, float64 [C]."""
    known = ~np.isnan(values)
    values = np.where(known.any(axis=0), values, center)
    center = np.nanmedian(values, axis=0)
    for _ in range(6):
        center = center + spread * np.nanmean(np.clip((values - center) / spread, -_MOST, _MOST), axis=0)
    return center


def _rows_of(
    spec: Spec, history: History
) -> Iterator[tuple[str, int, NDArray[np.float32], NDArray[np.float64]]]:
    """Yield series, part, rows in the units of the model [n, C] and their running means [n, 2, C]."""
    for series, segments in by_series(history.segments).items():
        means = RunningMeans(len(spec.channels))
        num_rows, done = sum(segment.length for segment in segments), 0
        center, scale = spec.scales_of(series)
        for segment in segments:
            for start, stop in _pieces(segment, num_rows, done):
                scaled = scale_rows(history.read(start, stop), center, scale)
                row = segment.row + np.arange(start, stop) - segment.position
                part = min(_PARTS - 1, (done + start - segment.position) * _PARTS // num_rows)
                yield series, part, scaled, means.follow(np.zeros(len(row), np.int32), row, scaled)
            done += segment.length


def _pieces(segment: Segment, num_rows: int, done: int) -> Iterator[tuple[int, int]]:
    """Yield the positions of pieces of a segment that lie in one part each and fit in memory."""
    edges = {-(-part * num_rows // _PARTS) - done + segment.position for part in range(1, _PARTS)}
    edges |= set(range(segment.position, segment.stop, _READ_ROWS))
    inside = sorted(edge for edge in edges if segment.position < edge < segment.stop)
    yield from zip([segment.position, *inside], [*inside, segment.stop], strict=True)


def _sums_of(spec: Spec, history: History) -> _Sums:
    """Return the sums over all rows that have every value and running means."""
    num_channels = len(spec.channels)
    wide = num_features(num_channels) + 1
    sums = _Sums(np.zeros((_PARTS, wide, wide)), np.zeros((_PARTS, wide, num_channels)), np.zeros(_PARTS))
    for _, part, scaled, means in _rows_of(spec, history):
        rows, values = features(scaled, means), np.clip(scaled, -8.0, 8.0)
        known = ~np.isnan(means).any(axis=(1, 2))
        mostly = np.isnan(scaled).mean(axis=1) <= 0.25
        rows, values = rows[known & mostly], np.nan_to_num(values[known & mostly], nan=0.0)
        sums.square[part] += rows.T @ rows
        sums.product[part] += rows.T @ values
        sums.rows[part] += len(rows)
    return sums


def _solved(
    square: NDArray[np.float64], product: NDArray[np.float64], num_channels: int
) -> NDArray[np.float64]:
    """Return the weights of every channel, float64 [F + 1, C], each without the features of the channel."""
    num = max(square[0, 0], 1.0)
    mean = square[0] / num
    scale = np.sqrt(np.maximum(np.diag(square) / num - mean**2, 0.0))
    scale[0] = 1.0
    usable = scale > 1e-6
    safe = np.where(usable, scale, 1.0)
    ridge = _RIDGE * num * np.eye(len(square))
    ridge[0, 0] = 0.0
    centred = square.copy()
    centred[1:, 1:] -= num * np.outer(mean[1:], mean[1:])
    centred[0, 1:] = centred[1:, 0] = 0.0
    system = centred / np.outer(safe, safe) + ridge
    right = (product - np.outer(mean, product[0])) / safe[:, None]
    right[0] = product[0]
    weights = np.zeros((len(square), num_channels))
    others = ~owners(num_channels) & usable[:, None]
    for channel in range(num_channels):
        at = np.flatnonzero(others[:, channel])
        weights[at, channel] = np.linalg.solve(system[np.ix_(at, at)], right[at, channel]) / safe[at]
    weights[0] -= mean[1:] @ weights[1:]
    return weights


def _residuals_of(
    spec: Spec, history: History, without: NDArray[np.float64]
) -> tuple[_Residuals, NDArray[np.float64], NDArray[np.float64]]:
    """Return the residuals of the newest rows, and the range of each channel in the history."""
    num_channels = len(spec.channels)
    lowest = np.full(num_channels, np.inf)
    highest = -lowest
    left = {name: sum(one.length for one in own) for name, own in by_series(history.segments).items()}
    most = max(_LONG, _KEPT_ROWS // len(left))
    number = {name: at for at, name in enumerate(left)}
    kept = {name: NewestRows(most) for name in left}
    moved = RowChanges(num_channels)
    for series, part, scaled, means in _rows_of(spec, history):
        known = ~np.isnan(scaled)
        lowest = np.minimum(lowest, np.where(known, scaled, np.inf).min(axis=0))
        highest = np.maximum(highest, np.where(known, scaled, -np.inf).max(axis=0))
        change = moved.follow(np.full(len(scaled), number[series], np.int32), scaled)
        left[series] -= len(scaled)
        if left[series] < most:  # older rows are not among the newest
            residual = scaled - predicted(features(scaled, means), without[part])
            no_mean = np.isnan(means[:, 0])
            residual[no_mean.all(axis=1) | ((~known).mean(axis=1) > 0.25)] = np.nan
            kept[series].add(np.concatenate([residual, change, ~known | no_mean], axis=1))
    found = _Residuals(list(kept))
    for one in kept.values():
        values, changes, missing = np.split(one.rows(), 3, axis=1)
        found.values.append(values)
        found.changes.append(changes)
        found.missing.append(missing > 0)
    return found, np.where(np.isfinite(lowest), lowest, 0.0), np.where(np.isfinite(highest), highest, 0.0)


def _influence(
    spec: Spec, history: History, weights: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how the residual of each channel changes where one other is missing, in spreads, [C, C]."""
    num_channels = len(spec.channels)
    total, num = np.zeros((num_channels, num_channels)), 0
    for _, _, scaled, means in _rows_of(spec, history):
        step = max(1, len(scaled) * max(1, num_channels // 4) // _SAMPLE_ROWS)
        scaled, means = scaled[::step], means[::step]
        whole = predicted(features(scaled, means), weights)
        for channel in range(num_channels):
            holed = scaled.copy()
            holed[:, channel] = np.nan
            changed = predicted(features(holed, means), weights) - whole
            total[channel] += np.square(changed / spread).sum(axis=0)
        num += len(scaled)
        if num >= 4 * _SAMPLE_ROWS:
            break
    influence: NDArray[np.float64] = np.sqrt(total / max(num, 1))
    return influence


def _list(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values.tolist())


def _table(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(_list(row) for row in values)
