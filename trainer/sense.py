"""Measure what a trained model finds, on held-out rows of its history, and name what it hardly finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Spec
from detector.selfcheck.detectability import with_detectability
from detector.selfcheck.faults import LONG_ROWS, stretch_rows
from trainer.data.history import History, Segment

_MOST_STRETCHES = 16
_Stretch = tuple[NDArray[np.float64], str]
"""Rows of one series, and its name."""


def sensed(artifact: Artifact, history: History, segments: tuple[Segment, ...]) -> Artifact:
    """Return the artifact with the table of faults that it finds.

    Its training record names the channels that can hardly be watched (`hardly_watched`). In these no shift
    of 100 rows is found unless it is larger than the range of the held-out rows.

    Args:
        artifact: A model with the weights and the threshold that will be published.
        history: Rows of all series.
        segments: Held-out rows. The rows before them may fill the first windows.
    """
    stretches = _stretches(history, segments, stretch_rows(artifact.spec))
    rows, series = [one for one, _ in stretches], [name for _, name in stretches]
    measured = with_detectability(artifact, rows, series)
    spec = measured.spec
    training = {**spec.training, "hardly_watched": _hardly_watched(spec, stretches)}
    return replace(measured, spec=replace(spec, training=training))


def _stretches(history: History, segments: tuple[Segment, ...], length: int) -> list[_Stretch]:
    """Return up to 16 stretches of `length` rows that end in the segments, spread evenly over them."""
    history = history.as_sent
    reaching = history.reaching_back(segments, length - 1)
    starts = [np.arange(one.position, one.stop - length + 1) for one in reaching if one.length >= length]
    if not starts:
        return []
    every = np.concatenate(starts)
    chosen = np.linspace(0, len(every) - 1, min(_MOST_STRETCHES, len(every))).round().astype(int)
    whose = np.repeat(np.arange(len(starts)), list(map(len, starts)))
    names = [one.series for one in reaching if one.length >= length]
    return [
        (history.read(start, start + length), names[at])
        for start, at in zip(every[chosen].tolist(), whose[chosen].tolist(), strict=True)
    ]


def _hardly_watched(spec: Spec, stretches: list[_Stretch]) -> list[str]:
    """Return the channels in which only a shift larger than their range is found, or none."""
    if not spec.detectable:
        return []
    rows = np.concatenate([_on_common_scale(spec, *one) for one in stretches])
    known = ~np.isnan(rows)
    span = np.where(known, rows, -np.inf).max(axis=0) - np.where(known, rows, np.inf).min(axis=0)
    limit = dict(zip(spec.channel_names, np.maximum(span, spec.column("scale")).tolist(), strict=True))
    return [
        one.channel
        for one in spec.detectable
        if one.kind == "level"
        and one.rows == LONG_ROWS
        and not (one.smallest is not None and one.smallest <= limit[one.channel])
    ]


def _on_common_scale(spec: Spec, rows: NDArray[np.float64], series: str) -> NDArray[np.float64]:
    """Return rows as they were if the series had the common scales, to which sizes of faults belong."""
    if series not in spec.own_scales:
        return rows
    center, scale = spec.scales_of(series)
    return (rows - center) / scale * spec.column("scale") + spec.column("center")
