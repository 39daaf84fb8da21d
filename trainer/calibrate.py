"""Calibration: from trained weights to an artifact with levels of the statistics, bands and the threshold.

All of them come from rows that trained no weights. The grid and the window scorer of the engine read these
rows as they will read the stream. The tail of their errors is extrapolated to the alarm budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact.modes import Modes
from detector.artifact.spec import Artifact, Channel, Level, Member, Spec, Threshold
from detector.calibration.mode_factors import factor_of, group_of, with_factors
from detector.calibration.peaks_over_threshold import peaks_over_threshold
from detector.models.ensemble import Ensemble
from detector.models.families import reconstruct
from detector.rows.grid import Grid, Rows
from detector.scoring.cell_flags import UNJUDGED
from detector.scoring.context.modes import ModeRules, RowModes
from detector.scoring.ensemble_error import EnsembleError, level_of, log_statistics
from detector.scoring.outputs.overlap import RowOutput
from detector.scoring.preprocessing import fill_missing
from detector.scoring.window_scorer import WindowScorer
from trainer.data.channel_statistics import ChannelStatistics
from trainer.data.history import History, Segment
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TooLittleDataError
from trainer.still_rows import is_still, lively_rows

QUANTILES = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0])
_BAND_QUANTILE = 0.99
_RESIDUAL_WINDOWS = 4_096
_FEED_ROWS = 1 << 14
_KEPT_ROWS = 200_000
_LEAST_NEWEST = 256
_LEAST_BAND = 1e-9
"""A band of 0 says that a channel never moved in the history."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """Hold the residuals of held-out rows in scaled units, float32 [n, C], NaN where missing."""

    values: NDArray[np.float32]

    def quantile(self, level: float) -> NDArray[np.float64]:
        """Return a quantile of the absolute residual per channel, float64 [C]; 0 without any value.

        >>> Residuals(np.array([[1.0, np.nan], [-3.0, np.nan]], np.float32)).quantile(1.0).tolist()
        [3.0, 0.0]
        """
        known = np.abs(self.values.astype(np.float64))
        filled = np.where(np.isfinite(known), known, np.nan)
        empty = np.isnan(filled).all(axis=0)
        filled[:, empty] = 0.0
        found: NDArray[np.float64] = np.nanquantile(filled, level, axis=0)
        return found


def held_out_residuals(module: torch.nn.Module, windows: TrainingWindows) -> Residuals:
    """Return the residuals of the last row of each window, as a causal score sees them.

    Args:
        module: A trained autoencoder on the CPU.
        windows: Windows of rows that trained no weights.
    """
    x_BWC = windows.spread(_RESIDUAL_WINDOWS)
    found = []
    with torch.inference_mode():
        for at in range(0, len(x_BWC), 256):
            part = x_BWC[at : at + 256]
            y_BWC = reconstruct(module, torch.from_numpy(fill_missing(part)))[0].numpy()
            found.append(part[:, -1] - y_BWC[:, -1])
    return Residuals(np.concatenate(found))


def describe_channels(
    names: tuple[str, ...],
    statistics: ChannelStatistics,
    residuals: Residuals,
    valid_range: dict[str, tuple[float, float]],
    missing_rows: NDArray[np.int64],
) -> tuple[Channel, ...]:
    """Return the description of each channel that the artifact keeps.

    Args:
        names: Names of the channels.
        statistics: Centre, scale and flatline limit per channel.
        residuals: Held-out residuals; their 0.99 quantile becomes the band around the predicted value.
        valid_range: Possible values [min, max] by channel.
        missing_rows: Rows without each channel from which it is missing, int64 [C].
    """
    band = residuals.quantile(_BAND_QUANTILE)
    laws = statistics.laws or ("plain",) * len(names)
    return tuple(
        Channel(
            name=name,
            center=float(statistics.center[at]),
            scale=float(statistics.scale[at]),
            band=0.0 if laws[at] == "constant" else float(max(band[at], _LEAST_BAND) * statistics.scale[at]),
            flatline_rows=int(statistics.flatline_rows[at]),
            valid_min=valid_range.get(name, (None, None))[0],
            valid_max=valid_range.get(name, (None, None))[1],
            missing_rows=int(missing_rows[at]),
            law=laws[at],
        )
        for at, name in enumerate(names)
    )


def with_sentinels(
    channels: tuple[Channel, ...], sentinels: tuple[tuple[float, ...], ...]
) -> tuple[Channel, ...]:
    """Return the channels with the values of each that stand for no value."""
    return tuple(
        replace(channel, sentinels=values) for channel, values in zip(channels, sentinels, strict=True)
    )


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Hold the statistics of n held-out rows, sorted by segment and time.

    Attributes:
        segment: int64 [n], number of the uninterrupted segment.
        row: int64 [n], row of the series.
        final: float64 [n, statistics of all members], of final verdicts; NaN where a member had no window.
        provisional: The same of provisional verdicts; equal to `final` without a delay.
        group: int64 [n], the mode of the row and whether it is steady in it
            (`detector.calibration.mode_factors`); None without modes.
    """

    segment: NDArray[np.int64]
    row: NDArray[np.int64]
    final: NDArray[np.float64]
    provisional: NDArray[np.float64]
    group: NDArray[np.int64] | None = None


