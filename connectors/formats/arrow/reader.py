"""Reads Arrow IPC: a stream with its schema and record batches in each message, one row a reading.

`$.NAME` is a column. The column of times is a timestamp, which has its own unit and zone, or a number or text
that follows the clock. Other columns of numbers and booleans are channels. Messages of one schema are read
together, so that the cost of a message is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.formats.arrow.batches import Frames, Streams, read_together
from connectors.formats.channels import Columns
from connectors.formats.contract import RefusedError, Table, usable
from connectors.formats.form import Form
from connectors.formats.places import Path, SeriesPlace, TimePlace, check_single
from connectors.records import RawColumns
from connectors.times import INVALID_NS, NS_PER_MS, NS_PER_UNIT, Clock, times_of_numbers
from connectors.wide_json.decoder import encode_names
from connectors.wide_json.limits import Limits, Refusal

_MOST_TEXT_BYTES = 1 << 26
"""A text of a dictionary stands in it once, but in the column once for each row."""
_Names = tuple[tuple[str, ...], NDArray[np.int32]]
_Batches = list[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of some messages of one schema. `message` is intp [n]; the rest as in `Table`."""

    message: NDArray[np.intp]
    names: tuple[str, ...]
    codes: NDArray[np.int32]
    stamps: NDArray[Any]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]


class _NoChannelError(Exception):
    """Raised for messages without a column of a known channel."""


