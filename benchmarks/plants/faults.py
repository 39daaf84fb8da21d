"""The kinds of faults: how each changes one channel between its first and its last row.

Sizes are in spreads: the robust spread of the channel while its machine runs. Planned stops are no faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.plants.draws import Values


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a channel that a fault changes.

    values  float64 [n], as they would be
    spread  of the channel while the machine runs
    size    of the fault in spreads; its sign is its direction
    other   float64 [n], what the channel read at another time of the same shift
    """

    values: Values
    spread: float
    size: float
    other: Values

    def ramp(self) -> Values:
        """Return values from 0 to 1, float64 [n]."""
        return np.linspace(0.0, 1.0, len(self.values))


@dataclass(frozen=True, slots=True)
class FaultKind:
    """How a fault changes a channel, and how long it lasts: (least, most) hours. 0 hours: one row.

    sized   whether the size matters
    """

    change: Callable[[Part], Values]
    hours: tuple[float, float]
    sized: bool = True


def _spike(part: Part) -> Values:
    return part.values + 1.5 * part.size * part.spread


def _shift(part: Part) -> Values:
    return part.values + part.size * part.spread


def _leak(part: Part) -> Values:
    """Lower and lower, then as low until the repair."""
    return part.values - abs(part.size) * part.spread * np.clip(3.0 * part.ramp(), 0.0, 1.0)


def _wear(part: Part) -> Values:
    """Grow, faster and faster, until the repair."""
    return part.values + abs(part.size) * part.spread * np.expm1(2.0 * part.ramp()) / np.expm1(2.0)


def _stuck(part: Part) -> Values:
    return np.full(len(part.values), part.values[0])


def _slip(part: Part) -> Values:
    """A small loss that lasts, while the machine runs as before."""
    return part.values - 0.5 * abs(part.size) * part.spread


def _uncoupled(part: Part) -> Values:
    """Plausible values that no longer go with the other channels."""
    return part.other


def _oscillation(part: Part) -> Values:
    at = np.arange(len(part.values))
    return part.values + 0.7 * part.size * part.spread * np.sin(2.0 * np.pi * at / 7.0)


FAULTS: dict[str, FaultKind] = {
    "spike": FaultKind(_spike, (0.0, 0.2)),
    "shift": FaultKind(_shift, (24.0, 60.0)),
    "leak": FaultKind(_leak, (6.0, 16.0)),
    "wear": FaultKind(_wear, (60.0, 84.0)),
    "stuck": FaultKind(_stuck, (6.0, 12.0), sized=False),
    "slip": FaultKind(_slip, (3.0, 8.0)),
    "uncoupled": FaultKind(_uncoupled, (8.0, 16.0), sized=False),
    "oscillation": FaultKind(_oscillation, (4.0, 10.0)),
}