def calibrate(
    spec: Spec,
    module: Ensemble,
    history: History,
    segments: tuple[Segment, ...],
    adaptive: bool,
    fitted: tuple[Segment, ...] = (),
) -> Artifact:
    """Return an artifact whose levels and threshold are fitted to the rows of `segments`.

    Args:
        spec: The description so far; the alarm budget of its threshold is kept.
        module: The trained ensemble.
        history: Rows of all series.
        segments: Rows that trained no weights.
        adaptive: Let a page level limit the alarms of each series.
        fitted: Rows of the training; the lively ones count where the held-out rows stand still.

    Raises:
        TooLittleDataError: No row of the segments has a full window.
    """
    held_out = held_out_statistics(Artifact(spec, module), history, segments)
    if fitted and is_still(held_out.final):
        held_out = with_lively_rows(held_out, held_out_statistics(Artifact(spec, module), history, fitted))
    return calibrated(spec, module, held_out, adaptive)


def calibrated(spec: Spec, module: Ensemble, held_out: HeldOut, adaptive: bool) -> Artifact:
    """Return the artifact for these statistics of held-out rows; arguments and errors as in `calibrate`."""
    if not np.isfinite(held_out.final).all(axis=1).any():
        raise TooLittleDataError(
            f"the calibration part has no full window of {spec.window} rows: give more history or a"
            " smaller window"
        )
    final, provisional = (_levels(spec, part) for part in (held_out.final, held_out.provisional))
    combine = spec.scoring.combine
    members = tuple(
        replace(member, settled=one, fresh=other)
        for member, one, other in zip(spec.members, final, provisional, strict=True)
    )
    errors = EnsembleError(members, final, combine).errors(held_out.final)
    modes, factor = _modes(spec, errors, held_out, adaptive)
    errors = errors / factor
    threshold = _threshold(spec, errors, held_out, adaptive)
    if spec.scoring.delay:
        first = EnsembleError(members, provisional, combine).errors(held_out.provisional) / factor
        threshold = replace(threshold, fresh=_threshold(spec, first, held_out, adaptive).value)
    table = {"quantile": QUANTILES, "error": np.quantile(errors[np.isfinite(errors)], QUANTILES)}
    kept: dict[str, NDArray[np.float64]] = {
        "segment": held_out.segment[-_KEPT_ROWS:].astype(np.float64),
        "error": errors[-_KEPT_ROWS:],
    }
    if spec.scoring.delay:
        kept["fresh"] = first[-_KEPT_ROWS:]
    spec = replace(spec, members=members, threshold=threshold, modes=modes)
    return Artifact(spec, module, table, kept)


