"""Random values that are functions of (seed, machine, stream, row): no state, no order of calls.

A counter is hashed (splitmix64, Steele, Lea and Flood, 2014) to uniform values.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Values = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_TAILS = 6
"""Time constants after which an exponential filter has forgotten."""


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Draws:
    """The random values of one machine of a plant.

    seed     of the plant
    machine  the name of the machine
    """

    seed: int
    machine: str

    def uniform(self, stream: str, rows: Rows) -> Values:
        """Return values within [0, 1), float64 [n], independent from row to row and stream to stream."""
        key = np.uint64(zlib.crc32(f"{self.machine}\0{stream}".encode()) | (self.seed & 0xFFFFFFFF) << 32)
        with np.errstate(over="ignore"):
            start = _mixed(np.array([key], np.uint64) + _GOLDEN)
            value = _mixed(start + np.asarray(rows, np.int64).astype(np.uint64) * _GOLDEN)
        return (value >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def white(self, stream: str, rows: Rows) -> Values:
        """Return values of the standard normal distribution, float64 [n] (Box and Muller, 1958)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(f"{stream}/r", rows)))
        return radius * np.cos(2.0 * np.pi * self.uniform(f"{stream}/a", rows))

    def smooth(self, stream: str, rows: Rows, span: int) -> Values:
        """Return autocorrelated values of mean 0 and spread 1 over rows without holes, float64 [n].

        span: the rows after which the correlation has fallen to 1/e.
        """
        weight = np.exp(-np.arange(_TAILS * span) / span)
        before = np.arange(int(rows[0]) - len(weight) + 1, int(rows[-1]) + 1)
        return np.convolve(self.white(stream, before), weight / np.sqrt((weight**2).sum()), "valid")

    def constant(self, stream: str, nominal: float, spread: float = 0.1) -> float:
        """Return a constant of the machine: the nominal value, more or less."""
        drawn = float(np.clip(self.white(f"constant/{stream}", np.zeros(1, np.int64))[0], -2, 2))
        return nominal * (1.0 + spread * drawn)


def lagged(values: Values, span: float) -> Values:
    """Return what follows `values` with a time constant of `span` rows, float64 [n]."""
    weight = np.exp(-np.arange(int(_TAILS * span) + 1) / span)
    padded = np.concatenate([np.full(len(weight) - 1, values[0]), values])
    return np.convolve(padded, weight / weight.sum(), "valid")
