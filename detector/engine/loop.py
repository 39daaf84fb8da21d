"""The one loop: source -> engine -> sink -> commit. The daemon and the backtest differ in source and sink.

    1. poll     wait for the next batch of readings
    2. step     let the engine judge it, and tell it the time
    3. write    hand verdicts, incidents and rejects to the sink
    4. commit   the sink acknowledges everything written, then the position moves behind the batch

A batch is processed as a whole or not at all: when anything raises, the position has not moved and the
batch is read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from connectors.records import Batch, Position, Readings, Source
from detector.engine.engine import Engine, StepResult

POLL_SECONDS = 0.25


class Sink(Protocol):
    """Where results go. `commit` returns once they are safe and the position is behind them."""

    def write(self, result: StepResult, batch: Batch) -> None: ...

    def commit(self, position: Position | None) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One completed turn of the loop and the seconds spent in each step."""

    batch: Batch
    result: StepResult
    poll_seconds: float
    step_seconds: float
    write_seconds: float
    commit_seconds: float


def _never() -> bool:
    return False


def _ignore(turn: Turn) -> None:
    """Nobody watches."""


def _drop_lost(engine: Engine, batch: Batch) -> Batch:
    """Without recovery the series of partitions that come warm up."""
    engine.drop(batch.lost)
    return batch


def run(
    source: Source,
    engine: Engine,
    sink: Sink,
    should_stop: Callable[[], bool] = _never,
    on_turn: Callable[[Turn], None] = _ignore,
    prepare: Callable[[Engine, Batch], Batch] = _drop_lost,
) -> None:
    """Turn until `should_stop` says so or the input ends; at its end close what is still open.

    `on_turn` is told of every completed turn (for metrics); `prepare` makes the engine ready for a batch and
    returns what of it is live (`detector.delivery.recovery`). Raises what source and sink raise.
    """
    while not should_stop():
        laps = [time.perf_counter()]
        batch = source.poll(POLL_SECONDS)  # 1. poll
        if batch is None:
            sink.write(engine.flush(), Batch(Readings.empty(len(engine.artifact.spec.channels))))
            sink.commit(None)
            return
        laps.append(time.perf_counter())
        batch = prepare(engine, batch)  # 2. step
        result = engine.step(batch.readings, batch.tick_ns)
        laps.append(time.perf_counter())
        sink.write(result, batch)  # 3. write
        laps.append(time.perf_counter())
        sink.commit(batch.position)  # 4. commit
        laps.append(time.perf_counter())
        on_turn(Turn(batch, result, *(end - start for start, end in pairwise(laps))))
