"""How well the model of a kind explains each of its series, and which series stand out.

A series is measured on its held-back rows, the newest fifth of its history. The engine judges them as it
judges the stream. The measure is the mean absolute difference to the expected value. Its unit is the mean
absolute deviation of the same rows. The measure is averaged over the channels. At 0 the model explains all,
at 1 no more than a mean does.

A series stands out if its measure is far above those of the others. The limit is a factor of 1.5 and 4 of
their robust deviations. These come from the median absolute deviation (Hampel, 1974). A series would be
better alone if a model of its own explains the same rows better by a quarter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from trainer.data.history import History, Segment, by_series
from trainer.ensemble_training import MemberWindows

_MOST_ROWS = 2_000
_LEAST_ROWS = 20
_FACTOR, _DEVIATIONS = 1.5, 4.0
_NORMAL = 1.4826
_LEAST_SPREAD = 0.05
_GAIN = 0.75


@dataclass(frozen=True, slots=True)
class StandsOut:
    """Describe a series that the model of its kind explains far worse than the others.

    Attributes:
        series: Name of the series.
        unexplained: The measure of the series.
        others: The median of the measures of the others.
        alone: The measure under a model of its own; None where such a model cannot be trained.
    """

    series: str
    unexplained: float
    others: float
    alone: float | None = None

    @property
    def better_alone(self) -> bool:
        """Return whether a model of its own explains the series clearly better."""
        return self.alone is not None and self.alone < _GAIN * self.unexplained

    def words(self) -> str:
        """Return the finding and what to do, as one line."""
        found = (
            f"{self.series} stands out: {self.unexplained:.0%} of its variation is not explained,"
            f" of the others' {self.others:.0%}"
        )
        if self.alone is None:
            return f"{found}; its rows are too few for a model of its own"
        if self.better_alone:
            return f"{found}; a model of its own leaves {self.alone:.0%}: it would be better alone"
        return f"{found}; a model of its own leaves {self.alone:.0%}, so it is no better alone"


class HeldBackMeasure:
    """Measure every series of a training at its end (an `Observer` of `trainer.pipeline`)."""

    def __init__(self) -> None:
        self.of_series: dict[str, float] = {}

    def keep(self, artifact: Artifact, windows: MemberWindows) -> None:
        """Judge the newest held-back rows of every series, at most 2,000 of each."""
        history = windows.history
        parts = by_series(history.part("calibration", windows.shares))
        self.of_series = {name: _unexplained(artifact, history, own) for name, own in parts.items()}


def standing_out(measures: Mapping[str, float]) -> list[StandsOut]:
    """Return the series that stand out, the worst first.

    Args:
        measures: The measure of each series of a kind; NaN where it is unknown.
    """
    known = {name: value for name, value in measures.items() if np.isfinite(value) and value > 0}
    found = []
    for name, value in known.items():
        others = np.log([one for other, one in known.items() if other != name])
        if len(others) == 0:
            continue
        middle = float(np.median(others))
        spread = max(_NORMAL * float(np.median(np.abs(others - middle))), _LEAST_SPREAD)
        if np.log(value) - middle > max(np.log(_FACTOR), _DEVIATIONS * spread):
            found.append(StandsOut(name, value, float(np.exp(middle))))
    return sorted(found, key=lambda one: -one.unexplained / one.others)


def _unexplained(artifact: Artifact, history: History, segments: Sequence[Segment]) -> float:
    """Return the measure of one series; NaN where too few of its rows have an expected value."""
    engine = Engine(replace(artifact, spec=replace(artifact.spec, holds={})))  # the history has these already
    results = [engine.step(part) for part in _readings(artifact, history, segments)]
    results.append(engine.flush())
    actual = np.concatenate([result.verdicts.actual for result in results])
    expected = np.concatenate([result.verdicts.expected for result in results])
    shares = []
    for at in range(actual.shape[1]):
        known = np.isfinite(actual[:, at]) & np.isfinite(expected[:, at])
        if np.count_nonzero(known) < _LEAST_ROWS:
            continue
        values = actual[known, at]
        variation = float(np.abs(values - values.mean()).mean())
        if variation > 0:
            shares.append(float(np.abs(values - expected[known, at]).mean()) / variation)
    return float(np.mean(shares)) if shares else float("nan")


def _readings(artifact: Artifact, history: History, segments: Sequence[Segment]) -> Iterator[Readings]:
    """Yield the newest rows of the segments of one series, which end in the rows to measure."""
    interval_ns = artifact.spec.interval_of(segments[0].series)
    left = _MOST_ROWS
    newest: list[tuple[int, Segment]] = []
    for segment in reversed(segments):
        if left <= 0:
            break
        start = max(segment.position, segment.stop - left)
        newest.append((start, segment))
        left -= segment.stop - start
    for start, segment in reversed(newest):
        values = history.read(start, segment.stop)
        rows = segment.row + np.arange(start, segment.stop) - segment.position
        present = np.flatnonzero(~np.isnan(values).all(axis=1))
        zeros = np.zeros(len(present), np.int32)
        times = rows[present] * np.int64(interval_ns)
        yield Readings((segment.series,), zeros, times, values[present], zeros, rows[present])
