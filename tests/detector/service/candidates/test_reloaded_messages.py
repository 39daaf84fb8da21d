"""After a reload, messages have the names that the new model gives."""

from __future__ import annotations

import json
from dataclasses import replace

from connectors.records import Batch, Message, Position
from detector.artifact.modes import Condition, Mode, Modes
from detector.artifact.spec import Artifact
from detector.delivery.messages import MessageEncoder, Topics
from detector.delivery.sink import MessageSink
from detector.engine.engine import Engine
from detector.service.reload.model_reload import Candidate, ModelReloader, Running
from detector.service.reload.reload_counts import ReloadCounts
from tests.detector.service.test_model_reload import Holding, Ready, regular
from tests.support.artifacts import make_artifact
from tests.support.strategies import INTERVAL_NS


class Source(Holding):
    """A source whose decoder changes nothing."""

    def use_codec(self, codec: object) -> None:
        """Go on."""


class Kept:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def deliver(self, messages: list[Message], position: Position, state: list[Message]) -> None:
        """Keep the messages."""
        self.messages += messages


def with_modes(plain: Artifact, *names: str) -> Artifact:
    """A model with these modes of `flow`, from low to high."""
    bounds = [None, *(float(at) for at in range(len(names) - 1)), None]
    modes = Modes(
        tuple(Mode(name, (Condition("flow", bounds[at], bounds[at + 1]),)) for at, name in enumerate(names))
    )
    return replace(plain, spec=replace(plain.spec, modes=modes), version=names[0] * 12)


def test_rows_have_the_modes_of_the_model_that_judged_them() -> None:
    plain = make_artifact(interval_ns=INTERVAL_NS)
    old, new = with_modes(plain, "a"), with_modes(plain, "x", "y", "z")
    assert old.spec.modes is not None
    assert new.spec.modes is not None
    engine, kept = Engine(old), Kept()
    channels = old.spec.channel_names
    encoder = MessageEncoder(Topics.of("out"), "pump", old.version, channels, detail="full")
    sink = MessageSink(replace(encoder, modes=old.spec.modes.names), kept)  # type: ignore[arg-type]  # it keeps lists
    running = Running(engine, Source(), sink, None, lambda result: None)  # type: ignore[arg-type]  # nothing is read
    reloader = ModelReloader(running, Ready(Candidate(Engine(new), None)), ReloadCounts())  # type: ignore[arg-type]  # nothing is decoded
    for start in (0, 40):
        readings = regular(40, start)
        sink.write(engine.step(readings), Batch(readings))
        sink.commit({("in", 0): start + 40})
        reloader.on_turn()
    seen: dict[str, set[str | None]] = {}
    for body in (json.loads(one.value or b"") for one in kept.messages if one.topic == "out.scores"):
        seen.setdefault(body["version"], set()).update(body["mode"])
    assert seen["a" * 12] == {"a"}
    assert {"x", "y", "z"} >= seen["x" * 12] >= {"x", "z"}
