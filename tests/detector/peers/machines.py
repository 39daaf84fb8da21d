"""A line of like machines under one sky: rows by a seed, the model of their peers, and verdicts over them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.reader import Chunk
from detector.artifact.spec import Spec
from detector.scoring.verdicts import State, Verdicts
from tests.support.artifacts import make_artifact
from trainer.data.history import build_history
from trainer.peers.fit_peers import fit_peers

ROW_NS = 900 * 10**9
DAY_ROWS = 96
EPOCH_NS = 1_767_571_200_000_000_000
CHANNELS = ("load", "heat")


@dataclass(frozen=True, slots=True)
class Crowd:
    """Machines whose heat follows their load and the weather.

    seed      of every value
    machines  how many
    rows      of each
    start     the first row; rows of one seed continue each other
    sky       how far the weather of all rises over these rows
    row_ns    length of a row in nanoseconds
    """

    seed: int
    machines: int = 8
    rows: int = 14 * DAY_ROWS
    start: int = 0
    sky: float = 0.0
    row_ns: int = ROW_NS

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"pump-{at}" for at in range(self.machines))

    @property
    def timestamp_ns(self) -> NDArray[np.int64]:
        return EPOCH_NS + (self.start + np.arange(self.rows)) * self.row_ns

    def values(self) -> NDArray[np.float64]:
        """Return the rows of all machines, float64 [machines, rows, 2]."""
        at = self.start + np.arange(self.rows)
        weather = np.sin(at * 2 * np.pi / DAY_ROWS) + 0.8 * np.sin(at * 0.011)
        weather = weather + np.linspace(0.0, self.sky, self.rows)
        found = np.empty((self.machines, self.rows, 2))
        for machine in range(self.machines):
            constant = np.random.default_rng((self.seed, machine))
            phase, gain, level = constant.uniform(0, 6), constant.normal(1.0, 0.1), constant.normal(0, 0.3)
            noise = np.random.default_rng((self.seed, machine, self.start)).normal(0, 0.3, (2, self.rows))
            load = np.sin(at * 0.05 + phase) + 0.3 * np.sin(at * 0.003 + phase)
            found[machine] = np.stack([load, 0.5 * load + gain * weather + level], axis=1) + noise.T
        return found

    def chunk(self, values: NDArray[np.float64]) -> Chunk:
        """Return rows of all machines, float64 [machines, rows, 2], as a file has them."""
        series = np.repeat(np.arange(self.machines), self.rows).astype(np.int32)
        times = np.tile(self.timestamp_ns, self.machines)
        return Chunk(times, self.names, series, values.reshape(-1, 2), None, None)

    def spec(self) -> Spec:
        """Return a model of these rows: its peers, and nothing else that was learnt."""
        spec = make_artifact(CHANNELS, interval_ns=self.row_ns, executor="numpy").spec
        chunk = self.chunk(self.values())
        with build_history(lambda: iter([chunk]), CHANNELS, self.row_ns, 3) as history:
            return replace(spec, peers=fit_peers(spec, history))


def verdicts_of(
    names: tuple[str, ...],
    timestamp_ns: NDArray[np.int64],
    values: NDArray[np.float64],
) -> Verdicts:
    """Return verdicts over rows, float64 [series, rows, channels], without any score."""
    num, rows, channels = values.shape
    row = np.zeros(num * rows, np.intp)
    blank = _one_row(channels).take(row)
    return replace(
        blank,
        names=names,
        series=np.repeat(np.arange(num), rows).astype(np.int32),
        timestamp_ns=np.tile(timestamp_ns, num),
        actual=values.reshape(-1, channels),
    )


def _one_row(channels: int) -> Verdicts:
    wide = np.full((1, channels), np.nan)
    nothing, no = np.zeros(1), np.zeros(1, np.bool_)
    return Verdicts(
        ("",),
        np.zeros(1, np.int32),
        np.zeros(1, np.int64),
        nothing,
        np.full(1, State.OK, np.uint8),
        wide,
        wide,
        wide.astype(np.float32),
        nothing,
        np.zeros((1, channels), np.bool_),
        no,
        nothing,
        np.zeros(1, np.uint8),
        np.full(1, -1, np.int16),
        np.full(1, -1, np.int16),
        np.zeros((1, channels), np.bool_),
        np.full(1, None, np.object_),
        no,
    )
