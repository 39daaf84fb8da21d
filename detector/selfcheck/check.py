"""The self-check: put the promised faults into copies of normal rows, and look whether they are found.

The copies run through the networks, levels and rules in force. What they reach is compared with the page
level of every series. The work comes in slices, so that the loop can go on in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Detectable, Spec
from detector.engine.values import EngineOptions
from detector.selfcheck.faults import KINDS, Fault, first_row, inject
from detector.selfcheck.scratch import Peak, Scratch

LEAST_RATIO = 0.9
"""A channel is deaf if fewer of its promised faults are found."""
_MOST_NAMED = 12
_RAISED = 1.5
"""A fault in rows that raise an alarm by themselves must raise their score by this factor."""
_SLICE_WINDOWS = 256

Outcome = Literal["ok", "deaf", "unknown"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "deaf", "unknown")


@dataclass(frozen=True, slots=True)
class Situation:
    """What a self-check needs to know of a running detector.

    artifact    the model in use
    options     the options in force
    stretches   recent normal rows, float64 [L, C] each; empty: the sample of the artifact is used
    series      the names of the known series
    thresholds  their page levels, as scores, float64 [series]; NaN: unknown
    stretched   the series of each stretch; empty: all have the common scales
    """

    artifact: Artifact
    options: EngineOptions
    stretches: Sequence[NDArray[np.float64]] = ()
    series: tuple[str, ...] = ()
    thresholds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    stretched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sense:
    """The outcome of a self-check.

    outcome      unknown: the artifact promises nothing, as older ones do
    ratios       channel -> share of its promised faults that is found, over all series
    reasons      deaf channel -> why, a sentence
    num_deaf     number of series whose page level hides most of the promised faults
    deaf_series  the first of them
    """

    outcome: Outcome
    ratios: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    num_deaf: int = 0
    deaf_series: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Normal:
    """Normal rows, the highest score that they reach without a fault, and the name of their series."""

    rows: NDArray[np.float64]
    score: float
    series: str


@dataclass(frozen=True, slots=True)
class _Tried:
    promise: Detectable
    peak: Peak
    found: float
    without: float
    has_values: bool


def self_check(situation: Situation) -> Iterator[Sense | None]:
    """Yield None after each slice of work, and the outcome at the end.

    A slice scores windows for about one batch of the model. Nothing of the running engine is changed.
    """
    spec = situation.artifact.spec
    promises = [one for one in spec.detectable if one.promised is not None and one.kind in KINDS]
    if not promises or not situation.artifact.sample:
        yield Sense("unknown")
        return
    scratch = Scratch(situation.artifact, situation.options)
    normal = list(_normal(scratch, situation))
    yield None
    levels = np.sort(np.nan_to_num(situation.thresholds, nan=1.0)) if situation.series else np.ones(1)
    tried: list[_Tried] = []
    for part in _slices(spec, promises, normal):
        copies = [inject(each[2].rows, _fault_of(spec, *each), spec) for each in part]
        peaks = scratch.peaks(copies, [one.series for _, _, one in part])
        for (promise, _, one), peak in zip(part, peaks, strict=True):
            found = _share(peak, one.score, levels)
            tried.append(_Tried(promise, peak, found, one.score, _has_values(spec, promise, one.rows)))
        yield None
    yield _outcome(situation, tried)


def _normal(scratch: Scratch, situation: Situation) -> Iterator[_Normal]:
    """Yield the recent rows that raise no alarm by themselves; if there are none, the artifact's sample."""
    recent = _scored(scratch, situation.stretches, situation.stretched)
    calm = [normal for normal, peak in recent if not peak.exceeds(1.0)]
    if calm:
        yield from calm
        return
    for normal, _ in _scored(scratch, situation.artifact.sample, situation.artifact.spec.sampled):
        yield normal


def _scored(
    scratch: Scratch, stretches: Sequence[NDArray[np.float64]], series: Sequence[str]
) -> list[tuple[_Normal, Peak]]:
    """Return the stretches with what they reach without a fault."""
    names = series or [""] * len(stretches)
    peaks = scratch.peaks(stretches, names)
    return [
        (_Normal(rows, peak.score, name), peak)
        for rows, peak, name in zip(stretches, peaks, names, strict=True)
    ]


