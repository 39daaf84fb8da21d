"""From the history as it was recorded to the rows that a model may learn from, with a record of the rest.

    1. leave out the stretches that the user excludes, and known incidents
    2. mask impossible cells (`trainer.data.masking`)
    3. leave out, keep or refuse runs unlike the rest (`trainer.data.suspicious_rows`)
    4. cut the segments where many rows in sequence have masked cells

Nothing is left out without an entry in the record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.config import DataOptions
from trainer.data.history import History, Segment, Shares, by_series
from trainer.data.left_out import LeftOut, Reason
from trainer.data.masking import mask_impossible
from trainer.data.stretches import Stretches, read_incidents
from trainer.data.suspicious_rows import Run, suspicious_runs
from trainer.errors import TooLittleDataError, TrainerError

_CUT_SHARE, _SHORT_HOLES = 0.15, 16
_REMEDY = (
    'look at these times, then state them in data.normal or data.exclude, or set data.suspicious to "keep" or'
    ' "exclude"'
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Hold a history to learn from.

    Attributes:
        history: The rows that are left; it shares the scratch file of the original.
        sentinels: For each channel, values that stand for no value.
        left_out: What was left out, or kept in spite of a doubt.
    """

    history: History
    sentinels: tuple[tuple[float, ...], ...]
    left_out: tuple[LeftOut, ...]


def cleaned(history: History, options: DataOptions, window: int, max_gap: int) -> Cleaned:
    """Mask and leave out what a model must not learn.

    Args:
        history: Rows of all series; cells of its scratch file are masked.
        options: Ranges, stretches, and what to do with suspicious rows.
        window: Rows of the longest window.
        max_gap: Consecutive rows without a value that a segment may contain.

    Raises:
        TooLittleDataError: No row is left.
        TrainerError: A run is suspicious and `options.suspicious` is "fail", or a file cannot be used.
    """
    found: list[LeftOut] = []
    incidents = read_incidents(Path(options.incidents)) if options.incidents else Stretches()
    excluded: list[tuple[Reason, Stretches]] = [
        ("excluded", Stretches.between(options.exclude)),
        ("incident", incidents),
    ]
    for reason, stretches in excluded:
        if stretches.found:
            history, entries = _without_stretches(history, stretches, reason)
            found += entries
    normal = Stretches.between(options.normal)
    masked = mask_impossible(history, options.valid_range, normal)
    found += masked.left_out
    history, suspicious = _judge_runs(history, options, window, normal)
    found += suspicious
    if masked.positions:
        gone = _long_holes(history, np.unique(np.concatenate(masked.positions)), window, max_gap)
        history = _narrowed(history, lambda segment, _: gone[segment.position : segment.stop])
    sentinels = tuple(masked.sentinels_of(channel) for channel in range(len(history.channels)))
    return Cleaned(history, sentinels, tuple(found))


