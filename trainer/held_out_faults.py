"""Find held-out rows whose errors no training row comes near: a fault that would set the threshold.

Values of such rows need not be far from the rest. So a trained model is needed to find them
(`trainer.data.suspicious_rows` looks at values). Levels and threshold come from held-out rows. A few faulty
ones among them would make every later fault look normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Spec
from detector.scoring.ensemble_error import log_statistics
from trainer.calibrate import held_out_statistics, with_initial_levels
from trainer.config import DataOptions
from trainer.data.history import Segment
from trainer.data.left_out import LeftOut
from trainer.data.stretches import Stretches
from trainer.ensemble_training import MemberWindows, Trained, newest
from trainer.errors import TrainerError

_FAR, _NEAR = math.log(2.0), math.log(1.2)
"""How far logarithms of residuals must lie beyond the largest one in training, all above their medians.

A stretch has a far row, and near rows around it."""
_MOST_SHARE, _MOST_RUNS, _EDGES = 0.5, 3, 4
_DETAIL = "errors of the model that no training row comes near"


@dataclass(frozen=True, slots=True)
class Judged:
    """Hold what the calibration may use.

    Attributes:
        windows: Windows of the history without the rows that were left out.
        segments: The held-out rows that are left.
        left_out: An entry for each stretch that was left out, or kept in spite of the doubt.
    """

    windows: MemberWindows
    segments: tuple[Segment, ...]
    left_out: tuple[LeftOut, ...]


def without_faults(spec: Spec, trained: Trained, windows: MemberWindows, options: DataOptions) -> Judged:
    """Return the held-out rows to calibrate on; what to do with the others is `options.suspicious`.

    Args:
        spec: The description before calibration.
        trained: The trained members.
        windows: Windows of the history.
        options: Options of the data; stretches that are `normal` stay.

    Raises:
        TrainerError: Rows are unlike those of the training, and `options.suspicious` is "fail".
    """
    history = windows.history
    spec = replace(  # members may have been left out since it was made
        spec,
        members=with_initial_levels(trained.members, spec.num_statistics),
        scoring=replace(spec.scoring, delay=min(spec.scoring.delay, trained.members[0].window - 1)),
    )
    segments = history.part("calibration", windows.shares)
    normal = Stretches.between(options.normal)
    found = [
        one
        for one in _unlike_training(spec, trained, windows, segments)
        if not normal.contain(one.series, one.row + np.arange(one.length), history.interval_ns).any()
    ]
    left = _without(segments, found)
    reaching = history.narrowed(_without(history.segments, found)).reaching_back(left, spec.window - 1)
    if not found or all(one.length < spec.window for one in reaching):
        return Judged(windows, segments, ())
    kept = options.suspicious == "keep"
    entries = tuple(_entry(one, history.interval_ns, kept) for one in found)
    if options.suspicious == "fail":
        raise TrainerError(
            f"the history has suspicious rows: {'; '.join(map(str, entries))}: look at these times, then"
            ' state them in data.normal or data.exclude, or set data.suspicious to "keep" or "exclude"'
        )
    if kept:
        return Judged(windows, segments, entries)
    narrowed = history.narrowed(_without(history.segments, found))
    return Judged(replace(windows, history=narrowed), left, entries)


def _unlike_training(
    spec: Spec, trained: Trained, windows: MemberWindows, segments: tuple[Segment, ...]
) -> list[Segment]:
    """Return the stretches of held-out rows that are unlike those of the training; none if they are many."""
    artifact = Artifact(spec, trained.module)
    fitted = newest(windows.history.part("fit", windows.shares))
    held_out, training = (held_out_statistics(artifact, windows.history, one) for one in (segments, fitted))
    usual = _above_median(training.final)
    if not np.isfinite(usual).any(axis=0).all():
        return []
    beyond = (_above_median(held_out.final) - np.nanmax(usual, axis=0)).max(axis=1)
    found: list[Segment] = []
    edge = spec.window // _EDGES  # rows of the fault that are not far yet, or no longer
    for number, segment in enumerate(segments):
        near = (held_out.segment == number) & (beyond > _NEAR)
        rows, is_far = held_out.row[near], beyond[near] > _FAR
        cuts = np.flatnonzero(np.diff(rows) > spec.window) + 1
        for run, far in zip(np.split(rows, cuts), np.split(is_far, cuts), strict=True):
            if far.any():
                first = segment.position + int(run[0]) - segment.row - edge
                part = segment.cut(first, first + int(run[-1] - run[0]) + 1 + 2 * edge)
                found += [part] if part else []
    num_series = len({segment.series for segment in segments})
    many = sum(one.length for one in found) > _MOST_SHARE * sum(one.length for one in segments)
    return [] if many or len(found) > _MOST_RUNS * num_series else found


def _above_median(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithms of residuals above their median, float64 [n, K]; NaN where unknown."""
    logarithms = log_statistics(statistics) / 2.0  # statistics are squares
    known = np.isfinite(logarithms).all(axis=1)
    if not known.any():
        return np.full_like(logarithms, np.nan)
    above: NDArray[np.float64] = logarithms - np.median(logarithms[known], axis=0)
    return above


def _without(segments: tuple[Segment, ...], found: list[Segment]) -> tuple[Segment, ...]:
    """Return the segments without these stretches."""
    left = list(segments)
    for one in found:
        parts = [(part.cut(part.position, one.position), part.cut(one.stop, part.stop)) for part in left]
        left = [
            piece
            for part, pieces in zip(left, parts, strict=True)
            for piece in (pieces if part.position < one.stop and one.position < part.stop else (part,))
            if piece is not None
        ]
    return tuple(left)


def _entry(found: Segment, interval_ns: int, kept: bool) -> LeftOut:
    times = found.row * interval_ns, (found.row + found.length - 1) * interval_ns
    return LeftOut("suspicious", found.series, (), *times, found.length, _DETAIL, kept)
