"""The record batches of an Arrow IPC stream inside a message, checked before they are used.

Buffers may not be compressed: a small message could grow to any size. Kafka compresses whole batches. Whether
they are stands in the metadata of a batch (`Message.fbs` of the Arrow format, read here by its flat buffer).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from connectors.formats.contract import RefusedError

_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_NUM_ROWS = 0
_FRAME = struct.Struct("<Ii")
_MARK = 0xFFFFFFFF
_DATA_OF_DICTIONARY, _COMPRESSION = 1, 3
_MOST_REMEMBERED = 100
_LARGEST_REMEMBERED = 1 << 16
"""Bytes of a schema that is remembered; about 500 columns have as many."""
_MOST_CELLS = 4_000_000
"""Rows of a message times channels of the model: 32 MB of values."""


class Frames(NamedTuple):
    """A stream in two parts: the bytes of its schema, and those of its batches without the end."""

    head: bytes
    body: memoryview
    num_rows: int


class _Layout(NamedTuple):
    """What the metadata of a part say: whether it is a schema, its bytes behind them, and its rows."""

    is_schema: bool
    num_body_bytes: int
    num_rows: int


class Streams:
    """Opens the streams of messages. Schemas are remembered, since most messages have the same one."""

    def __init__(self, num_channels: int = 1) -> None:
        """Set the number of channels: a row takes 8 bytes for each."""
        self._num_channels = num_channels
        self._schemas: dict[bytes, pa.Schema] = {}
        self._checked: dict[bytes, bool] = {}
        self._layouts: dict[bytes, _Layout] = {}

    def frames(self, value: bytes) -> Frames | None:
        """Return the parts of a plain message, so that many can be read as one stream.

        None of others, with which `batches` finds out: they have dictionaries, are compressed, too large, or
        no stream.
        """
        try:
            found = self._frames(value)
        except (struct.error, LookupError, ValueError):
            return None
        is_usual = 0 < found.num_rows <= len(value) and found.num_rows * self._num_channels <= _MOST_CELLS
        return found if is_usual else None

    def _frames(self, value: bytes) -> Frames:
        """Return the parts. Raises ValueError, LookupError or struct.error for an unusual message."""
        head, num_rows, at = b"", 0, 0
        while at < len(value):
            mark, size = _FRAME.unpack_from(value, at)
            if mark != _MARK or size < 0 or size % 8:
                raise ValueError("not framed as streams are today")
            if size == 0:
                break
            metadata = value[at + 8 : at + 8 + size]
            layout = self._layouts.get(metadata)
            if layout is None:
                layout = _layout_of(metadata)
                _remember(self._layouts, metadata, layout)
            at += 8 + size + layout.num_body_bytes
            if layout.is_schema != (not head):
                raise ValueError("not a schema and batches")
            if not head:
                head = value[:at]
            num_rows += layout.num_rows
        if not len(value) - 8 <= at <= len(value):
            raise ValueError("not as long as its parts")
        return Frames(head, memoryview(value)[len(head) : at], num_rows)

    def batches(self, value: bytes) -> tuple[pa.Schema, list[pa.RecordBatch]]:
        """Return the rows of a message, which nobody has validated yet. Equal schemas are mostly one object.

        Raises RefusedError: it is no stream, has no row or too many, or is compressed.
        """
        buffer = pa.py_buffer(value)
        try:
            schema, batches = self._plain(buffer)
            if batches is None:
                with pa.ipc.open_stream(buffer) as stream:
                    schema, batches = stream.schema, list(stream)
        except (pa.ArrowException, OSError, ValueError, MemoryError, struct.error) as error:
            words = (str(error).splitlines() or [type(error).__name__])[0]
            raise RefusedError("malformed", f"no stream of Arrow IPC: {words[:200]}") from None
        num_rows = sum(batch.num_rows for batch in batches)
        if not num_rows:
            raise RefusedError("missing_field", "a stream without rows")
        if num_rows > len(value):  # columns of nulls can have any number of rows; a time or series has a byte
            raise RefusedError("malformed", f"{num_rows} rows in {len(value)} bytes")
        if num_rows * self._num_channels > _MOST_CELLS:
            what = f"{num_rows} rows for {self._num_channels} channels, the limit is {_MOST_CELLS} values"
            raise RefusedError("too_large", what)
        return schema, batches

    def _plain(self, buffer: pa.Buffer) -> tuple[pa.Schema, list[pa.RecordBatch] | None]:
        """Return the schema and the rows; no rows if it has dictionaries. Raises for compressed buffers."""
        reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(buffer))
        schema: pa.Schema = None
        batches: list[pa.RecordBatch] | None = []
        for message in reader:
            metadata = message.metadata.to_pybytes()
            if message.type == "schema" and schema is None:
                schema = self._schema(metadata, message)
                continue
            if metadata not in self._checked:
                _check(metadata)
                _remember(self._checked, metadata, True)
            if message.type != "record batch" or schema is None:
                batches = None
            elif batches is not None:
                batches.append(pa.ipc.read_record_batch(message, schema))
        return schema, None if schema is None else batches

    def _schema(self, metadata: bytes, message: pa.ipc.Message) -> pa.Schema:
        schema = self._schemas.get(metadata)
        if schema is None:
            schema = pa.ipc.read_schema(message)
            _remember(self._schemas, metadata, schema)
        return schema


def read_together(head: bytes, bodies: Sequence[memoryview]) -> pa.Table:
    """Return the rows of plain messages of one schema, in order. Raises what pyarrow does."""
    with pa.ipc.open_stream(pa.py_buffer(b"".join((head, *bodies)))) as stream:
        return stream.read_all()


def _layout_of(metadata: bytes) -> _Layout:
    """Return what metadata say. Raises ValueError for a part that is no schema and no plain batch."""
    table = struct.unpack_from("<I", metadata, 0)[0]
    body = _offset(metadata, table, _BODY_LENGTH)
    num_body_bytes = struct.unpack_from("<q", metadata, table + body)[0] if body else 0
    if num_body_bytes < 0 or num_body_bytes % 8:
        raise ValueError("a body of an unusual length")
    kind = metadata[_at(metadata, table, _HEADER_TYPE)]
    if kind == _SCHEMA:
        return _Layout(True, num_body_bytes, 0)
    if kind != _RECORD_BATCH:
        raise ValueError("a dictionary")
    _check(metadata)
    batch = _follow(metadata, table, _HEADER)
    length = _offset(metadata, batch, _NUM_ROWS)
    return _Layout(
        False, num_body_bytes, struct.unpack_from("<q", metadata, batch + length)[0] if length else 0
    )


def _remember(known: dict[bytes, Any], metadata: bytes, what: Any) -> None:
    if len(metadata) > _LARGEST_REMEMBERED:
        return
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known[metadata] = what


def _check(metadata: bytes) -> None:
    """Raise ValueError for a batch whose buffers are compressed, and for anything that is no batch."""
    table = struct.unpack_from("<I", metadata, 0)[0]
    kind = metadata[_at(metadata, table, _HEADER_TYPE)]
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        raise ValueError("a part that is neither a schema, a dictionary nor a batch")
    batch = _follow(metadata, table, _HEADER)
    if kind == _DICTIONARY_BATCH:
        batch = _follow(metadata, batch, _DATA_OF_DICTIONARY)
    if _offset(metadata, batch, _COMPRESSION):
        raise ValueError("its buffers are compressed; leave compression to Kafka")


def _offset(metadata: bytes, table: int, slot: int) -> int:
    """Return where a field is from the start of its table; 0 where it is absent."""
    vtable = table - int(struct.unpack_from("<i", metadata, table)[0])
    size = int(struct.unpack_from("<H", metadata, vtable)[0])
    place = 4 + 2 * slot
    return int(struct.unpack_from("<H", metadata, vtable + place)[0]) if place < size else 0


def _at(metadata: bytes, table: int, slot: int) -> int:
    offset = _offset(metadata, table, slot)
    if not offset:
        raise ValueError("a field of the metadata is absent")
    return table + offset


def _follow(metadata: bytes, table: int, slot: int) -> int:
    """Return where the table is to which a field points."""
    at = _at(metadata, table, slot)
    return at + int(struct.unpack_from("<I", metadata, at)[0])


def columns_in(value: bytes) -> dict[str, str]:
    """Return the columns of a stream and what they hold: `time`, `text`, `number` or `other`.

    Raises RefusedError where the message is no stream.
    """
    schema, _ = Streams().batches(value)
    return {column.name: _kind(column.type) for column in schema}


def _kind(held: pa.DataType) -> str:
    plain = held.value_type if pa.types.is_dictionary(held) else held
    if pa.types.is_timestamp(plain):
        return "time"
    if pa.types.is_string(plain) or pa.types.is_large_string(plain):
        return "text"
    return "number" if pa.types.is_integer(plain) or pa.types.is_floating(plain) else "other"
