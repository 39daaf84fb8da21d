"""Overhead of the engine over its model, and the cost of many series.

The bare rival is the runner of the same member of the ensemble (autoencoder and whitening). Its windows
are ready in memory, in batches of the same size. A second line uses the batch size that suits the bare
member best. Both sides are measured in windows per second; at stride 1 each row is a window. Both use one
thread, as the daemon does.
"""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from benchmarks.artifacts import (
    CHANNELS,
    INTERVAL_NS,
    WINDOW,
    conv_artifact,
    with_drift,
    with_family,
    with_modes,
    with_reference,
    with_season,
)
from benchmarks.measurement import Measurement, alternate
from connectors.records import Readings
from detector.artifact.modules import network_of
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.models.execution.choice import NUMPY
from detector.models.execution.network import Runner

BATCH_SIZES = (64, 128, 256, 512)
NETWORKS = ("conv", "lstm", "linear")
POLL_ROWS = 20_000
"""Readings per step, as a poll of a busy topic returns them."""


def measure(quick: bool) -> list[Measurement]:
    """Measure the engine against the bare module, many series, and what each kind of evidence costs."""
    num_polls, num_rounds = (1, 1) if quick else (3, 7)
    torch.set_num_threads(1)
    plain = conv_artifact()
    proven = with_reference(plain)
    everything = with_modes(with_season(with_drift(proven)))
    more = [
        ("evidence that lasts", plain, proven, 0.9),
        ("drift", proven, with_drift(proven), 0.95),
        ("modes of operation", plain, with_modes(plain), 0.75),
        ("a season", proven, with_season(proven), 0.75),
        ("drift, a season and modes", proven, everything, 0.75),
    ]
    rest = [
        _many_series(2_000 if quick else 100_000, num_polls, num_rounds),
        *_in_numpy(num_polls, num_rounds),
    ]
    rest += [_with(what, (poorer, one), floor, (num_polls, num_rounds)) for what, poorer, one, floor in more]
    bare = [
        measured
        for family, floor in (("conv", 0.8), ("lstm", 0.9))
        for measured in _against_bare(family, floor, num_polls, num_rounds)
    ]
    return [*bare, *rest]


