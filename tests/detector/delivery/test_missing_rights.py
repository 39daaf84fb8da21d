"""A loop that Kafka refuses is driven again, at growing intervals, and the source starts over each time."""

from __future__ import annotations

import threading

import pytest

from connectors.errors import KafkaError, RightMissingError
from connectors.records import Batch, Readings
from detector.delivery.missing_rights import MissingRights
from detector.engine.loop import Turn
from detector.engine.values import StepResult

REFUSAL = RightMissingError("refused", "write", "topic out.scores")


class Source:
    is_assigned = True

    def __init__(self) -> None:
        self.num_starts = 0

    def start_over(self) -> None:
        self.num_starts += 1


class Stop(threading.Event):
    """Notes the pauses and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        return self.is_set()


def turn(position: bool) -> Turn:
    batch = Batch(Readings.empty(1), position={("readings", 0): 5} if position else None)
    return Turn(batch, StepResult.__new__(StepResult), 0.0, 0.0, 0.0, 0.0)


def made(now: list[float]) -> tuple[MissingRights, Source, Stop, list[str]]:
    source = Source()
    return MissingRights(source, lambda: now[0]), source, Stop(), []  # type: ignore[arg-type]


def test_a_refusal_before_anything_worked_ends_the_process() -> None:
    rights, source, stop, waits = made([0.0])

    def turns() -> None:
        rights.on_turn(turn(position=False))
        raise REFUSAL

    with pytest.raises(RightMissingError):
        rights.keep(turns, stop, waits.append)
    assert (source.num_starts, stop.pauses, rights.missing) == (0, [], {})


@pytest.mark.parametrize("num_refusals", [1, 3, 20])
def test_each_refusal_starts_over_after_a_pause_and_a_commit_ends_it(num_refusals: int) -> None:
    rights, source, stop, waits = made([0.0])
    rights.on_turn(turn(position=True))
    left = [num_refusals]

    def turns() -> None:
        rights.on_turn(turn(position=False))
        if left[0]:
            left[0] -= 1
            raise REFUSAL
        assert set(rights.missing) == {("write", "topic out.scores")}
        rights.on_turn(turn(position=True))

    rights.keep(turns, stop, waits.append)
    assert source.num_starts == rights.refused == len(stop.pauses) == num_refusals
    assert stop.pauses == [min(0.5 * 2**number, 5.0) for number in range(num_refusals)]
    assert set(waits) == {"write on topic out.scores"}
    assert not rights.missing


def test_without_any_reading_five_calm_seconds_end_it() -> None:
    now = [0.0]
    rights, _, stop, waits = made(now)
    rights.on_turn(turn(position=True))
    refusals = [REFUSAL]

    def turns() -> None:
        if refusals:
            raise refusals.pop()
        for seconds, is_missing in ((10.0, True), (14.0, True), (15.0, False)):
            now[0] = seconds
            rights.on_turn(turn(position=False))
            assert bool(rights.missing) == is_missing

    rights.keep(turns, stop, waits.append)


def test_other_errors_are_not_its_business_and_a_stop_ends_the_wait() -> None:
    rights, _, stop, waits = made([0.0])
    rights.on_turn(turn(position=True))

    def broken() -> None:
        raise KafkaError("broken")

    def refused() -> None:
        raise REFUSAL

    with pytest.raises(KafkaError, match="broken"):
        rights.keep(broken, stop, waits.append)
    stop.set()
    rights.keep(refused, stop, waits.append)
    assert len(waits) == 1