def _modes(
    spec: Spec, errors: NDArray[np.float64], held_out: HeldOut, adaptive: bool
) -> tuple[Modes | None, NDArray[np.float64]]:
    """Return the modes with their factors on the threshold, and the factor of each row, float64 [n]."""
    if spec.modes is None or held_out.group is None:
        return spec.modes, np.ones(len(errors))
    budget, interval_ns = spec.threshold.alarm_budget, spec.interval_ns

    def threshold_of(some: NDArray[np.float64], segment: NDArray[np.int64]) -> float:
        return peaks_over_threshold(some, segment, budget, interval_ns, adaptive).value

    modes = with_factors(spec.modes, errors, held_out.segment, held_out.group, threshold_of)
    return modes, factor_of(modes, held_out.group)


def with_lively_rows(held_out: HeldOut, fitted: HeldOut) -> HeldOut:
    """Return lively rows of the training before as many of the newest held-out rows; `held_out` if none is.

    At least 256 of the newest rows stay: few lively rows are no measure of normal errors.

    Args:
        held_out: Rows that trained no weights; one of their statistics stands still.
        fitted: Rows of the training.
    """
    lively = lively_rows(held_out.final, fitted.final)
    if len(lively) == 0:
        return held_out
    newest, after = slice(-max(len(lively), _LEAST_NEWEST), None), int(fitted.segment[lively].max()) + 1
    group = None
    if fitted.group is not None and held_out.group is not None:
        group = np.concatenate([fitted.group[lively], held_out.group[newest]])
    return HeldOut(
        np.concatenate([fitted.segment[lively], held_out.segment[newest] + after]),
        np.concatenate([fitted.row[lively], held_out.row[newest]]),
        np.concatenate([fitted.final[lively], held_out.final[newest]]),
        np.concatenate([fitted.provisional[lively], held_out.provisional[newest]]),
        group,
    )


def residual_columns(spec: Spec, residuals: Residuals) -> dict[str, NDArray[np.float64]]:
    """Return columns of the calibration table: quantiles of the absolute residual, in each channel's unit."""
    levels = [residuals.quantile(level) for level in QUANTILES]
    return {
        f"residual:{name}": np.array([level[at] for level in levels]) * spec.channels[at].scale
        for at, name in enumerate(spec.channel_names)
    }


def held_out_statistics(artifact: Artifact, history: History, segments: tuple[Segment, ...]) -> HeldOut:
    """Return the statistics of all members for every row of `segments`, in their order.

    Rows before a segment fill its first windows; they are not part of the result.
    """
    parts = [part for batch in _batches(segments) for part in _batch_statistics(artifact, history, batch)]
    final, provisional = ([part for part in parts if part[0] == kind] for kind in ("final", "provisional"))
    number, row, statistics, group = _in_order(final)
    first = _in_order(provisional)[2] if provisional else statistics
    return HeldOut(number, row, statistics, first, None if artifact.spec.modes is None else group)


