"""How often each series sends, and where its readings lie between grid lines, from all of a history.

A series that sent at two rates is refused: its rows would be of one rate only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.dataset import usual_step
from connectors.parquet.reader import Chunk
from detector.rows import phase
from trainer.errors import TooLittleDataError, TrainerError

_MOST_STEPS = 4096
"""Different steps that are kept of a series; of more, the rarest are forgotten."""
_COMMON = 0.2
"""Steps far from the usual one that are at least this share of all are another rate."""
_ENOUGH = 20
"""Steps of a series from which two rates can be told."""
_NEARLY = 0.1
"""Series whose steps differ from the usual by less than this share have the usual interval."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The interval of every series, and where its lines lie.

    interval_ns  the interval of most rows
    intervals    series -> its own interval in nanoseconds, where it is another
    shifts       series -> shift of its lines (`detector.rows.phase`)
    """

    interval_ns: int
    intervals: Mapping[str, int] = field(default_factory=dict)
    shifts: Mapping[str, int] = field(default_factory=dict)

    def rows(self, series: str, timestamp_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the row of each reading of a series, int64 [n]."""
        interval_ns = self.intervals.get(series, self.interval_ns)
        rows: NDArray[np.int64] = (timestamp_ns - self.shifts[series]) // interval_ns
        return rows


def rate_of(chunks: Callable[[], Iterator[Chunk]], interval_ns: int | None, slow_rows: int) -> Rate:
    """Find the interval and the lines of every series.

    Args:
        chunks: All readings; called twice.
        interval_ns: The interval of all series, where it is stated; None: each has its own.
        slow_rows: Steps longer than so many rows cannot be judged.

    Raises:
        TooLittleDataError: No series has two readings.
        TrainerError: A series came at two rates. The message names it, and the remedy.
    """
    steps: dict[str, dict[int, int]] = {}
    own: dict[str, int] = {}
    if interval_ns is None:
        for chunk in chunks():
            for name, found in _steps_of(chunk):
                steps[name] = _most_common({**steps.get(name, {})}, found)
        own = {name: _interval(name, counts, slow_rows) for name, counts in steps.items() if counts}
        if not own:
            raise TooLittleDataError(
                "the interval between rows cannot be inferred from single rows; state it with --interval"
            )
        interval_ns = _usual(own, {name: sum(counts.values()) for name, counts in steps.items()})
        usual = interval_ns
        own = {name: one for name, one in own.items() if abs(one - usual) > _NEARLY * usual}
    return Rate(interval_ns, own, _shifts(chunks, interval_ns, own))


def _steps_of(chunk: Chunk) -> Iterator[tuple[str, tuple[NDArray[np.int64], NDArray[np.intp]]]]:
    """Yield the steps of each series between readings of its fullest channel, and how often each came."""
    for code in np.unique(chunk.series).tolist():
        mine = chunk.series == code
        known = ~np.isnan(chunk.values[mine])
        if not known.any():
            continue
        times = chunk.timestamp_ns[mine][known[:, known.sum(axis=0).argmax()]]
        yield chunk.names[code], np.unique(np.diff(np.unique(times)), return_counts=True)


def _most_common(counts: dict[int, int], found: tuple[NDArray[np.int64], NDArray[np.intp]]) -> dict[int, int]:
    for step, num in zip(found[0].tolist(), found[1].tolist(), strict=True):
        counts[step] = counts.get(step, 0) + num
    if len(counts) <= _MOST_STEPS:
        return counts
    kept = sorted(counts, key=lambda step: (-counts[step], step))[:_MOST_STEPS]
    return {step: counts[step] for step in kept}


def _interval(name: str, counts: dict[int, int], slow_rows: int) -> int:
    """Return the usual step of a series.

    Raises:
        TrainerError: Two steps are common that are too far apart for one interval.
    """
    step = np.array(sorted(counts), np.int64)
    num = np.array([counts[one] for one in step.tolist()], np.int64)
    total, interval = int(num.sum()), usual_step(step, num)
    for at, (low, high) in enumerate(((0.0, 1 / (slow_rows + 1)), (slow_rows + 1.0, np.inf))):
        inside = (step >= interval * low) & (step <= interval * high)
        if total >= _ENOUGH and num[inside].sum() >= _COMMON * total:
            other = int(step[inside][num[inside].argmax()])
            raise TrainerError(
                f"series {name!r} came at two rates: every {interval / 1e9:g} s and every {other / 1e9:g} s"
                f" ({num[inside].sum() / total:.0%} of its steps {('below', 'above')[at]});"
                f" train on one of the two times, or state --interval {max(interval, other) / 1e9:g}s"
            )
    return interval


def _usual(own: Mapping[str, int], num: Mapping[str, int]) -> int:
    """Return the interval that most readings have; of equal numbers the shorter."""
    votes: dict[int, int] = {}
    for name, interval in own.items():
        votes[interval] = votes.get(interval, 0) + num[name]
    return min(votes, key=lambda interval: (-votes[interval], interval))


def _shifts(
    chunks: Callable[[], Iterator[Chunk]], interval_ns: int, own: Mapping[str, int]
) -> dict[str, int]:
    """Return the shift of the lines of every series: they lie where no readings come, where there is room."""
    used: dict[str, int] = {}
    for chunk in chunks():
        for code in np.unique(chunk.series).tolist():
            name = chunk.names[code]
            length = np.array([own.get(name, interval_ns)])
            times = chunk.timestamp_ns[chunk.series == code]
            bits = np.bitwise_or.reduce(phase.bits_of(times, phase.default_shift(length), length))
            used[name] = used.get(name, 0) | int(bits)
    shifts = {}
    for name, parts in used.items():
        interval = own.get(name, interval_ns)
        move = int(phase.moves()[parts])
        later = -(interval // 8) + move * interval // phase.BINS
        shifts[name] = later - (interval if later >= interval * 3 // 8 else 0)
    return shifts