def _against_bare(family: str, least: float, num_polls: int, num_rounds: int) -> list[Measurement]:
    artifact = with_family(conv_artifact(), family)
    size = artifact.spec.batch_size
    ready = _ready_windows(num_polls * POLL_ROWS // 4)
    run = artifact.module[0].on("cpu")
    best_size = max(BATCH_SIZES, key=lambda candidate: _bare(run, ready, candidate))
    stream = Stream(artifact, num_series=100)
    measurements = []
    for name, bare_size, floor in (("same", size, least), ("its best", best_size, None)):
        engine, bare = alternate(
            lambda: stream.rows_per_second(num_polls),
            lambda bare_size=bare_size: _bare(run, ready, bare_size),  # type: ignore[misc]
            num_rounds,
        )
        detail = {
            "engine_rows_per_second": round(engine),
            "bare_windows_per_second": round(bare),
            "engine_batch": size,
            "bare_batch": bare_size,
        }
        title = f"engine / bare module, {family}, {name} batch size"
        measurements.append(Measurement(title, engine / bare, "x", floor=floor, detail=detail))
    return measurements


def _in_numpy(num_polls: int, num_rounds: int) -> list[Measurement]:
    """Measure the engine with NumPy against the same engine with torch, for each family that costs much."""
    found = []
    for family in NETWORKS:
        plain = with_family(conv_artifact(), family)
        spec, weights = plain.spec, plain.module.weights()
        arrays = replace(plain, module=network_of(spec.members, len(CHANNELS), NUMPY, weights))
        torch_stream, array_stream = Stream(plain, 100), Stream(arrays, 100)
        in_numpy, in_torch = alternate(
            lambda stream=array_stream: stream.rows_per_second(num_polls),  # type: ignore[misc]
            lambda stream=torch_stream: stream.rows_per_second(num_polls),  # type: ignore[misc]
            num_rounds,
        )
        detail = {"numpy_rows_per_second": round(in_numpy), "torch_rows_per_second": round(in_torch)}
        title = f"engine with NumPy / with torch, {family}"
        found.append(Measurement(title, in_numpy / in_torch, "x", detail=detail))
    return found


def _many_series(num_series: int, num_polls: int, num_rounds: int) -> Measurement:
    artifact = conv_artifact()
    few = Stream(artifact, num_series=100)
    few.rows_per_second(num_polls)  # what torch and NumPy take once is not that of the many series
    before = psutil.Process().memory_info().rss
    many = Stream(artifact, num_series)
    taken = psutil.Process().memory_info().rss - before
    few_rate, many_rate = alternate(
        lambda: few.rows_per_second(num_polls), lambda: many.rows_per_second(num_polls), num_rounds
    )
    detail = {
        "microseconds_a_row_few": round(1e6 / few_rate, 2),
        "microseconds_a_row_many": round(1e6 / many_rate, 2),
        "bytes_a_series": round(taken / num_series),
        "bytes_of_its_window": 4 * WINDOW * len(CHANNELS),
    }
    title = f"cost a row, {num_series:,} / 100 series"
    return Measurement(title, few_rate / many_rate, "x", ceiling=1.5, detail=detail)


def _with(what: str, models: tuple[Artifact, Artifact], floor: float, times: tuple[int, int]) -> Measurement:
    """Measure the engine with the second model, which knows more, against the same model without it."""
    num_polls, num_rounds = times
    plain, more = (Stream(one, 100) for one in models)
    plain_rate, rate = alternate(
        lambda: plain.rows_per_second(num_polls), lambda: more.rows_per_second(num_polls), num_rounds
    )
    detail = {
        "microseconds_a_row_without": round(1e6 / plain_rate, 2),
        "microseconds_a_row_with": round(1e6 / rate, 2),
    }
    title = f"engine with / without {what}"
    return Measurement(title, rate / plain_rate, "x", floor=floor, detail=detail)


class Stream:
    """Drive an engine whose windows are full with endless readings."""

    def __init__(self, artifact: Artifact, num_series: int) -> None:
        self._engine = Engine(artifact)
        self._names = tuple(f"series-{number:05d}" for number in range(num_series))
        self._next_row = 0
        random = np.random.default_rng(7)
        self._values = random.normal(size=(POLL_ROWS, len(artifact.spec.channels)))
        members = artifact.spec.members
        self._windows_a_row = sum(Fraction(1, member.stride) for member in members)
        for _ in range(-(-(members[0].window + 1) * num_series // POLL_ROWS)):
            self._engine.step(self._poll())

    def rows_per_second(self, num_polls: int) -> float:
        """Step through `num_polls` polls, which are made beforehand."""
        polls = [self._poll() for _ in range(num_polls)]
        windows = self._engine.counters.windows
        start = time.perf_counter()
        for poll in polls:
            self._engine.step(poll)
        rate = num_polls * POLL_ROWS / (time.perf_counter() - start)
        scored = self._engine.counters.windows - windows
        expected = num_polls * POLL_ROWS * self._windows_a_row
        assert scored == expected, f"{scored} windows scored, not {expected}"
        return rate

    def _poll(self) -> Readings:
        """Return the next row of every series, sorted by time, as in a topic of many producers."""
        number = np.arange(self._next_row, self._next_row + POLL_ROWS)
        self._next_row += POLL_ROWS
        return Readings(
            self._names,
            (number % len(self._names)).astype(np.int32),
            (number // len(self._names)) * INTERVAL_NS,
            self._values,
            np.zeros(POLL_ROWS, np.int32),
            number,
        )


def _ready_windows(num_windows: int) -> NDArray[np.float32]:
    """Return random windows, float32 [num_windows, WINDOW, channels], contiguous."""
    random = np.random.default_rng(7)
    return random.normal(size=(num_windows, WINDOW, len(CHANNELS))).astype(np.float32)


def _bare(run: Runner, ready: NDArray[np.float32], batch_size: int) -> float:
    """Return the windows per second of the member alone, as the engine runs it."""
    num_batches = len(ready) // batch_size
    start = time.perf_counter()
    for number in range(num_batches):
        run(ready[number * batch_size : (number + 1) * batch_size], None, 1)
    return num_batches * batch_size / (time.perf_counter() - start)
