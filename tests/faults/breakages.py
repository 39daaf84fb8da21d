"""Deliberate faults of the daemon itself: with each of them the harness must fail."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from connectors.kafka import delivery, transactions
from connectors.records import Batch, Membership, Message, Position, Readings
from detector.delivery import recovery
from detector.delivery.sink import MessageSink
from detector.engine.decided.decisions import Decisions
from detector.engine.engine import Engine, StepResult
from detector.engine.parts import Parts

NAMES = ("offsets_outside", "no_replay", "no_fencing", "decided_again")
NAMES += ("slow", "hundredfold", "hang_once", "stuck")
HANG_SECONDS, _SLOW_SECONDS = 9.0, 0.005
SLOW, JUDGED, WRITES = "slow", "judged, not written yet", "writes what it judged"
HANGING = "hanging"


def apply(name: str) -> None:
    """Break (or slow down) the daemon of this process."""
    {
        "offsets_outside": _offsets_outside,
        "no_replay": _no_replay,
        "no_fencing": _no_fencing,
        "decided_again": _decided_again,
        "slow": _slow,
        "hundredfold": _hundredfold,
        "hang_once": _hang_once,
        "stuck": _stuck,
    }[name]()


def _offsets_outside() -> None:
    """The offsets are committed after the transaction, by themselves."""

    def deliver(
        self: delivery.ExactlyOnce,
        messages: Sequence[Message],
        position: Position,
        state: Sequence[Message] = (),
    ) -> None:
        outputs = list(messages)
        self._transactions.deliver(outputs, {}, Membership(None))
        time.sleep(0.2)
        self._transactions.deliver(list(state), position, self._source.membership)

    delivery.ExactlyOnce.deliver = deliver  # type: ignore[method-assign]


def _no_replay() -> None:
    """What is to be replayed is thrown away: windows and thresholds are not what they were."""
    prepare = recovery.Recovery.prepare

    def without(self: recovery.Recovery, source: recovery.Log, engine: Engine, batch: Batch) -> Batch:
        engine.step_in_silence = lambda readings: None  # type: ignore[method-assign]
        return prepare(self, source, engine, batch)

    recovery.Recovery.prepare = without  # type: ignore[method-assign]


def _no_fencing() -> None:
    """Offsets are sent as nobody: the broker does not ask whether the group has gone on."""
    deliver = transactions.Transactions.deliver

    def anonymous(
        self: transactions.Transactions,
        messages: Sequence[Message],
        position: Position,
        membership: Membership,
    ) -> None:
        nobody = membership.metadata._replace(generation_id=-1, member_id="", group_instance_id=None)
        deliver(self, messages, position, Membership(nobody))

    transactions.Transactions.deliver = anonymous  # type: ignore[method-assign]
    transactions.Transactions.is_member = staticmethod(lambda membership: True)  # type: ignore[method-assign]


def _decided_again() -> None:
    """Who takes over a series does not look up which decisions it has taken in."""
    meet = Decisions.meet

    def forgetful(self: Decisions, parts: Parts, names: Sequence[str]) -> None:
        parts.decided.data[parts.series.of(names)] = 0, -1
        meet(self, parts, names)

    Decisions.meet = forgetful  # type: ignore[method-assign]


def _slow() -> None:
    """Between judging and writing passes a second, and the log says so: a process can be stopped in it."""
    write = MessageSink.write
    print(json.dumps({"event": SLOW}), file=sys.stderr, flush=True)

    def slowly(self: MessageSink, result: StepResult, batch: Batch) -> None:
        if len(batch.readings):
            print(json.dumps({"event": JUDGED, "readings": len(batch.readings)}), file=sys.stderr, flush=True)
            time.sleep(1.0)
            print(json.dumps({"event": WRITES}), file=sys.stderr, flush=True)
        write(self, result, batch)

    MessageSink.write = slowly  # type: ignore[method-assign]


def _hundredfold() -> None:
    """Judging a reading takes a hundred times as long as it does at some 20,000 readings a second."""
    step = Engine.step

    def slowly(self: Engine, readings: Readings, now_ns: int | None = None) -> StepResult:
        time.sleep(_SLOW_SECONDS * len(readings))
        return step(self, readings, now_ns)

    Engine.step = slowly  # type: ignore[method-assign]


def _hang_once() -> None:
    """The third batch takes longer than the group waits for it."""
    step = Engine.step
    seen = [0]

    def hanging(self: Engine, readings: Readings, now_ns: int | None = None) -> StepResult:
        seen[0] += len(readings) > 0
        if seen[0] == 3:
            seen[0] += 1
            print(json.dumps({"event": HANGING, "readings": len(readings)}), file=sys.stderr, flush=True)
            time.sleep(HANG_SECONDS)
        return step(self, readings, now_ns)

    Engine.step = hanging  # type: ignore[method-assign]


def _stuck() -> None:
    """The first batch with readings never ends."""
    step = Engine.step

    def endless(self: Engine, readings: Readings, now_ns: int | None = None) -> StepResult:
        while len(readings):
            time.sleep(HANG_SECONDS)
        return step(self, readings, now_ns)

    Engine.step = endless  # type: ignore[method-assign]
