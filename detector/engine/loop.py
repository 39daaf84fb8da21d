"""The one loop: source -> engine -> sink -> commit. The daemon and the backtest differ in source and sink.

    1. poll     wait for the next batch of readings
    2. step     let the engine score it, and pass the service's time
    3. write    hand verdicts, incidents and rejects to the sink
    4. commit   the sink acknowledges everything written, then the position moves behind the batch

A batch is processed as a whole or not at all. When anything raises, the position has not moved and the batch
is read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from connectors.records import Batch, Position, Readings, Source
from detector.engine.engine import StepResult

POLL_SECONDS = 0.25

ResultT = TypeVar("ResultT")
Taken_contra = TypeVar("Taken_contra", contravariant=True)
Found_co = TypeVar("Found_co", covariant=True)


class Steps(Protocol):
    """What scores batches: an engine, or a group of them (`detector.engine.group`)."""

    def step(self, readings: Readings, now_ns: int | None = None) -> Any:
        """Take readings; return what became final."""

    def flush(self) -> Any:
        """Close what is still open, because the input has ended."""

    def drop(self, partitions: Collection[int]) -> None:
        """Forget the series of partitions that another process reads from now on."""


StepsT = TypeVar("StepsT", bound=Steps)


class Sink(Protocol[Taken_contra]):
    """Where results go."""

    def write(self, result: Taken_contra, batch: Batch) -> None:
        """Take the results of a batch."""

    def commit(self, position: Position | None) -> None:
        """Return once everything written is safe and the position is behind it; None: the current one."""

    def close(self) -> None:
        """Release what the sink holds."""


@dataclass(frozen=True, slots=True)
class TurnOf(Generic[Found_co]):
    """One completed turn of the loop, and the seconds spent in each step."""

    batch: Batch
    result: Found_co
    poll_seconds: float
    step_seconds: float
    write_seconds: float
    commit_seconds: float


if TYPE_CHECKING:
    Turn: TypeAlias = TurnOf[StepResult]
else:
    Turn = TurnOf  # with its parameter, Python could neither make one nor ask whether something is one


def _never() -> bool:
    return False


def _ignore(turn: object) -> None:
    """Do nothing: no one observes the turns."""


def _drop_lost(engine: Steps, batch: Batch) -> Batch:
    """Forget the series of lost partitions; without recovery, series of new partitions warm up."""
    engine.drop(batch.lost)
    return batch


def run(
    source: Source,
    engine: StepsT,
    sink: Sink[ResultT],
    should_stop: Callable[[], bool] = _never,
    on_turn: Callable[[TurnOf[ResultT]], None] = _ignore,
    prepare: Callable[[StepsT, Batch], Batch] = _drop_lost,
) -> None:
    """Turn until `should_stop` returns True or the input ends. At its end, close what is still open.

    Args:
        source: where batches come from.
        engine: scores them.
        sink: where results go.
        should_stop: is asked before every turn.
        on_turn: is called after every completed turn, for metrics.
        prepare: makes the engine ready for a batch and returns the part of the batch that is live
            (`detector.delivery.recovery`).

    Raises:
        Exception: whatever source, sink or `prepare` raise.
    """
    while not should_stop():
        laps = [time.perf_counter()]
        batch = source.poll(POLL_SECONDS)  # 1. poll
        if batch is None:
            sink.write(engine.flush(), Batch(Readings.empty(0)))
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
        on_turn(TurnOf(batch, result, *(end - start for start, end in pairwise(laps))))
