"""From trained weights to an artifact: residual scales, bands, and the threshold.

The threshold is learnt from rows that trained nothing: the engine itself scores the calibration rows,
exactly as it will score the stream, and the tail of those errors is extrapolated to the alarm budget.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact import Artifact, Channel, Spec, Threshold
from detector.engine import Engine
from detector.scoring import fill_missing
from detector.threshold import peaks_over_threshold
from trainer.errors import TooLittleDataError
from trainer.history import History, Segment
from trainer.sampling import Windows
from trainer.scaling import ChannelStatistics

QUANTILES = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0])
_BAND_QUANTILE = 0.99
_MIN_RESIDUAL_SCALE = 0.02
_RESIDUAL_WINDOWS = 4_096
_FEED_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class Residuals:
    """Held-out residuals in the model's units, float32 [n, C], NaN where missing."""

    values: NDArray[np.float32]

    def scale(self) -> NDArray[np.float64]:
        """Root mean square a channel, float64 [C], never so small that a channel dominates for nothing."""
        known = np.isfinite(self.values)
        square = np.where(known, self.values.astype(np.float64) ** 2, 0.0).sum(axis=0)
        rms = np.sqrt(square / np.maximum(known.sum(axis=0), 1))
        floored: NDArray[np.float64] = np.maximum(rms, _MIN_RESIDUAL_SCALE)
        return floored

    def quantile(self, level: float) -> NDArray[np.float64]:
        """Quantile of the absolute residual a channel, float64 [C]; 0 where nothing is known."""
        known = np.abs(self.values.astype(np.float64))
        filled = np.where(np.isfinite(known), known, np.nan)
        empty = np.isnan(filled).all(axis=0)
        filled[:, empty] = 0.0
        found: NDArray[np.float64] = np.nanquantile(filled, level, axis=0)
        return found


def held_out_residuals(module: torch.nn.Module, windows: Windows) -> Residuals:
    """Residuals of the last rows of windows, as a causal score sees them. `module` is on the CPU."""
    x_BWC = windows.spread(_RESIDUAL_WINDOWS)
    found = []
    with torch.inference_mode():
        for at in range(0, len(x_BWC), 256):
            part = x_BWC[at : at + 256]
            y_BWC = module(torch.from_numpy(fill_missing(part))).numpy()
            found.append(part[:, -1] - y_BWC[:, -1])
    return Residuals(np.concatenate(found))


def describe_channels(
    names: tuple[str, ...],
    statistics: ChannelStatistics,
    residuals: Residuals,
    valid_range: dict[str, tuple[float, float]],
    plain: bool,
) -> tuple[Channel, ...]:
    """Everything learnt of each channel, as the artifact keeps it; `plain`: residuals are not scaled."""
    scale = np.ones(len(names)) if plain else residuals.scale()
    band = residuals.quantile(_BAND_QUANTILE)
    return tuple(
        Channel(
            name=name,
            center=float(statistics.center[at]),
            scale=float(statistics.scale[at]),
            residual_scale=float(scale[at]),
            band=float(band[at] * statistics.scale[at]),
            flatline_rows=int(statistics.flatline_rows[at]),
            valid_min=valid_range.get(name, (None, None))[0],
            valid_max=valid_range.get(name, (None, None))[1],
        )
        for at, name in enumerate(names)
    )


def calibrate(
    spec: Spec, module: torch.nn.Module, history: History, segments: tuple[Segment, ...], residuals: Residuals
) -> Artifact:
    """Learn the threshold of `spec` (its value is ignored, its budget kept) on the rows of `segments`.

    Raises TooLittleDataError when no row of them has a full window.
    """
    unit = replace(spec, threshold=replace(spec.threshold, value=1.0))
    errors, number = held_out_errors(Artifact(unit, module), history, segments)
    run_rows = max(1, spec.window // 2)
    if not np.isfinite(errors).any():
        raise TooLittleDataError(
            f"the calibration part has no full window of {spec.window} rows: give more history or a"
            " smaller window"
        )
    threshold = peaks_over_threshold(errors, number, spec.threshold.alarm_budget, spec.interval_ns, run_rows)
    known = errors[np.isfinite(errors)]
    table = {"quantile": QUANTILES, "error": np.quantile(known, QUANTILES)}
    levels = [residuals.quantile(level) for level in QUANTILES]
    for at, name in enumerate(spec.channel_names):
        table[f"residual:{name}"] = np.array([level[at] for level in levels]) * spec.channels[at].scale
    return Artifact(replace(spec, threshold=threshold), module, table)


def held_out_errors(
    artifact: Artifact, history: History, segments: tuple[Segment, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The engine's score of every row of `segments`, in their order, and the number of the segment.

    Rows before a segment in the history fill its first windows and are left out.
    """
    found = [part for lot in _lots(segments) for part in _lot_errors(artifact, history, lot)]
    number, row, error = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((row, number))
    return error[order], number[order]


def unfitted_threshold(budget: str) -> Threshold:
    """A threshold that calibration has yet to learn."""
    return Threshold(1.0, "none", budget)


def _lots(segments: tuple[Segment, ...]) -> Iterator[dict[int, Segment]]:
    """Segments by number, in lots that fill a step or two of the engine; a long one stands alone."""
    lot: dict[int, Segment] = {}
    num_rows = 0
    for number, segment in enumerate(segments):
        lot[number] = segment
        num_rows += segment.length
        if num_rows >= _FEED_ROWS:
            yield lot
            lot, num_rows = {}, 0
    if lot:
        yield lot


def _lot_errors(
    artifact: Artifact, history: History, lot: dict[int, Segment]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """(segment's number, row, error) of the segments' rows, as the engine gives them: no verdict is kept."""
    spec = artifact.spec
    engine = Engine(artifact)
    steps = (engine.step(readings) for readings in _readings(history, lot, spec))
    for result in itertools.chain(steps, (engine.flush() for _ in range(1))):
        verdicts = result.verdicts
        numbers = np.array([int(name) for name in verdicts.names], np.int64)
        first_row = np.array([lot[number].row for number in numbers.tolist()], np.int64)
        row = verdicts.timestamp_ns // spec.interval_ns
        inside = row >= first_row[verdicts.series]
        yield numbers[verdicts.series][inside], row[inside], verdicts.score[inside]


def _readings(history: History, lot: dict[int, Segment], spec: Spec) -> Iterator[Readings]:
    """The rows of the segments and of those before that fill the first windows; series are numbers."""
    before = spec.window - 1 + spec.scoring.smooth
    parts: list[tuple[str, NDArray[np.int64], NDArray[np.float64]]] = []
    num_rows = 0
    for number, segment in lot.items():
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
