"""The record batches of an Arrow IPC stream inside a message, checked before they are used.

Buffers may not be compressed: a small message could grow to any size. Kafka compresses whole batches. Whether
they are stands in the metadata of a batch (`Message.fbs` of the Arrow format, read here by its flat buffer).
"""

from __future__ import annotations

import struct

import pyarrow as pa

from connectors.formats.contract import RefusedError

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_HEADER_TYPE, _HEADER = 1, 2
_DATA_OF_DICTIONARY, _COMPRESSION = 1, 3
_MOST_SCHEMAS = 100
_MOST_ROWS_A_BYTE = 8
"""A column of booleans has as many. Columns of nulls would have any number."""


class Streams:
    """Opens the streams of messages. Schemas are remembered, since most messages have the same one."""

    def __init__(self) -> None:
        self._schemas: dict[bytes, pa.Schema] = {}

    def table(self, value: bytes) -> pa.Table:
        """Return the rows of a message, which nobody has validated yet.

        Raises RefusedError: it is no stream, has no row, or is compressed.
        """
        buffer = pa.py_buffer(value)
        try:
            table = self._plain(buffer)
            if table is None:
                with pa.ipc.open_stream(buffer) as stream:
                    table = stream.read_all()
        except (pa.ArrowException, OSError, ValueError, MemoryError, struct.error) as error:
            words = (str(error).splitlines() or [type(error).__name__])[0]
            raise RefusedError("malformed", f"no stream of Arrow IPC: {words[:200]}") from None
        if not table.num_rows:
            raise RefusedError("missing_field", "a stream without rows")
        if not 0 < table.num_rows <= _MOST_ROWS_A_BYTE * len(value):
            raise RefusedError("malformed", f"{table.num_rows} rows in {len(value)} bytes")
        return table

    def _plain(self, buffer: pa.Buffer) -> pa.Table | None:
        """Return the rows of a stream without dictionaries; None of others. Raises for compressed buffers."""
        reader = pa.ipc.MessageReader.open_stream(buffer)
        schema: pa.Schema = None
        batches: list[pa.RecordBatch] | None = []
        for message in reader:
            metadata = message.metadata.to_pybytes()
            if message.type == "schema" and schema is None:
                schema = self._schema(metadata, message)
                continue
            _check(metadata)
            if message.type != "record batch" or schema is None:
                batches = None
            elif batches is not None:
                batches.append(pa.ipc.read_record_batch(message, schema))
        return None if batches is None or schema is None else pa.Table.from_batches(batches, schema)

    def _schema(self, metadata: bytes, message: pa.ipc.Message) -> pa.Schema:
        schema = self._schemas.get(metadata)
        if schema is None:
            schema = pa.ipc.read_schema(message)
            if len(self._schemas) >= _MOST_SCHEMAS:
                self._schemas.clear()
            self._schemas[metadata] = schema
        return schema


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
