"""Decodes wide JSON messages into readings.

    {"series": "pump-17", "timestamp": 1767225600000, "values": {"temperature": 21.3, "pressure": null}}

`timestamp` and the values follow the rules of `connectors.times` and `connectors.values`.
A boolean is 0 or 1. A channel that is absent, null, NaN or infinite is missing. Field names are configurable.

A message that cannot be decoded becomes a `Reject`. Decoding never raises, and a bad message does not
affect the valid ones around it. Decoding is deterministic: any cut of a stream into batches gives the
same readings and rejects.

The hot path decodes each message once, into a strict structure with exactly the configured channels.
Any other message takes the slow path, which finds out what is wrong, if anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, Protocol, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors.errors import CodecError
from connectors.names import channels_fault
from connectors.records import Decoded, Raw, RawColumns, Readings, Reject
from connectors.times import Clock, times_of
from connectors.wide_json.cells import cells_of, table_of, without_nan
from connectors.wide_json.encoder import FieldNames
from connectors.wide_json.limits import Limits, Moment, Refusal, refused_time, rows_beyond

__all__ = ["Decoded", "FieldNames", "JsonWideCodec", "Limits", "Raw", "RawColumns"]

_MAX_DETAIL_LENGTH = 300
_CLOCK = Clock()
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Message(Protocol):
    """The structure that `JsonWideCodec` builds for its fields and channels."""

    series: str
    timestamp: int | float | str
    values: Any


class _Parsed(NamedTuple):
    """Messages with their cells (float64 [messages, channels]), and refusals by row of the batch."""

    messages: list[_Message]
    values: NDArray[np.float64]
    refusals: dict[int, Refusal]
    unknown_values: int


class JsonWideCodec:
    """Decodes wide JSON into columns of the given channels, in the given order.

    >>> codec = JsonWideCodec(("temperature",))
    >>> value = b'{"series": "pump-17", "timestamp": 1767225600000, "values": {"temperature": 21.3}}'
    >>> decoded = codec.decode([Raw("readings", 0, 7, 1767225600000, b"pump-17", value)])
    >>> decoded.readings.names, decoded.readings.values.tolist()
    (('pump-17',), [[21.3]])

    Raises CodecError for channels or field names that cannot decode anything.
    """

    def __init__(
        self, channels: tuple[str, ...], fields: FieldNames | None = None, limits: Limits | None = None
    ) -> None:
        self.channels = channels
        self.fields = fields or FieldNames()
        self.limits = limits or Limits()
        _check_names(self.channels, self.fields)
        self._known = frozenset(channels)
        self._no_cells = (None,) * len(channels)
        self._cells_of = cells_of(channels)
        try:
            self._decode_strict = self._decoder(self._cells_of.strict)
            self._decode_lenient = self._decoder(self._cells_of.lenient)
            self._decode_keys = self._decoder(dict[str, msgspec.Raw])
            self._decode_series = self._series_decoder()
        except ValueError as error:  # msgspec: a field that needs escaping in JSON
            raise CodecError(f"a field name cannot be used in JSON messages: {error}; rename it") from error

    def decode(self, records: Sequence[Raw]) -> Decoded:
        """Decode messages in order of arrival. Never raises for anything that a message contains."""
        return self.decode_columns(RawColumns.of(records))

    def decode_columns(self, raw: RawColumns) -> Decoded:
        """Decode messages given as columns. Never raises for anything that a message contains."""
        parsed = self._parse_all(raw) or self._parse_each(raw)
        messages, values, refusals = parsed.messages, parsed.values, parsed.refusals
        index = _without(len(raw), refusals)
        timestamp_ns = times_of([message.timestamp for message in messages])
        bad_times = self._refuse_timestamps(raw.timestamp_ms[index], messages, timestamp_ns)
        if bad_times:
            refusals |= {int(index[row]): refusal for row, refusal in bad_times.items()}
            keep = _without(len(messages), bad_times)
            messages = [messages[row] for row in keep]
            index, values, timestamp_ns = index[keep], values[keep], timestamp_ns[keep]
        names, series = encode_names([message.series for message in messages])
        readings = Readings(names, series, timestamp_ns, values, raw.partition[index], raw.offset[index])
        rejects = tuple(reject_of(raw, row, refusals[row]) for row in sorted(refusals))
        return Decoded(readings, rejects, parsed.unknown_values)

    def _series_decoder(self) -> Callable[[bytes], Any]:
        """Return the decoder of the series alone, for messages whose other fields are faulty."""
        name = msgspec.Meta(min_length=1, max_length=self.limits.max_series_length)
        field = ("series", Annotated[str, name], msgspec.field(name=self.fields.series))
        decode: Callable[[bytes], Any] = msgspec.json.Decoder(msgspec.defstruct("Named", [field])).decode
        return decode

    def _series_in(self, value: bytes) -> str:
        """Return the series of a message that cannot be read, "" where it has none."""
        try:
            return str(self._decode_series(value).series)
        except _UNREADABLE:
            return ""

    def _decoder(self, values: Any) -> Callable[[bytes], _Message]:
        name = msgspec.Meta(min_length=1, max_length=self.limits.max_series_length)
        message = msgspec.defstruct(
            "Message",
            [
                ("series", Annotated[str, name], msgspec.field(name=self.fields.series)),
                ("timestamp", int | float | str, msgspec.field(name=self.fields.timestamp)),
                ("values", values, msgspec.field(name=self.fields.values)),
            ],
            gc=False,
        )
        decode: Any = msgspec.json.Decoder(message).decode
        return cast(Callable[[bytes], _Message], decode)

    def _parse_all(self, raw: RawColumns) -> _Parsed | None:
        """Decode on the hot path. Return None if a message has an unknown channel or no value."""
        values: Any = raw.value
        try:
            if max(map(len, values), default=0) > self.limits.max_bytes:
                return None
            messages = list(map(self._decode_strict, values))
        except (TypeError, *_UNREADABLE):
            return None
        cells = self._cells(messages)
        return None if np.isnan(cells).all(axis=1).any() else _Parsed(messages, cells, {}, 0)

    def _parse_each(self, raw: RawColumns) -> _Parsed:
        """Decode on the slow path, message by message, since some message of the batch is unusual.

        The strict structure is tried first as long as the previous message fitted it, because it is cheaper.
        """
        messages: list[_Message] = []
        refusals: dict[int, Refusal] = {}
        unknown_values = 0
        usual = True
        for row, value in enumerate(raw.value):
            message: _Message | Refusal | None = self._parse_usual(value) if usual else None
            if message is None:
                message, num_unknown = self._parse_unusual(value)
                usual = num_unknown == 0
                unknown_values += num_unknown
            if isinstance(message, Refusal):
                refusals[row] = message
            else:
                messages.append(message)
        return _Parsed(messages, self._cells(messages), refusals, unknown_values)

    def _parse_usual(self, value: bytes | None) -> _Message | None:
        """Return the message if it fits the hot path, else None."""
        if value is None or len(value) > self.limits.max_bytes:
            return None
        try:
            message = self._decode_strict(value)
        except _UNREADABLE:
            return None
        return None if tuple(self._cells_of.row(message.values)) == self._no_cells else message

    def _parse_unusual(self, value: bytes | None) -> tuple[_Message | Refusal, int]:
        """Return the message or its refusal, and the number of values of unknown channels."""
        if value is None:
            return Refusal("not_json", "the message has no value (a tombstone)"), 0
        if len(value) > self.limits.max_bytes:
            return Refusal("too_large", f"{len(value)} bytes, the limit is {self.limits.max_bytes}"), 0
        value = without_nan(value)
        try:
            message = self._decode_lenient(value)
            message.values = self._cells_of.known(message.values)
            cells: Any = self._decode_keys(value).values
        except _UNREADABLE as error:
            return self._classify(error)._replace(series=self._series_in(value)), 0
        unknown = cells.keys() - self._known
        if unknown and self.limits.unknown_channels == "reject":
            detail = f"channel {min(unknown)!r} is not configured"
            return Refusal("unknown_channel", detail, message.series), 0
        if len(unknown) == len(cells):
            found = f"only channels such as {min(unknown)!r}" if unknown else "no values"
            detail = f"{found}, expected such as {self.channels[0]!r}"
            return Refusal("no_known_channel", detail, message.series), 0
        return message, len(unknown)

    def _classify(self, error: Exception) -> Refusal:
        """Return the refusal: a reason for the metric label, and the decoder's own text as detail."""
        text = str(error)
        if isinstance(error, RecursionError):
            return Refusal("not_json", "nested too deeply")
        if not isinstance(error, msgspec.ValidationError):
            return Refusal("not_json", text)
        if "missing required field" in text or "of length >=" in text:
            return Refusal("missing_field", text)
        if "of length <=" in text:
            return Refusal("too_large", text)
        if "out of range" in text:
            is_timestamp = text.endswith(f"`$.{self.fields.timestamp}`")
            return Refusal("bad_timestamp" if is_timestamp else "not_finite", text)
        return Refusal("wrong_type", text)

    def _cells(self, messages: Sequence[_Message]) -> NDArray[np.float64]:
        """Return float64 [messages, channels], NaN for absent and null."""
        return table_of(self._cells_of, [message.values for message in messages], len(self.channels))

    def _refuse_timestamps(
        self, broker_ms: NDArray[np.int64], messages: Sequence[_Message], timestamp_ns: NDArray[np.int64]
    ) -> dict[int, Refusal]:
        """Return the refusals of messages with an impossible time, by row of `messages`."""
        refused = rows_beyond(timestamp_ns, broker_ms, self.limits).tolist()
        return {
            row: refused_time(
                Moment(messages[row].timestamp, int(timestamp_ns[row]), int(broker_ms[row])),
                self.limits,
                _CLOCK,
            )._replace(series=messages[row].series)
            for row in refused
        }


def _check_names(channels: tuple[str, ...], fields: FieldNames) -> None:
    fault = channels_fault(channels)
    if fault is not None:
        raise CodecError(fault)
    if len({fields.series, fields.timestamp, fields.values}) < 3:
        raise CodecError(
            f"the fields series, timestamp and values need three different names, found {fields}"
        )


def _without(num_rows: int, refused: dict[int, Refusal]) -> NDArray[np.intp]:
    rows = np.arange(num_rows)
    return np.delete(rows, list(refused)) if refused else rows


def encode_names(series: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the distinct names in order of first appearance, and int32 [n], each row's index into them."""
    code = {name: number for number, name in enumerate(dict.fromkeys(series))}
    return tuple(code), np.fromiter(map(code.__getitem__, series), np.int32, len(series))


def reject_of(raw: RawColumns, row: int, refusal: Refusal) -> Reject:
    """Return a refused message as it goes to the dead letters."""
    return Reject(
        refusal.reason,
        refusal.detail[:_MAX_DETAIL_LENGTH],
        raw.topic[row],
        int(raw.partition[row]),
        int(raw.offset[row]),
        raw.key[row],
        raw.value[row] or b"",
        refusal.series,
        refusal.strangers,
    )
