"""Random plants: channels, series, shapes, noises and rates; their history and their stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

HISTORY_ROWS, STREAM_ROWS, FAULT_AT, FAULT_ROWS = 900, 260, 200, 20
"""The stream follows the history. Its fault lies at the same row in every plant."""
_INTERVALS_NS = (100_000_000, 10**9, 10 * 10**9, 60 * 10**9)


@dataclass(slots=True)
class Case:
    """What one seed is about; corruptions change it in place.

    history   one frame a series, indexed by time, the channels as columns
    stream    the same for the stream, without the fault
    fault     series and channel of the fault
    as_files  write the history as these Parquet files: path -> frame; None: pass one frame
    fault_factor  multiplies the size of the fault
    """

    rng: np.random.Generator
    interval_ns: int
    history: dict[str, pd.DataFrame]
    stream: dict[str, pd.DataFrame]
    spread: dict[str, float]
    fault: tuple[str, str]
    as_files: dict[str, pd.DataFrame] | None = None
    fault_factor: float = 1.0

    @property
    def channels(self) -> list[str]:
        return list(self.spread)

    @property
    def others(self) -> list[str]:
        """The channels without the fault."""
        return [name for name in self.channels if name != self.fault[1]]


def plant(seed: int) -> Case:
    """Return the clean case of a seed."""
    rng = np.random.default_rng(seed)
    channels = [f"c{at}" for at in range(int(rng.integers(1, 4)))]
    names = [f"pump-{at}" for at in range(int(rng.integers(1, 3)))]
    interval_ns = int(rng.choice(_INTERVALS_NS))
    period = int(rng.choice([20, 24, 30, 44]))
    shapes = [_shape(rng, period) for _ in channels]
    history, stream = {}, {}
    scale = {name: float(10 ** rng.uniform(-2, 3)) for name in channels}
    noise_kind = str(rng.choice(["normal", "uniform", "laplace"]))
    for name in names:
        values = np.stack([shape(np.arange(HISTORY_ROWS + STREAM_ROWS)) for shape in shapes], axis=1)
        values += 0.1 * _noise(rng, noise_kind, values.shape)
        values = values * np.array(list(scale.values())) + 5 * np.array(list(scale.values()))
        times = pd.date_range(
            "2026-01-01", periods=len(values), freq=pd.Timedelta(interval_ns, unit="ns"), tz="UTC"
        )
        frame = pd.DataFrame(values, index=times.as_unit("ns").rename("timestamp"), columns=channels)
        history[name], stream[name] = frame.iloc[:HISTORY_ROWS].copy(), frame.iloc[HISTORY_ROWS:].copy()
    fault = (str(rng.choice(names)), str(rng.choice(channels)))
    return Case(rng, interval_ns, history, stream, scale, fault)


def with_fault(case: Case) -> dict[str, pd.DataFrame]:
    """Return the stream with the fault: 20 rows that are shifted by a hundred times the noise."""
    name, channel = case.fault
    frame = case.stream[name].copy()
    size = 10.0 * case.spread[channel] * case.fault_factor * float(case.rng.choice([-1, 1]))
    frame.iloc[FAULT_AT : FAULT_AT + FAULT_ROWS, frame.columns.get_loc(channel)] += size
    return {**case.stream, name: frame}


def _shape(rng: np.random.Generator, period: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a random periodic function of the row."""
    phase = rng.uniform(0, 2 * np.pi)
    kind = rng.choice(["sine", "square", "two sines", "flat"])

    def values(at: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * at / period + phase
        if kind == "square":
            return np.tanh(4 * np.sin(angle))
        if kind == "two sines":
            return 0.7 * np.sin(angle) + 0.3 * np.sin(2 * angle)
        return np.sin(angle) if kind == "sine" else np.zeros(len(at))

    return values


def _noise(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of standard deviation 1."""
    if kind == "uniform":
        return rng.uniform(-np.sqrt(3), np.sqrt(3), shape)
    return rng.laplace(0, np.sqrt(0.5), shape) if kind == "laplace" else rng.standard_normal(shape)
