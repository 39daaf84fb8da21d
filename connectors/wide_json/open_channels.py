"""Decodes wide JSON of series whose channels nobody has named yet, beside those of a codec.

A series is *open* if `is_open` returns True for its name. Messages of other series are decoded by the inner
codec, as if there were no open ones. Of an open series every number is a value of a channel, and text, lists
and objects are left out. So a message that another series cannot read spoils nothing here, and nothing there.

The columns of `Readings.values` are those of the inner codec, then the open channels in the order in which
they came. A channel keeps its column for as long as the process runs. A cut of a stream into batches may
change which column a channel has, and never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors.names import channels_fault
from connectors.records import Codec, Decoded, RawColumns, Readings
from connectors.wide_json.cells import without_nan
from connectors.wide_json.decoder import FieldNames, JsonWideCodec
from connectors.wide_json.limits import Limits

_NUMBERS = frozenset(b"-0123456789tf")
_MOST_CUT = 10_000
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class OpenNames:
    """Holds the open channels in the order in which they came, at most `most` of them.

    Attributes:
        cut: series that had a further channel when there were as many; at most 10,000.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, None] = {}
        self.cut: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The channels; their number only grows."""
        return tuple(self._known)

    def takes(self, name: str, series: str) -> bool:
        """Return whether a name is a channel; a new one becomes one, unless there are too many."""
        if name in self._known:
            return True
        if channels_fault((name,)) is not None:
            return False
        if len(self._known) >= self._most:
            if len(self.cut) < _MOST_CUT:
                self.cut.add(series)
            return False
        self._known[name] = None
        return True


class OpenCodec:
    """Decodes series of an inner codec, and all others with the channels that they have (`Codec`).

    Args:
        inner: decodes series that are not open; None where all are.
        fields: where a message has what; the inner codec has the same.
        limits: what is refused.
        is_open: whether a series is open, by its name.
        names: the open channels, which grow.
    """

    def __init__(
        self,
        inner: Codec | None,
        fields: FieldNames,
        limits: Limits,
        is_open: Callable[[str], bool],
        names: OpenNames,
    ) -> None:
        self._inner, self._fields, self._is_open, self._names = inner, fields, is_open, names
        self._limits = replace(limits, unknown_channels="ignore")
        self._own = () if inner is None else inner.channels
        self.channels: tuple[str, ...] = (*self._own, *names.names)
        """The columns of the inner codec, and the open channels that were known after the last call."""
        self._codec: JsonWideCodec | None = None
        self._series = _decoder(fields, {"series": str})
        self._cells = _decoder(
            fields, {"series": str, "timestamp": msgspec.Raw, "values": dict[str, msgspec.Raw]}
        )

    def decode_columns(self, raw: RawColumns) -> Decoded:
        """Decode messages in order of arrival. Never raises for anything that a message contains."""
        is_open = np.array([self._is_open_message(value) for value in raw.value], np.bool_)
        if self._inner is None:
            return self._decode_open(raw)
        if not is_open.any():
            return self._wide(self._inner.decode_columns(raw), 0)
        rows = np.arange(len(raw))
        own = self._inner.decode_columns(_rows_of(raw, rows[~is_open]))
        return _joined(raw, self._wide(own, 0), self._decode_open(_rows_of(raw, rows[is_open])))

    def _is_open_message(self, value: bytes | None) -> bool:
        """Return whether a message is one of an open series; one without a series is not."""
        if value is None:
            return False
        try:
            found = self._series(without_nan(value))
        except _UNREADABLE:
            return False
        return bool(found.series) and self._is_open(found.series)

    def _decode_open(self, raw: RawColumns) -> Decoded:
        """Decode messages of open series, after their channels are known."""
        values = [self._numbers_of(value) for value in raw.value]
        names = self._names.names
        if self._codec is None or self._codec.channels != names:
            self._codec = JsonWideCodec(names or ("value",), self._fields, self._limits)
        found = self._codec.decode_columns(replace(raw, value=values))
        if any(new is not old for new, old in zip(values, raw.value, strict=True)) and found.rejects:
            whole = {
                (int(partition), int(offset)): value or b""
                for partition, offset, value in zip(raw.partition, raw.offset, raw.value, strict=True)
            }
            rejects = tuple(replace(one, value=whole[one.partition, one.offset]) for one in found.rejects)
            found = replace(found, rejects=rejects)
        if not names:
            found = replace(found, readings=replace(found.readings, values=found.readings.values[:, :0]))
        self.channels = (*self._own, *names)
        return self._wide(found, len(self._own))

    def _numbers_of(self, value: bytes | None) -> bytes | None:
        """Return a message without the values that are no numbers of a channel; a faulty one as it is."""
        if value is None or len(value) > self._limits.max_bytes:
            return value
        value = without_nan(value)
        try:
            message: Any = self._cells(value)
        except _UNREADABLE:
            return value
        kept = {
            name: cell
            for name, cell in message.values.items()
            if (bytes(cell)[:1] == b"n" or bytes(cell)[0] in _NUMBERS)
            and self._names.takes(name, message.series)
        }
        if len(kept) == len(message.values):
            return value
        fields = self._fields
        return msgspec.json.encode(
            {fields.series: message.series, fields.timestamp: message.timestamp, fields.values: kept}
        )

    def _wide(self, found: Decoded, first: int) -> Decoded:
        """Return what was decoded in the columns of all channels, from column `first` on."""
        readings, width = found.readings, len(self.channels)
        if readings.values.shape[1] == width:
            return found
        values = np.full((len(readings), width), np.nan)
        values[:, first : first + readings.values.shape[1]] = readings.values
        return replace(found, readings=replace(readings, values=values))


def _decoder(fields: FieldNames, wanted: dict[str, Any]) -> Callable[[bytes], Any]:
    """Return a decoder of some of the fields of a message."""
    described = [(name, kind, msgspec.field(name=getattr(fields, name))) for name, kind in wanted.items()]
    decode: Any = msgspec.json.Decoder(msgspec.defstruct("Open", described)).decode
    found: Callable[[bytes], Any] = decode
    return found


def _rows_of(raw: RawColumns, rows: NDArray[np.intp]) -> RawColumns:
    """Return some of the messages."""

    def some(column: Sequence[Any]) -> list[Any]:
        return [column[row] for row in rows.tolist()]

    return RawColumns(
        some(raw.topic),
        raw.partition[rows],
        raw.offset[rows],
        raw.timestamp_ms[rows],
        some(raw.key),
        some(raw.value),
        some(raw.headers),
    )


def _joined(raw: RawColumns, one: Decoded, other: Decoded) -> Decoded:
    """Return what two parts of some messages gave, in order of arrival; their series differ."""
    row = {
        place: at for at, place in enumerate(zip(raw.partition.tolist(), raw.offset.tolist(), strict=True))
    }
    first, second = one.readings, other.readings
    partition = np.concatenate([first.partition, second.partition])
    offset = np.concatenate([first.offset, second.offset])
    order = np.argsort(
        [row[place] for place in zip(partition.tolist(), offset.tolist(), strict=True)], kind="stable"
    ).astype(np.intp)
    width = max(first.values.shape[1], second.values.shape[1])
    values = np.full((len(order), width), np.nan)
    values[: len(first), : first.values.shape[1]] = first.values
    values[len(first) :, : second.values.shape[1]] = second.values
    readings = Readings(
        (*first.names, *second.names),
        np.concatenate([first.series, second.series + np.int32(len(first.names))])[order],
        np.concatenate([first.timestamp_ns, second.timestamp_ns])[order],
        values[order],
        partition[order],
        offset[order],
    )
    rejects = sorted((*one.rejects, *other.rejects), key=lambda reject: row[reject.partition, reject.offset])
    return Decoded(
        readings,
        tuple(rejects),
        one.unknown_values + other.unknown_values,
        {**one.strangers, **other.strangers},
    )
