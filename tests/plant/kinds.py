"""Messages of a plant with two kinds of machines that share a channel, and models for them."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np

from connectors.records import Batch, Codec, Raw, RawColumns
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.group.member import Member
from tests.support.artifacts import make_artifact
from tests.support.strategies import EVERY_RULE

PUMP, PRESS = ("flow", "pressure"), ("force", "pressure", "speed")
INTERVAL_NS = 10_000_000
SERIES = {"pump-1": PUMP, "pump-2": PUMP, "press-1": PRESS, "press-2": PRESS, "fan-1": ("speed", "noise")}
NOW_MS = 1_700_000_000_000


def models(threshold: float = 0.8) -> tuple[Artifact, Artifact]:
    """Artifacts of the two kinds; they differ in channels, window, weights and name."""
    pump = make_artifact(PUMP, threshold=threshold, interval_ns=INTERVAL_NS, seed=1, has_reference=True)
    press = make_artifact(PRESS, threshold=threshold, interval_ns=INTERVAL_NS, seed=2, window=6)
    return pump, replace(press, spec=replace(press.spec, name="press"))


def members(least: int = 1, patterns: bool = True) -> tuple[Member, Member]:
    """A member for each kind, each with an engine of its own."""
    rules = replace(EVERY_RULE, channels={}, min_duration_ns=2 * INTERVAL_NS, maintenance=())
    options = EngineOptions(lateness_ns=INTERVAL_NS, rules=rules)
    made = zip(models(), ("pump-*", "press-*"), strict=True)
    return tuple(  # type: ignore[return-value]
        Member(Engine(artifact, options), (pattern,) if patterns else (), least) for artifact, pattern in made
    )


def messages(seed: int, num: int, missing: float = 0.2) -> list[bytes]:
    """JSON messages in order of arrival: lacking channels, channels of the other kind, and broken ones."""
    rng = np.random.default_rng(seed)
    names = list(SERIES)
    found = []
    for row in range(num):
        series = names[int(rng.integers(len(names)))]
        some = [name for name in SERIES[series] if rng.random() > missing]
        if rng.random() < 0.1:
            some = [str(rng.choice(["flow", "force", "speed", "mood"]))]
        scale = 5.0 if rng.random() < 0.1 else 1.0
        body: dict[str, Any] = {
            "series": series,
            "timestamp": NOW_MS + 10 * (row // 3) + int(rng.integers(-9, 9)),
            "values": {name: scale * float(rng.standard_normal()) for name in some or [SERIES[series][0]]},
        }
        found.append(b"{oops" if rng.random() < 0.02 else json.dumps(body).encode())
    return found


def batch_of(codec: Codec, values: list[bytes], first: int = 0) -> Batch:
    """A decoded batch of one partition whose offsets begin at `first`."""
    raw = [Raw("readings", 0, first + at, NOW_MS, None, value) for at, value in enumerate(values)]
    decoded = codec.decode_columns(RawColumns.of(raw))
    return Batch(decoded.readings, decoded.rejects, unknown_values=decoded.unknown_values)


class Told:
    """What one engine told, whatever the batches: verdicts to the bit, and events."""

    def __init__(self) -> None:
        self.verdicts: dict[tuple[str, int], bytes] = {}
        self.events: list[tuple[str, str, int, str]] = []

    def add(self, result: StepResult) -> None:
        found = result.verdicts
        columns = [getattr(found, one.name) for one in fields(found) if one.name not in ("names", "series")]
        for at, code in enumerate(found.series.tolist()):
            key = (found.names[code], int(found.timestamp_ns[at]))
            assert key not in self.verdicts
            self.verdicts[key] = b"".join(
                repr(one[at]).encode() if one.dtype == object else one[at].tobytes() for one in columns
            )
        for event in result.incidents:
            incident = event.incident
            self.events.append((incident.series, event.kind, event.at_ns, repr(incident)))

    def as_told(self) -> tuple[dict[tuple[str, int], bytes], list[tuple[str, str, int, str]]]:
        return self.verdicts, sorted(self.events)