def _judge_runs(
    history: History, options: DataOptions, window: int, normal: Stretches
) -> tuple[History, list[LeftOut]]:
    """Find suspicious runs that reach the held-out rows, and do with them what the options say.

    Held-out rows set levels and threshold. A run among many training rows changes little.
    """
    entries, ranges = [], []
    for series, segments in by_series(history.segments).items():
        held_out = history.part("fit", Shares(0.0, options.validation_share + options.calibration_share))
        end = max(part.stop for part in held_out if part.series == series)
        for run in suspicious_runs(history, segments, window):
            if run.stop <= end:
                continue
            parts = [part for segment in segments if (part := segment.cut(run.first, run.stop))]
            rows = np.concatenate([part.row + np.arange(part.length) for part in parts])
            if not normal.contain(series, rows, history.interval_of(series)).any():
                entries.append(_entry_of(history, series, run, rows, options.suspicious == "keep"))
                ranges.append((run.first, run.stop))
    if not entries or options.suspicious == "keep":
        return history, entries
    if options.suspicious == "fail":
        raise TrainerError(f"the history has suspicious rows: {'; '.join(map(str, entries))}: {_REMEDY}")

    def gone(segment: Segment, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        position = segment.position + np.arange(segment.length)
        found = np.zeros(segment.length, np.bool_)
        for first, stop in ranges:
            found |= (position >= first) & (position < stop)
        return found

    return _narrowed(history, gone), entries


def _entry_of(history: History, series: str, run: Run, rows: NDArray[np.int64], kept: bool) -> LeftOut:
    names = tuple(history.channels[channel] for channel in run.channels)
    interval_ns = history.interval_of(series)
    start_ns, end_ns = int(rows[0]) * interval_ns, int(rows[-1]) * interval_ns
    return LeftOut("suspicious", series, names, start_ns, end_ns, len(rows), run.detail, kept)


def _without_stretches(
    history: History, stretches: Stretches, reason: Reason
) -> tuple[History, list[LeftOut]]:
    """Leave out the rows in these stretches; one entry for each series that has some."""
    rows_of: dict[str, list[NDArray[np.int64]]] = {}

    def gone(segment: Segment, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        row = segment.row + np.arange(segment.length)
        inside = stretches.contain(segment.series, row, history.interval_of(segment.series))
        if inside.any():
            rows_of.setdefault(segment.series, []).append(row[inside])
        return inside

    left = _narrowed(history, gone)
    entries = []
    for series, parts in rows_of.items():
        rows = np.concatenate(parts)
        interval_ns = history.interval_of(series)
        times = int(rows[0]) * interval_ns, int(rows[-1]) * interval_ns
        entries.append(LeftOut(reason, series, (), *times, len(rows)))
    return left, entries


def _narrowed(history: History, gone: Callable[[Segment, NDArray[np.float64]], NDArray[np.bool_]]) -> History:
    """Return the history without the rows that `gone` marks; segments are cut there."""
    segments: list[Segment] = []
    for segment in history.segments:
        marked = gone(segment, history.read(segment.position, segment.stop))
        edges = np.diff(np.concatenate([[True], marked, [True]]).astype(np.int8))
        starts, stops = np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            part = segment.cut(segment.position + start, segment.position + stop)
            segments += [part] if part else []
    if not segments:
        raise TooLittleDataError("the history has no rows that may be used: all of them are left out")
    return history.narrowed(tuple(segments))


def _long_holes(history: History, masked: NDArray[np.int64], window: int, max_gap: int) -> NDArray[np.bool_]:
    """Return which rows windows should not contain, bool [rows]: many in sequence have masked cells.

    A window with a long hole has a larger distance than one without (`detector.models.whitening`), and would
    set levels that hold for holes. A cut costs a window of rows, so the cuts have a bound in each series.
    Holes beyond it stay, unless a window may not bridge them.

    Args:
        history: Rows of all series, with the masked cells as NaN.
        masked: Positions of rows with a masked cell, sorted, int64 [n].
        window: Rows of the longest window.
        max_gap: Consecutive rows without a value that a segment may contain.
    """
    gone = np.zeros(history.segments[-1].stop, np.bool_)
    starts = np.flatnonzero(np.diff(masked, prepend=-2) > 1)
    runs = np.column_stack([masked[starts], np.append(starts[1:], len(masked)) - starts])
    for segments in by_series(history.segments).values():
        room = _CUT_SHARE * sum(segment.length for segment in segments)
        inside = runs[(runs[:, 0] >= segments[0].position) & (runs[:, 0] < segments[-1].stop)]
        for first, length in inside[np.argsort(-inside[:, 1], kind="stable")].tolist():
            if length <= max(1, window // _SHORT_HOLES):
                break
            empty = np.isnan(history.read(first, first + length)).all()
            if length + window <= room or (empty and length > max_gap):
                room -= length + window
                gone[first : first + length] = True
    return gone
