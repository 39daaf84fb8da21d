"""The receipt of a verification: what was compared, with which versions, and the hashes of all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from connectors.records import Readings
from detector.delivery.messages import iso
from detector.verify.comparing import FAULTS, UNCOMPARED, Comparison, Found
from detector.verify.rows import Row

EQUAL, WRONG, NOTHING = 0, 1, 2
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class VersionUsed:
    """A version of a model that judged rows of the stretch.

    model     its name in messages
    entry     its place in the registry
    artifact  SHA-256 of its description, which has those of its other files; empty: it is not there any more
    in_use    what the journal states of it: when it came into use, who and why; empty: nothing
    """

    model: str
    entry: str
    version: str
    rows: int
    artifact: str
    in_use: str


@dataclass(slots=True)
class InputDigest:
    """The SHA-256 of readings, however they are cut into batches."""

    readings: int = 0
    _hashes: list[Any] = field(default_factory=lambda: [hashlib.sha256() for _ in range(3)])

    def add(self, readings: Readings) -> None:
        """Take in the next readings."""
        self.readings += len(readings)
        names = np.array(readings.names, object)[readings.series]
        self._hashes[0].update("".join(f"{name}\n" for name in names.tolist()).encode())
        self._hashes[1].update(np.ascontiguousarray(readings.timestamp_ns).tobytes())
        self._hashes[2].update(np.ascontiguousarray(readings.values).tobytes())

    def hexdigest(self) -> str:
        """Return the hash of everything so far."""
        return hashlib.sha256(b"".join(one.digest() for one in self._hashes)).hexdigest()


def digest_of_all(digests: Sequence[InputDigest]) -> str:
    """Return the SHA-256 of the readings of several models, in their order; of one model it is its own."""
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256("".join(one.hexdigest() for one in digests).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a verification found.

    config  path and SHA-256 of the configuration
    begun   inputs that begin with the first message of their partition, and how many there are
    rights  whether rows that were published twice are allowed: the service writes at least once
    """

    from_ms: int
    to_ms: int
    source: str
    begun: tuple[int, int]
    readings: int
    input_sha256: str
    topic: str
    verdicts_sha256: str
    config: tuple[str, str]
    software: str
    versions: tuple[VersionUsed, ...]
    comparison: Comparison
    damaged: int
    at_least_once: bool

    @property
    def exit_code(self) -> int:
        """0: all compared rows are equal; 1: something is wrong; 2: nothing could be compared."""
        allowed = self.comparison.faults["twice"] if self.at_least_once else 0
        if self.comparison.faults.total() - allowed or self.damaged:
            return WRONG
        return EQUAL if self.comparison.compared else NOTHING

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        found = self.comparison
        return {
            "result": ("equal", "wrong", "nothing compared")[self.exit_code],
            "from": iso(self.from_ms * _MS),
            "to": iso(self.to_ms * _MS),
            "input": {
                "source": self.source,
                "readings": self.readings,
                "sha256": self.input_sha256,
                "partitions": self.begun[1],
                "from_their_first_message": self.begun[0],
            },
            "verdicts": {"topic": self.topic, "sha256": self.verdicts_sha256, "damaged": self.damaged},
            "config": {"path": self.config[0], "sha256": self.config[1]},
            "software": self.software,
            "versions": [asdict(one) for one in self.versions],
            "series": len(found.series),
            "compared": found.compared,
            "equal": found.equal,
            "equal_in_score": found.in_score,
            "faults": {name: found.faults[name] for name in FAULTS},
            "not_compared": {name: found.uncompared[name] for name in UNCOMPARED},
            "examples": [_example(one) for one in found.examples],
        }

    def lines(self) -> Iterator[str]:
        """Yield the receipt for people."""
        found = self.comparison
        yield _headline(self)
        yield f"rows from {iso(self.from_ms * _MS)} to {iso(self.to_ms * _MS)}"
        yield f"  equal in every bit: {found.equal:,}"
        if found.in_score:
            words = "equal in model, version, score and state; other columns depend on rows before"
            yield f"  {words}: {found.in_score:,}"
        for fault, words in FAULTS.items():
            yield f"  {words}: {found.faults[fault]:,}"
        if self.damaged:
            yield f"  messages of the topic that are not of the service's form: {self.damaged:,}"
        for reason, words in UNCOMPARED.items():
            if found.uncompared[reason]:
                yield f"  not compared, {words}: {found.uncompared[reason]:,}"
        yield from (f"  {_example_line(one)}" for one in found.examples)
        for one in self.versions:
            yield f"model {one.model}, version {one.version}: {one.rows:,} rows"
            yield f"  {one.entry}: {one.in_use or 'not in the journal'}"
            yield f"  artifact sha256 {one.artifact or 'unknown: the registry has it no more'}"
        yield f"input {self.source}: {self.readings:,} readings\n  sha256 {self.input_sha256}"
        if self.begun[0] < self.begun[1]:
            num, of = self.begun[1] - self.begun[0], self.begun[1]
            yield f"  {num} of {of} partitions begin after their first message: state before is unknown"
        yield f"verdicts {self.topic}\n  sha256 {self.verdicts_sha256}"
        yield f"configuration {self.config[0]}\n  sha256 {self.config[1]}"
        yield f"streamgauge {self.software}"

    def text(self) -> str:
        """Return the receipt as one text."""
        return "\n".join(self.lines())


def _headline(receipt: Receipt) -> str:
    found = receipt.comparison
    what = f"{found.compared:,} rows of {len(found.series):,} series compared"
    if receipt.exit_code == EQUAL:
        return f"verified: {what}, all equal"
    if receipt.exit_code == NOTHING:
        return "nothing could be compared"
    return f"NOT verified: {what}, {found.faults.total() + receipt.damaged:,} findings"


def _example(found: Found) -> dict[str, Any]:
    row = found.published or found.rescored
    assert row is not None
    return {
        "fault": found.fault,
        "series": row.series,
        "time": iso(row.time_ms * _MS),
        "published": _verdict(found.published),
        "rescored": _verdict(found.rescored),
    }


def _verdict(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"model": row.model, "version": row.version, "score": row.score, "state": row.state}


def _example_line(found: Found) -> str:
    one = _example(found)
    sides = [f"{side} {_words(one[side])}" for side in ("published", "rescored") if one[side]]
    return f"{one['fault']}: {one['series']} at {one['time']}: {'; '.join(sides)}"


def _words(verdict: dict[str, Any]) -> str:
    return f"{verdict['state']} {json.dumps(verdict['score'])} by {verdict['model']} {verdict['version']}"