_Try = tuple[Detectable, int, _Normal]


def _slices(spec: Spec, promises: Sequence[Detectable], normal: Sequence[_Normal]) -> Iterator[list[_Try]]:
    """Yield the promises with every stretch, in parts that need about `_SLICE_WINDOWS` windows."""
    part: list[_Try] = []
    windows = 0
    for promise in promises:
        for number, one in enumerate(normal):
            part.append((promise, number, one))
            windows += min(promise.rows, len(one.rows) - first_row(spec))
            if windows >= _SLICE_WINDOWS:
                yield part
                part, windows = [], 0
    if part:
        yield part


def _fault_of(spec: Spec, promise: Detectable, number: int, normal: _Normal) -> Fault:
    """Return the promised fault in proportion to the scale of the series; signs alternate."""
    channel = spec.channel_names.index(promise.channel)
    size = promise.promised if promise.promised is not None else 0.0
    size *= float(spec.share_of_common(normal.series)[channel])
    kind = next(kind for kind in KINDS if kind == promise.kind)
    return Fault(kind, channel, promise.rows, size * (-1) ** number)


def _share(peak: Peak, without: float, levels: NDArray[np.float64]) -> float:
    """Return the share of the series, by their sorted page levels, in which the fault is found.

    Args:
        peak: What the copy with the fault reached.
        without: What the rows reach without it. A score that the fault does not raise finds nothing.
        levels: The page levels, ascending.
    """
    if peak.flagged:
        return 1.0
    is_silent = np.isnan(peak.score) or (without > levels[0] and peak.score < _RAISED * without)
    return 0.0 if is_silent else float(np.searchsorted(levels, peak.score) / len(levels))


def _has_values(spec: Spec, promise: Detectable, rows: NDArray[np.float64]) -> bool:
    return not np.isnan(rows[:, spec.channel_names.index(promise.channel)]).all()


def _outcome(situation: Situation, tried: Sequence[_Tried]) -> Sense:
    by_channel: dict[str, list[_Tried]] = {}
    for one in tried:
        by_channel.setdefault(one.promise.channel, []).append(one)
    ratios = {name: float(np.mean([one.found for one in some])) for name, some in by_channel.items()}
    reasons = {name: _reason(by_channel[name]) for name, ratio in ratios.items() if ratio < LEAST_RATIO}
    deaf = _deaf_series(situation, tried)
    return Sense(
        "deaf" if reasons or len(deaf) else "ok",
        ratios,
        reasons,
        len(deaf),
        tuple(situation.series[at] for at in deaf[:_MOST_NAMED].tolist()),
    )


def _deaf_series(situation: Situation, tried: Sequence[_Tried]) -> NDArray[np.intp]:
    """Return the series whose raised page level hides at least half of the promised faults."""
    scores = [one.peak.score for one in tried if not (one.peak.flagged or np.isnan(one.peak.score))]
    if not situation.series or not scores:
        return np.empty(0, np.intp)
    return np.flatnonzero(situation.thresholds > max(1.0, float(np.median(scores))))


def _reason(tried: Sequence[_Tried]) -> str:
    """Say why the promised faults of a channel are not found."""
    worst = min(tried, key=lambda one: one.found)
    if not worst.has_values:
        return "the channel has no values in recent rows"
    fault = (
        worst.promise.kind
        if worst.promise.kind == "stuck"
        else (f"{worst.promise.kind} of {worst.promise.promised:.3g}")
    )
    text = f"a {fault} for {worst.promise.rows} rows is promised to be found"
    if np.isnan(worst.peak.score):
        return f"{text}, and has no score"
    if worst.found == 0.0 and worst.peak.score <= _RAISED * worst.without:
        return f"{text}, but normal rows reach a score of {worst.without:.3g} without it"
    if worst.peak.score > 1.0:
        return f"{text}, but page levels have risen above its score of {worst.peak.score:.3g}"
    return f"{text}, and scores {worst.peak.score:.3g}"