class ArrowReader:
    """Reads the rows of record batches. Raises CodecError for places that are none."""

    def __init__(self, form: Form, columns: Columns, limits: Limits) -> None:
        self.clock = form.clock or Clock()
        self._series, self._time = SeriesPlace(form.series), TimePlace(form.time)
        self._columns, self._limits, self._streams = columns, limits, Streams(columns.num)
        paths = [*self._series.paths, *([self._time.path] if self._time.path else [])]
        check_single(paths, "a column")
        self._no_values = {str(path.steps[0]) for path in paths}

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival."""
        refusals: dict[int, Refusal] = {}
        unknown: Counter[str] = Counter()
        parts = []
        values = dict(usable(raw, self._limits, refusals, "malformed"))
        for same in _by_schema(values, self._streams):
            part = self._part(raw, same, refusals, unknown)
            if isinstance(part, _Part):
                parts.append(part)
                continue
            for at in same:
                alone = self._alone(raw, at, values[at], refusals, unknown)
                if isinstance(alone, _Part):
                    parts.append(alone)
                else:
                    refusals[at] = alone
        return self._joined(parts, refusals, unknown)

    def _alone(
        self, raw: RawColumns, at: int, value: bytes, refusals: dict[int, Refusal], unknown: Counter[str]
    ) -> _Part | Refusal:
        """Return the rows of one message, or why it is refused."""
        try:
            _, batches = self._streams.batches(value)
        except RefusedError as error:
            return error.refusal
        return self._part(raw, {at: batches}, refusals, unknown)

    def _part(
        self,
        raw: RawColumns,
        same: Mapping[int, Frames | _Batches],
        refusals: dict[int, Refusal],
        unknown: Counter[str],
    ) -> _Part | Refusal:
        """Return the rows of messages of one schema, or why one of the messages is refused."""
        try:
            table, sizes = _table_of(list(same.values()))
            table.validate(full=True)
            _check_names(table.column_names)
            message = np.repeat(np.array(list(same), np.intp), sizes)
            table, message = self._complete(table, message, refusals)
            others = [name for name in table.column_names if self._is_other(table, name)]
            if others and self._columns.rejects_unknown:
                raise RefusedError("unknown_channel", f"channel {min(others)!r} is not configured")
            names, codes = self._names(raw, table, message)
            values = self._values(table)
            stamps, timestamp_ns = self._times(raw, table, message)
            counts = {name: table.num_rows - table.column(name).null_count for name in others}
        except RefusedError as error:
            return error.refusal
        except _NoChannelError as error:
            return Refusal("no_known_channel", str(error), names[0] if len(names) == 1 else "", names)
        except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError, TypeError) as error:
            return Refusal("malformed", f"a column cannot be read: {error!s:.200}")
        unknown.update(counts)
        return _Part(message, names, codes, stamps, timestamp_ns, values)

    def _complete(
        self, table: pa.Table, message: NDArray[np.intp], refusals: dict[int, Refusal]
    ) -> tuple[pa.Table, NDArray[np.intp]]:
        """Return the rows that have a series and a time; refuse the messages of the others."""
        paths = [*self._series.paths, *([self._time.path] if self._time.path else [])]
        columns = [(path, _column(table, path)) for path in paths]
        for path, column in columns:
            if column.null_count:
                lost = message[~column.is_valid().to_numpy()]
                words = Refusal("missing_field", f"column {path.text} is null in a row")
                refusals.update({at: refusals.get(at, words) for at in np.unique(lost).tolist()})
        masks = [column.is_valid().to_numpy() for _, column in columns if column.null_count]
        if not masks:
            return table, message
        mask = np.logical_and.reduce(masks)
        return table.filter(pa.array(mask)), message[mask]

    def _values(self, table: pa.Table) -> NDArray[np.float64]:
        """Return float64 [rows, channels]. Raises RefusedError, and _NoChannelError if no column is known."""
        known = [name for name in self._columns.at if name in table.column_names]
        if not known and self._columns.at:
            what = f"no column of a channel, expected such as {next(iter(self._columns.at))!r}"
            raise _NoChannelError(what)
        values = np.empty((table.num_rows, self._columns.num))
        if len(known) < self._columns.num:
            values.fill(np.nan)
        for name in known:
            values[:, self._columns.at[name]] = _numbers(_plain(table.column(name)), name)
        return values

    def _is_other(self, table: pa.Table, name: str) -> bool:
        """Whether a column has values of no channel."""
        if name in self._columns.at or name in self._no_values or not self._columns.takes(name):
            return False
        return _is_number(table.column(name).type)

    def _names(self, raw: RawColumns, table: pa.Table, message: NDArray[np.intp]) -> _Names:
        """Return the distinct series, and int32 [n], index into them. Raises RefusedError."""
        only = self._series.only
        if only is not None:
            return _texts(_column(table, only), only)
        columns = {
            str(path.steps[0]): _each(_texts(_column(table, path), path)) for path in self._series.paths
        }
        rows = zip(*columns.values(), strict=True) if columns else repeat((), table.num_rows)
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        found = [
            self._series.find(raw, at, one, one) for at, one in zip(message.tolist(), named, strict=True)
        ]
        return encode_names(found)

    def _times(
        self, raw: RawColumns, table: pa.Table, message: NDArray[np.intp]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the times of rows, as they were sent and in nanoseconds. Raises RefusedError."""
        if self._time.path is None:
            ms = raw.timestamp_ms[message]
            return ms, np.where(ms < 0, INVALID_NS, ms * NS_PER_MS)
        column, name = _column(table, self._time.path), self._time.path.text
        if pa.types.is_timestamp(column.type):
            return self._timestamps(column)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            numbers = column.to_numpy()
            return numbers, times_of_numbers(numbers, self.clock.unit)
        if _is_text(column.type):
            texts = column.to_pylist()
            return np.array(texts, object), self.clock.times_of(texts)
        raise RefusedError("wrong_type", f"column {name} has times of type {column.type}")

    def _timestamps(self, column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return times of a timestamp column; those without a zone are in the zone of the clock."""
        if column.type.tz is None and str(self.clock.zone) != "UTC":
            texts = [when.isoformat() for when in column.cast(pa.timestamp("us"), safe=False).to_pylist()]
            return np.array(texts, object), self.clock.times_of(texts)
        numbers = column.cast(pa.int64()).to_numpy()
        per_unit = NS_PER_UNIT[column.type.unit]
        most = np.iinfo(np.int64).max // per_unit
        is_time = (numbers >= -most) & (numbers <= most)
        return numbers, np.where(is_time, np.where(is_time, numbers, 0) * per_unit, INVALID_NS)

    def _joined(self, parts: list[_Part], refusals: dict[int, Refusal], unknown: Counter[str]) -> Table:
        """Return the rows of all parts in the order of the messages."""
        if not parts:
            empty = np.empty(0, np.int64)
            values = np.empty((0, self._columns.num))
            return Table(empty, (), empty.astype(np.int32), empty, empty, values, refusals, unknown)
        if len(parts) == 1:
            (only,) = parts
            head = (only.message, only.names, only.codes, only.stamps, only.timestamp_ns)
            return Table(*head, self._usable(only.values), refusals, unknown)
        message = np.concatenate([part.message for part in parts])
        order = np.argsort(message, kind="stable")
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        code = {name: number for number, name in enumerate(names)}
        codes = [np.array([code[name] for name in part.names], np.int32)[part.codes] for part in parts]
        values = np.concatenate([part.values for part in parts])[order]
        return Table(
            message[order],
            names,
            np.concatenate(codes)[order],
            np.concatenate([part.stamps for part in parts])[order],
            np.concatenate([part.timestamp_ns for part in parts])[order],
            self._usable(values),
            refusals,
            unknown,
        )

    def _usable(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values in the units of the channels; infinite ones are missing."""
        scaled = self._columns.scaled(values)
        is_infinite = np.isinf(scaled)
        return np.where(is_infinite, np.nan, scaled) if is_infinite.any() else scaled


def _by_schema(values: Mapping[int, bytes], streams: Streams) -> Iterator[Mapping[int, Frames | _Batches]]:
    """Yield row of the message -> its parts, of messages to read together; unusual ones are alone."""
    found: dict[bytes, dict[int, Frames]] = {}
    for at, value in values.items():
        frames = streams.frames(value)
        if frames is None:
            yield {at: []}
        else:
            found.setdefault(frames.head, {})[at] = frames
    yield from found.values()


def _table_of(parts: Sequence[Frames | _Batches]) -> tuple[pa.Table, list[int]]:
    """Return the rows of messages and how many each has. Raises what pyarrow does, and ValueError."""
    first = parts[0]
    if isinstance(first, list):
        return pa.Table.from_batches(first), [sum(batch.num_rows for batch in first)]
    frames = [one for one in parts if isinstance(one, Frames)]
    table, sizes = read_together(first.head, [one.body for one in frames]), [one.num_rows for one in frames]
    if table.num_rows != sum(sizes):
        raise ValueError("other rows than its parts say")
    return table, sizes


def _check_names(names: list[str]) -> None:
    """Raise RefusedError where two columns have one name: nobody can say which is meant."""
    if len(set(names)) < len(names):
        name, num = Counter(names).most_common(1)[0]
        raise RefusedError("malformed", f"{num} columns are called {name!r:.60}")


def _column(table: pa.Table, path: Path) -> pa.ChunkedArray:
    """Return the column that a path names. Raises RefusedError."""
    if str(path.steps[0]) not in table.column_names:
        raise RefusedError("missing_field", f"no column {path.text}")
    return _plain(table.column(str(path.steps[0])))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with its values in place of codes of a dictionary. Raises RefusedError: too large."""
    if not pa.types.is_dictionary(column.type):
        return column
    plain = column.type.value_type
    if _is_text(plain):
        longest = max(
            (pc.max(pc.binary_length(one.dictionary)).as_py() or 0 for one in column.chunks), default=0
        )
        if longest * len(column) > _MOST_TEXT_BYTES:
            raise RefusedError(
                "too_large", f"texts of {longest} bytes in a dictionary for {len(column)} rows"
            )
    elif not (_is_number(plain) or pa.types.is_timestamp(plain)):
        return column
    return column.cast(plain)


def _texts(column: pa.ChunkedArray, path: Path) -> _Names:
    """Return names of series: texts, or integers as texts. Raises RefusedError."""
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    if not _is_text(column.type):
        raise RefusedError("wrong_type", f"column {path.text} has series of type {column.type}")
    coded = pc.dictionary_encode(column.combine_chunks())
    return tuple(coded.dictionary.to_pylist()), coded.indices.to_numpy()


def _each(coded: _Names) -> list[str]:
    """Return the text of each row."""
    return [coded[0][code] for code in coded[1].tolist()]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def _numbers(column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    """Return the values of a channel, NaN where null. Raises RefusedError where they are no numbers."""
    if not (_is_number(column.type) or pa.types.is_null(column.type)):
        raise RefusedError("wrong_type", f"channel {name!r} has values of type {column.type}")
    if column.type == pa.float64() and not column.null_count:
        plain: NDArray[np.float64] = column.to_numpy()
        return plain
    found: NDArray[np.float64] = pc.cast(column, pa.float64(), safe=False).to_numpy()
    return found
