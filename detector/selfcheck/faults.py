"""Known faults, and how to put one into a copy of normal rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec

Kind = Literal["spike", "level", "drift", "noise", "stuck"]
KINDS: tuple[Kind, ...] = ("spike", "level", "drift", "noise", "stuck")
LEVEL_ROWS, LONG_ROWS = 10, 100
_MORE_THAN_A_WINDOW = 8
_NOISE_SEED = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """A known fault of one channel.

    kind     spike: one row; level: a constant shift; drift: a shift that grows to `size`; noise: shifts of
             `size` with random signs; stuck: one value that does not change
    channel  index of the channel
    rows     how long it lasts
    size     in the unit of the channel, with its sign; without meaning for `stuck`
    """

    kind: Kind
    channel: int
    rows: int
    size: float


def injected_rows(spec: Spec, rows: int) -> int:
    """Return how many rows of a fault of `rows` rows are injected.

    A fault that fills the longest window for some rows looks the same from then on. Its later rows are left
    out: a fault that is found without them is also found with them.
    """
    return min(rows, spec.window + _MORE_THAN_A_WINDOW)


def waiting_rows(spec: Spec) -> int:
    """Return for how many rows after a row its final verdict may wait."""
    return max(spec.scoring.delay, spec.stride - 1)


def stretch_rows(spec: Spec) -> int:
    """Return the rows that a stretch of normal rows needs so that every fault fits into it."""
    return spec.window - 1 + injected_rows(spec, LONG_ROWS) + waiting_rows(spec)


def first_row(spec: Spec) -> int:
    """Return the row of a stretch in which faults begin: the first with a full window."""
    return spec.window - 1


def inject(normal: NDArray[np.float64], fault: Fault, spec: Spec) -> NDArray[np.float64]:
    """Return a copy of normal rows with a fault in it, as short as its verdicts allow.

    The fault begins at `first_row`. Its rows carry a reading of the channel: a missing one takes the last
    known value. A channel without any value before stays missing.

    Args:
        normal: At least `stretch_rows` rows in the units of the channels, float64 [L, C].
        fault: What to inject.
        spec: The model that will score the rows.
    """
    first = first_row(spec)
    rows = min(injected_rows(spec, fault.rows), len(normal) - first)
    copy = normal[: min(len(normal), first + rows + waiting_rows(spec))].copy()
    column = copy[:, fault.channel]
    if fault.kind == "stuck":
        start = max(0, len(copy) - waiting_rows(spec) - fault.rows)
        column[start:] = _last_known(column[: start + 1])
        return copy
    faulty = column[first : first + rows]
    filled = np.where(np.isnan(faulty), _last_known(column[:first]), faulty)
    column[first : first + rows] = filled + fault.size * _shape(fault.kind, rows)
    return copy


def _last_known(values: NDArray[np.float64]) -> float:
    """Return the last value that is not missing, NaN without one."""
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else float("nan")


def _shape(kind: Kind, rows: int) -> NDArray[np.float64]:
    """Return the shift of each row of a fault of size 1, float64 [rows]."""
    if kind == "drift":
        return np.arange(1, rows + 1) / rows
    if kind == "noise":
        return np.random.default_rng(_NOISE_SEED).choice([-1.0, 1.0], rows)
    return np.ones(rows)
