"""The contract of a message format, and the codec that is the same for all of them.

A format is a `Reader`: it turns the bytes of messages into a `Table`. `FormCodec` makes a `Codec` of it. That
checks times and names of series, and builds readings and rejects. What every format promises:

    nothing raises     a message that cannot be read becomes a `Reject` with its reason
    nothing is lost    each message gives readings or a reject, or has nothing but names that are no channels
    one reject         of a message with several readings the valid ones stay; the reject has all of it
    any cut            a stream gives the same readings and rejects, however it is cut into batches
    one offset         all readings of a message have its offset and stand together, in the message's order
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.errors import CodecError
from connectors.names import channels_fault, series_fault
from connectors.records import Codec, Decoded, Raw, RawColumns, Readings
from connectors.times import Clock
from connectors.wide_json.decoder import encode_names, reject_of
from connectors.wide_json.limits import Limits, Moment, Refusal, refused_time, rows_beyond

_NO_CHANNEL = "no_known_channel"


class RefusedError(Exception):
    """Raised inside a reader for a message, or for one reading of it, that cannot be read."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, detail)


@dataclass(frozen=True, slots=True)
class Table:
    """The readings of some messages, before times and names are checked.

    message       intp [n], the row of the message in the batch, ascending
    names, codes  the distinct series, and int32 [n], index into them
    stamps        [n], the times as they were sent, for the words of a reject
    timestamp_ns  int64 [n], `INVALID_NS` where a stamp is no time
    values        float64 [n, channels], NaN where missing
    refusals      row of a message -> why it, or its first faulty reading, is refused
    unknown       name -> number of its values that no channel takes
    strangers     as in `Decoded`
    """

    message: NDArray[np.intp]
    names: tuple[str, ...]
    codes: NDArray[np.int32]
    stamps: Sequence[Any] | NDArray[Any]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    refusals: Mapping[int, Refusal]
    unknown: Mapping[str, int]
    strangers: Mapping[str, int] = field(default_factory=dict)


