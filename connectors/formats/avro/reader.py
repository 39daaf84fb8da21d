"""Reads Avro with a schema registry: a zero byte, four bytes of the schema's number, the body.

Each message is read by the schema that it was written with, so that messages of several versions may be on
one topic. What comes out is like JSON: records are objects, with the places of `connectors.formats.places`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from connectors.errors import CodecError, WaitingError
from connectors.formats.avro.registry import SchemaRegistry
from connectors.formats.avro.schemas import SchemaError
from connectors.formats.channels import Columns
from connectors.formats.contract import Reader, RefusedError, Table
from connectors.formats.form import Form
from connectors.formats.objects.long import LongReader
from connectors.formats.objects.wide import WideReader
from connectors.records import RawColumns
from connectors.wide_json.limits import Limits

HEAD_BYTES = 5


class AvroReader:
    """Reads a row from each record, or from each element of an array inside it.

    Raises CodecError for places that are none, and where there is no registry.
    """

    def __init__(self, form: Form, columns: Columns, limits: Limits) -> None:
        self._registry = form.schemas
        inner = WideReader if form.kind == "avro" else LongReader
        self._reader: Reader = inner(form, columns, limits, self._body)
        self.clock = self._reader.clock

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival. Raises WaitingError where a schema cannot be fetched now."""
        self._wait_for(raw)
        return self._reader.read(raw)

    def _wait_for(self, raw: RawColumns) -> None:
        """Fetch the schemas of messages. Raises WaitingError that names the first message without one."""
        numbers = [number_of(value) for value in raw.value]
        wanted = {number for number in numbers if number is not None}
        if not wanted:
            return
        registry = registry_of(self._registry)
        registry.fetch(wanted)
        waiting = {number for number in wanted if not registry.is_settled(number)}
        if not waiting:
            return
        begins: dict[tuple[str, int], int] = {}
        for at, number in enumerate(numbers):
            if number in waiting:
                begins.setdefault((raw.topic[at], int(raw.partition[at])), int(raw.offset[at]))
        shown = ", ".join(map(str, sorted(waiting)[:3]))
        words = f"schema {shown} cannot be fetched from {registry.shown}: {registry.status.problem}"
        raise WaitingError(words, begins, registry.retry_seconds)

    def _body(self, value: bytes) -> Any:
        return record_in(value, registry_of(self._registry))


def registry_of(registry: SchemaRegistry | None) -> SchemaRegistry:
    """Return the registry. Raises CodecError if there is none."""
    if registry is None:
        raise CodecError("format avro needs a schema registry: set url in [schema_registry]")
    return registry


def number_of(value: bytes | None) -> int | None:
    """Return the number of a message's schema; None where it begins in another way.

    >>> number_of(bytes([0, 0, 0, 1, 2, 6])), number_of(b"{}")
    (258, None)
    """
    if value is None or len(value) < HEAD_BYTES or value[0]:
        return None
    return int.from_bytes(value[1:HEAD_BYTES], "big")


def record_in(value: bytes, registry: SchemaRegistry) -> Any:
    """Return the record of a message whose schema is settled. Raises RefusedError."""
    number = number_of(value)
    if number is None:
        what = f"{len(value)} bytes" if len(value) < HEAD_BYTES else f"a first byte of {value[0]}"
        raise RefusedError("malformed", f"{what}, expected a zero byte and the number of a schema")
    try:
        schema = registry.schema(number)
    except SchemaError as error:
        raise RefusedError("unknown_schema", f"{error!s:.250}") from None
    body = BytesIO(value)
    body.seek(HEAD_BYTES)
    return _decoded(body, len(value), lambda: schemaless_reader(body, schema, None))


def _decoded(body: BytesIO, size: int, decode: Callable[[], Any]) -> Any:
    try:
        found = decode()
    except (EOFError, struct.error):
        raise RefusedError("malformed", "no record of its schema: it ends too early") from None
    except LookupError:
        raise RefusedError("malformed", "no record of its schema: a choice that the schema lacks") from None
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        words = (str(error).splitlines() or [""])[0][:100]
        raise RefusedError("malformed", f"no record of its schema: {type(error).__name__} {words}") from None
    if body.tell() != size:
        raise RefusedError("malformed", f"{size - body.tell()} bytes behind the record of its schema")
    return found