def _in_order(
    parts: list[_Part],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    number, row, statistics, group = (np.concatenate([part[at] for part in parts]) for at in (1, 2, 3, 4))
    order = np.lexsort((row, number))
    return number[order], row[order], statistics[order], group[order]


def _levels(spec: Spec, statistics: NDArray[np.float64]) -> list[tuple[Level, ...]]:
    """Return the levels of each member's statistics."""
    logarithms = log_statistics(statistics)
    num = spec.num_statistics
    return [
        tuple(level_of(logarithms[:, at * num + one]) for one in range(num))
        for at in range(len(spec.members))
    ]


def _threshold(spec: Spec, errors: NDArray[np.float64], held_out: HeldOut, adaptive: bool) -> Threshold:
    return peaks_over_threshold(
        errors, held_out.segment, spec.threshold.alarm_budget, spec.interval_ns, adaptive
    )


def with_initial_levels(members: tuple[Member, ...], num_statistics: int) -> tuple[Member, ...]:
    """Return the members with the levels before calibration."""
    levels = (Level(),) * num_statistics
    return tuple(replace(member, settled=levels, fresh=levels) for member in members)


def unfitted_threshold(budget: str) -> Threshold:
    """Return the threshold before calibration, which holds the alarm budget.

    >>> unfitted_threshold("1/day").alarm_budget
    '1/day'
    """
    return Threshold(1.0, "none", budget)


def _batches(segments: tuple[Segment, ...]) -> Iterator[dict[int, Segment]]:
    """Yield the segments by number, in batches that fill a step or two of the engine."""
    batch: dict[int, Segment] = {}
    num_rows = 0
    for number, segment in enumerate(segments):
        batch[number] = segment
        num_rows += segment.length
        if num_rows >= _FEED_ROWS:
            yield batch
            batch, num_rows = {}, 0
    if batch:
        yield batch


_Part = tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def _batch_statistics(artifact: Artifact, history: History, batch: dict[int, Segment]) -> Iterator[_Part]:
    """Yield parts of the rows: ("final" or "provisional", number of the segment, row, statistics, group)."""
    names = [segment.series for segment in batch.values()]
    own = {name: artifact.spec.own_scales[name] for name in names if name in artifact.spec.own_scales}
    spec = replace(artifact.spec, own_scales=own)  # of these alone: there may be many more
    scorer = WindowScorer(replace(artifact, spec=spec), "cpu")
    scorer.scales.name(np.arange(len(batch), dtype=np.int32), names)
    grid = Grid(len(spec.channels), spec.interval_ns, 0)

    def part(kind: str, rows: RowOutput) -> _Part:
        number = np.array(list(batch), np.int64)[rows.slot]
        first_row = np.array([segment.row for segment in batch.values()], np.int64)[rows.slot]
        unknown = np.isnan(rows.actual) | ((rows.flags & UNJUDGED) > 0)
        inside = (rows.row >= first_row) & ~unknown.all(axis=1)
        statistics = np.concatenate(rows.means[1 : 1 + len(spec.members)], axis=1)
        return kind, number[inside], rows.row[inside], statistics[inside], _group(spec, rows)[inside]

    def parts(rows: Rows) -> Iterator[_Part]:
        outputs = scorer.add(rows)
        yield part("final", outputs.final)
        if outputs.provisional is not None:
            yield part("provisional", outputs.provisional)

    order = {str(number): at for at, number in enumerate(batch)}
    for readings in _readings(history, batch, spec):
        slot = np.array([order[name] for name in readings.names], np.int32)[readings.series]
        yield from parts(grid.add(slot, readings.timestamp_ns, readings.values))
    yield from parts(grid.flush())
    yield part("final", scorer.flush())


def _group(spec: Spec, rows: RowOutput) -> NDArray[np.int64]:
    """Return the mode of each row and whether it is steady in it, as one number, int64 [n]."""
    if spec.modes is None:
        return np.zeros(len(rows), np.int64)
    modes = RowModes.of(rows.context)
    is_steady = ModeRules(spec.modes, spec.channel_names, spec.window).is_steady(modes)
    return group_of(modes.mode, is_steady, len(spec.modes.all))


def _readings(history: History, batch: dict[int, Segment], spec: Spec) -> Iterator[Readings]:
    """Yield the rows of the segments after the rows that fill their first windows; series are numbers."""
    before, history = spec.window - 1, history.as_sent
    parts: list[tuple[str, NDArray[np.int64], NDArray[np.float64]]] = []
    num_rows = 0
    for number, segment in batch.items():
        start = max(history.whole(segment).position, segment.position - before)
        for at in range(start, segment.stop, _FEED_ROWS):
            values = history.read(at, min(segment.stop, at + _FEED_ROWS))
            row = segment.row + np.arange(at, at + len(values)) - segment.position
            present = ~np.isnan(values).all(axis=1)
            parts.append((str(number), row[present], values[present]))
            num_rows += len(values)
            if num_rows >= _FEED_ROWS:
                yield _joined(parts, spec)
                parts, num_rows = [], 0
    if parts:
        yield _joined(parts, spec)


def _joined(parts: list[tuple[str, NDArray[np.int64], NDArray[np.float64]]], spec: Spec) -> Readings:
    code_of = {name: code for code, name in enumerate(dict.fromkeys(part[0] for part in parts))}
    series = [np.full(len(row), code_of[name], np.int32) for name, row, _ in parts]
    row = np.concatenate([part[1] for part in parts])
    return Readings(
        tuple(code_of),
        np.concatenate(series),
        row * spec.interval_ns,
        np.concatenate([part[2] for part in parts]),
        np.zeros(len(row), np.int32),
        np.arange(len(row)),
    )