class Reader(Protocol):
    """Turns messages of one format into a table. It raises for nothing that a message contains."""

    @property
    def clock(self) -> Clock:
        """How the stamps of `Table.stamps` are read."""

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival."""


@dataclass(slots=True)
class Rows:
    """Rows that a reader has found so far, one after the other.

    message, series, stamps   as in `Table`, one a row; the reader keeps the values
    refusals, unknown         as in `Table`
    """

    message: list[int] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    stamps: list[int | float | str] = field(default_factory=list)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    _faulty: set[int] = field(default_factory=set)
    _strangers: dict[int, dict[str, None]] = field(default_factory=dict)
    _met: dict[tuple[int, str], None] = field(default_factory=dict)

    def add(self, message: int, series: str, stamp: int | float | str) -> None:
        """Add a row, whose cells the reader keeps."""
        self.message.append(message)
        self.series.append(series)
        self.stamps.append(stamp)

    def refuse(self, message: int, refusal: Refusal) -> None:
        """Refuse a message or a part of it; the first fault counts. Parts of several series name none.

        A part without a known channel counts only if no other part has a fault: its series may be of another
        model.
        """
        first = self.refusals.setdefault(message, refusal)
        if refusal.reason == _NO_CHANNEL and refusal.series:
            self._strangers.setdefault(message, {})[refusal.series] = None
        elif message not in self._faulty:
            self._faulty.add(message)
            self.refusals[message] = refusal
        if first.series != refusal.series:
            self.refusals[message] = self.refusals[message]._replace(series="")

    def meet(self, message: int, series: str) -> None:
        """Note a part of a message whose names are no channels, where that is no fault."""
        self._met[message, series] = None

    def _unknown_series(self) -> Counter[str]:
        """Return how many messages of each series had nothing but names that are no channels."""
        others = set(zip(self.message, self.series, strict=True)) if self._met else set()
        return Counter(series for message, series in self._met if (message, series) not in others)

    def _name_no_other(self) -> None:
        """Remove the series from refusals of messages that also have readings of another one."""
        named = {at: refusal.series for at, refusal in self.refusals.items() if refusal.series}
        if named:
            for message, series in zip(self.message, self.series, strict=True):
                if named.get(message, series) != series:
                    self.refusals[message] = self.refusals[message]._replace(series="")

    def table(self, clock: Clock, values: NDArray[np.float64]) -> Table:
        """Return the rows with their values, float64 [n, channels]. Infinite values become missing."""
        self._name_no_other()
        for message, strangers in self._strangers.items():
            if message not in self._faulty:
                refusal = self.refusals[message]._replace(strangers=tuple(strangers))
                self.refusals[message] = refusal
        names, codes = encode_names(self.series)
        return Table(
            np.array(self.message, np.intp),
            names,
            codes,
            self.stamps,
            clock.times_of(self.stamps),
            np.where(np.isinf(values), np.nan, values),
            self.refusals,
            self.unknown,
            self._unknown_series(),
        )


class FormCodec:
    """A `Codec` over a reader: checks times and names, and builds readings and rejects.

    Raises CodecError for channels that cannot be those of a message.
    """

    def __init__(self, channels: tuple[str, ...], reader: Reader, limits: Limits | None = None) -> None:
        fault = channels_fault(channels)
        if fault is not None:
            raise CodecError(fault)
        self.channels, self.reader, self.limits = channels, reader, limits or Limits()

    def decode(self, records: Sequence[Raw]) -> Decoded:
        """Decode messages in order of arrival. Never raises for anything that a message contains."""
        return self.decode_columns(RawColumns.of(records))

    def decode_columns(self, raw: RawColumns) -> Decoded:
        """Decode messages given as columns. Never raises for anything that a message contains."""
        table = self.reader.read(raw)
        refusals = {at: _with_a_name(refusal, self.limits) for at, refusal in table.refusals.items()}
        names, codes = table.names, table.codes
        bad = self._bad_times(table, raw.timestamp_ms[table.message]) | _bad_names(names, codes, self.limits)
        for row in sorted(bad):
            before = refusals.get(int(table.message[row]))
            if before is None or before.strangers:  # readings without a known channel are the lesser fault
                refusals[int(table.message[row])] = bad[row]
        kept = np.delete(np.arange(len(codes)), list(bad)) if bad else slice(None)
        if bad:
            names, codes = encode_names([names[code] for code in codes[kept].tolist()])
        message = table.message[kept]
        readings = Readings(
            names,
            codes,
            table.timestamp_ns[kept],
            table.values[kept],
            raw.partition[message],
            raw.offset[message],
        )
        rejects = tuple(reject_of(raw, at, refusals[at]) for at in sorted(refusals))
        strangers = {
            name: num for name, num in table.strangers.items() if _refused_name(name, self.limits) is None
        }
        return Decoded(readings, rejects, sum(table.unknown.values()), strangers)

    def _bad_times(self, table: Table, broker_ms: NDArray[np.int64]) -> dict[int, Refusal]:
        """Return the refusals of rows with an impossible time."""
        refused = {}
        for row in rows_beyond(table.timestamp_ns, broker_ms, self.limits).tolist():
            stamp = table.stamps[row]
            plain = stamp.item() if isinstance(stamp, np.generic) else stamp
            moment = Moment(plain, int(table.timestamp_ns[row]), int(broker_ms[row]))
            code, message = table.codes[row], table.message[row]
            start, stop = np.searchsorted(table.message, [message, message + 1])
            is_alone = (table.codes[start:stop] == code).all()
            refusal = refused_time(moment, self.limits, self.reader.clock)
            refused[row] = refusal._replace(series=table.names[code]) if is_alone else refusal
        return refused


def usable(
    raw: RawColumns, limits: Limits, refusals: dict[int, Refusal], reason: str
) -> Iterator[tuple[int, bytes]]:
    """Yield row and bytes of messages that have a value of a permitted size; refuse the others.

    Args:
        raw: the messages.
        limits: the permitted size.
        refusals: takes those of the other messages.
        reason: the reason for a message without a value.
    """
    for at, value in enumerate(raw.value):
        if value is None:
            refusals[at] = Refusal(reason, "the message has no value (a tombstone)")
        elif len(value) > limits.max_bytes:
            refusals[at] = Refusal("too_large", f"{len(value)} bytes, the limit is {limits.max_bytes}")
        else:
            yield at, value


def _bad_names(names: tuple[str, ...], codes: NDArray[np.int32], limits: Limits) -> dict[int, Refusal]:
    """Return the refusals of rows whose series cannot be named so."""
    refused: dict[int, Refusal] = {}
    for code, name in enumerate(names):
        refusal = _refused_name(name, limits)
        if refusal is not None:
            refused |= dict.fromkeys(np.flatnonzero(codes == code).tolist(), refusal)
    return refused


def _refused_name(name: str, limits: Limits) -> Refusal | None:
    """Return why this cannot be the name of a series; None if it can."""
    if not name:
        return Refusal("missing_field", "the name of the series is empty")
    if len(name) > limits.max_series_length:
        what = f"a series name of {len(name)} characters, the limit is {limits.max_series_length}"
        return Refusal("too_large", what)
    fault = series_fault(name)
    return None if fault is None else Refusal("wrong_type", fault)


def _with_a_name(refusal: Refusal, limits: Limits) -> Refusal:
    """Return a refusal that names no series which cannot be one: logs and pages show the name."""
    if refusal.strangers and any(_refused_name(name, limits) is not None for name in refusal.strangers):
        refusal = refusal._replace(strangers=())
    return (_refused_name(refusal.series, limits) if refusal.series else None) or refusal


if TYPE_CHECKING:
    _: type[Codec] = FormCodec
