"""When a reading of each model came last, by partition, shared by all processes of a consumer group.

Each process notes it beside the offsets that it commits, so that a note and its readings are committed
together. Every process reads the notes of the others. Nothing else passes between them.

    {"received": {"pump": 1700000000000}}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeAlias

import msgspec
import numpy as np

from connectors.kafka.admin.group_notes import Noted
from connectors.records import Batch, Readings
from detector.engine.engine import Engine, note_elsewhere, partitions_of, watches_silence
from detector.incidents.stream.silence import ALONE, NEVER, Elsewhere

_MOST_BYTES = 2_000
"""A broker refuses commits with longer notes: `offset.metadata.max.bytes` is 4,096 by default."""
_MISSED_LOOKS = 4
_TELL_NS = 250_000_000
_NS_A_MS = 1_000_000


class Notes(msgspec.Struct):
    """The text beside an offset. `received` has the epoch milliseconds of the last reading of each model."""

    received: dict[str, int] = msgspec.field(default_factory=dict)


Place: TypeAlias = tuple[str, int]
"""A topic and a partition of it."""


class Shares(Protocol):
    """The partitions that the processes of a group share, and the texts beside their offsets."""

    @property
    def notes(self) -> dict[Place, str]: ...

    def held(self) -> dict[Place, int]: ...

    def all(self) -> frozenset[Place]: ...


class Looks(Protocol):
    """Looks at the notes of the group."""

    every_seconds: float

    def latest(self) -> Noted | None: ...


class Received:
    """Notes when readings come, and knows when others got some. It belongs to the thread that polls.

    Args:
        shared: commits the notes, and knows the partitions.
        looks: reads those of the group.
        kept_ns: a partition without a reading of a model for so much longer than others does not count: its
            series are forgotten.
    """

    def __init__(self, shared: Shares, looks: Looks, kept_ns: int) -> None:
        self._shared, self._looks = shared, looks
        self._kept_ms = kept_ns // _NS_A_MS or None
        self._looked: Noted | None = None
        self._told_ns = 0
        self._is_blind, self._since_ns = False, NEVER
        self._notes: dict[Place, tuple[int, Notes]] = {}
        self._received_ns: dict[tuple[Place, str], int] = {}

    def follow(self, batch: Batch, engines: Mapping[str, Engine], model_of: Callable[[str], str]) -> None:
        """Note what a batch brings, and pass on to the engines what others noted.

        Args:
            batch: the live part of a batch, before it is judged.
            engines: by the names of their models.
            model_of: returns the model that judges a series; empty: none.
        """
        now_ns = batch.tick_ns
        if now_ns is None or not any(map(watches_silence, engines.values())):
            return
        if len(batch.readings):
            self._note(batch.readings, model_of, now_ns // _NS_A_MS)
        if batch.lost or batch.assigned or abs(now_ns - self._told_ns) >= _TELL_NS:
            self._told_ns = now_ns
            self._drop_unknown(engines, now_ns // _NS_A_MS)
            for model, engine in engines.items():
                note_elsewhere(engine, self.elsewhere(model, now_ns))

    def _note(self, readings: Readings, model_of: Callable[[str], str], at_ms: int) -> None:
        """Note the models of live readings, by partition."""
        partition_of = np.empty(len(readings.names), np.int64)
        partition_of[readings.series] = readings.partition
        found: dict[int, set[str]] = {}
        for partition, name in zip(partition_of.tolist(), readings.names, strict=True):
            found.setdefault(partition, set()).add(model_of(name))
        place_of = {number: place for place, number in self._shared.held().items()}
        for partition in found.keys() & place_of.keys():
            place = place_of[partition]
            before = decode(self._shared.notes.get(place, "")).received
            self._shared.notes[place] = _text(before, found[partition] - {""}, at_ms)

    def _drop_unknown(self, engines: Mapping[str, Engine], at_ms: int) -> None:
        """Drop models from the notes of partitions where they have no series: nobody could report there.

        A model of the readings of this batch stays: its engine gets them next.
        """
        known = {model: partitions_of(engine) for model, engine in engines.items()}
        for place, number in self._shared.held().items():
            before = self._shared.notes.get(place, "")
            received = {
                model: noted_ms
                for model, noted_ms in decode(before).received.items()
                if noted_ms == at_ms or (found := known.get(model)) is None or number in found
            }
            if not before or len(received) < len(decode(before).received):
                self._shared.notes[place] = _text(received, set(), at_ms)

    def elsewhere(self, model: str, now_ns: int) -> Elsewhere:
        """Return what is known of the other processes and a model.

        While the notes of others cannot be read, this process does not report: it cannot know. Once they are
        read again, a silence counts from then on.
        """
        own = self._shared.held()
        others = self._shared.all() - own.keys()
        if not others:
            self._is_blind = False
            return ALONE
        looked = self._looks.latest()
        if looked is None or now_ns - looked.at_ns > _MISSED_LOOKS * self._looks.every_seconds * 1e9:
            self._is_blind = True
            return Elsewhere(NEVER, is_ours=False)
        if self._is_blind:
            self._is_blind, self._since_ns = False, now_ns
        self._take_in(looked)
        first = self._first_of(model, others, own)
        received = [self._received_ns.get((place, name), NEVER) for place in others for name in (model, "")]
        is_ours = first is None or first in own
        partition = None if first is None else own.get(first)
        return Elsewhere(max(received), is_ours, partition, self._since_ns)

    def _first_of(self, model: str, others: Collection[Place], own: Collection[Place]) -> Place | None:
        """Return the first partition that ever had a reading of a model; None: there is none."""
        received = {place: notes.received for place, (_, notes) in self._notes.items() if place in others}
        received |= {place: decode(self._shared.notes.get(place, "")).received for place in own}
        times = {place: found[model] for place, found in received.items() if model in found}
        newest = max(times.values(), default=0)
        kept_ms = self._kept_ms or newest
        return min((place for place, at in times.items() if newest - at <= kept_ms), default=None)

    def _take_in(self, looked: Noted) -> None:
        """Remember when notes changed, by the clock of this host: those of other hosts may be wrong.

        Of a partition that was not looked at before, the time of its note counts. A process of an older
        version notes nothing: then an offset that moves stands for a reading.
        """
        if looked is self._looked:
            return
        self._looked = looked
        for place, (offset, text) in looked.notes.items():
            before, notes = self._notes.get(place), decode(text)
            self._notes[place] = offset, notes
            for model, at_ms in notes.received.items():
                if before is None:
                    self._received_ns[place, model] = min(looked.at_ns, at_ms * _NS_A_MS)
                elif before[1].received.get(model) != at_ms:
                    self._received_ns[place, model] = looked.at_ns
            if before is not None and not text and before[0] != offset:
                self._received_ns[place, ""] = looked.at_ns


def decode(text: str) -> Notes:
    """Return the notes of a text; none where it is another program's.

    >>> decode('{"received":{"pump":17}}').received, decode("").received
    ({'pump': 17}, {})
    """
    try:
        return msgspec.json.decode(text.encode(), type=Notes) if text else Notes()
    except msgspec.MsgspecError:
        return Notes()


def _text(before: Mapping[str, int], models: set[str], at_ms: int) -> str:
    """Return the notes of a partition that got readings of models; the oldest are left out for room."""
    now = {**before, **dict.fromkeys(models, at_ms)}
    received = sorted(now.items(), key=lambda one: one[1], reverse=True)
    while len(text := msgspec.json.encode(Notes(dict(received)))) > _MOST_BYTES:
        received = received[: len(received) // 2]
    return text.decode()
