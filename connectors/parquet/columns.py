"""Which columns of many files are channels: the schemas of all files decide, in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.csv.dialect import is_csv
from connectors.csv.table import DECIMAL_SIGN, DOUBT, FAULT, WRITTEN
from connectors.errors import ParquetError
from connectors.names import RESERVED
from connectors.values import Kind

TIMESTAMP, SERIES, LABEL, SPLIT = "timestamp", "series", "label", "split"
_INDEX = "__index_level_"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a data set, over all its files.

    kind      what all files that have values say it is
    types     the Parquet types, in order of appearance
    present   the files that have values of it
    fault     the cell that makes a column of a CSV file text, where most are numbers; "" without one
    written   how a number of a CSV file with signs between thousands is read; "" without one
    """

    name: str
    kind: Kind
    types: tuple[str, ...]
    present: tuple[Path, ...]
    fault: str = ""
    written: str = ""


def columns_of(schemas: Mapping[Path, pa.Schema]) -> dict[str, Column]:
    """Return the columns that are neither reserved nor a nameless index, in order of appearance.

    Raises:
        ParquetError: a column is a number in one file and something else in another; both are named.
    """
    names = dict.fromkeys(
        name
        for schema in schemas.values()
        for name in schema.names
        # pandas writes an unnamed index as a column; it counts rows and measures nothing.
        if name not in RESERVED and not name.startswith(_INDEX)
    )
    return {name: _column(name, schemas) for name in names}


def channels_of(columns: Mapping[str, Column], schemas: Mapping[Path, pa.Schema]) -> tuple[str, ...]:
    """Return the names of the columns of numbers. Raises ParquetError if there are none."""
    found = tuple(column.name for column in columns.values() if column.kind == "number")
    if not found:
        file, schema = next(iter(schemas.items()))
        faults = [column.fault for column in columns.values() if column.fault]
        if faults:
            raise ParquetError(
                f"{faults[0]}; correct or empty this cell: there is no other column of numbers"
            )
        raise ParquetError(
            f"{file}: no numeric column; a table needs one float or integer column a channel,"
            f" found {schema.names}"
        )
    return found


def check_channels(wanted: Iterable[str], columns: Mapping[str, Column], files: Sequence[Path]) -> None:
    """Raise ParquetError if a wanted channel has numbers in no file; the message names what there is."""
    for name in wanted:
        column = columns.get(name)
        place = f"{files[0]}" if len(files) == 1 else f"{files[0]} and {len(files) - 1} more files"
        if column is None:
            raise ParquetError(f"{place}: no file has the channel {name!r}; there are {sorted(columns)}")
        if column.kind not in ("number", "empty"):
            kinds = " and ".join(column.types)
            if column.fault:
                raise ParquetError(
                    f"{column.fault}: channel {name!r} needs numbers; correct or empty this cell"
                )
            raise ParquetError(
                f"{column.present[0]}: channel {name!r} is {kinds}, not a number; write its values as numbers"
            )


def is_numeric(kind: pa.DataType) -> bool:
    """Return whether values of a type are numbers: floats, integers, booleans, decimals."""
    return kind_of_type(kind) == "number"


def kind_of_type(kind: pa.DataType) -> Kind:
    """Return what the values of a type are, by the rules of `connectors.values`."""
    types = pa.types
    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type)
    if types.is_null(kind):
        return "empty"
    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "text"
    return "time" if types.is_temporal(kind) else "other"


def holds_numbers(schema: pa.Schema, name: str) -> bool:
    """Return whether a file has numbers in a column; an absent or empty one is missing there."""
    return name in schema.names and is_numeric(schema.field(name).type)


def _column(name: str, schemas: Mapping[Path, pa.Schema]) -> Column:
    kinds: dict[Kind, Path] = {}
    fault = written = ""
    types: dict[str, None] = {}
    present = []
    for file, schema in schemas.items():
        if name not in schema.names:
            continue
        kind = kind_of_type(schema.field(name).type)
        if kind == "empty" or (kind != "number" and _is_all_null(file, name)):
            continue
        kinds.setdefault(kind, file)
        types.setdefault(str(schema.field(name).type))
        present.append(file)
        fault = fault or _fault(schema.field(name), file)
        written = written or (schema.field(name).metadata or {}).get(WRITTEN, b"").decode()
    _check_signs(name, {file: schemas[file].field(name).metadata or {} for file in present})
    if "number" in kinds and len(kinds) > 1:
        if fault:
            raise ParquetError(f"{fault}: channel {name!r} is a number elsewhere; correct or empty this cell")
        raise ParquetError(_conflict(name, kinds, schemas))
    return Column(name, next(iter(kinds), "empty"), tuple(types), tuple(present), fault, written)


def _check_signs(name: str, written: Mapping[Path, Mapping[bytes, bytes]]) -> None:
    """Raise ParquetError if the signs of one file show that a number of another may be 1,000 times larger."""
    signs = {file: how[DECIMAL_SIGN] for file, how in written.items() if how.get(DECIMAL_SIGN)}
    first = {sign: file for file, sign in reversed(signs.items())}
    for file, sign in signs.items():
        doubt = written[file].get(DOUBT, b"").decode()
        other = next((one for found, one in first.items() if found != sign), None)
        if doubt and other is not None:
            raise ParquetError(
                f"{file}: channel {name!r} has {doubt!r:.40}, whose sign may stand between thousands: {other}"
                " writes another sign before decimals; write the numbers of all files alike, such as 1234.5"
            )


def _fault(field: pa.Field, file: Path) -> str:
    what = (field.metadata or {}).get(FAULT)
    return "" if what is None else f"{file}: {what.decode()}"


def _conflict(name: str, kinds: Mapping[Kind, Path], schemas: Mapping[Path, pa.Schema]) -> str:
    other = next(kind for kind in kinds if kind != "number")
    wrong, right = kinds[other], kinds["number"]
    return (
        f"{wrong}: channel {name!r} is {schemas[wrong].field(name).type}, but"
        f" {schemas[right].field(name).type} in {right}; write its values as numbers in all files"
    )


def _is_all_null(file: Path, name: str) -> bool:
    """Return whether the statistics of a file show that a column has no value."""
    if is_csv(file):
        return False  # its columns without values have no type
    metadata = pq.read_metadata(file)
    nulls = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for at in range(row_group.num_columns):
            column = row_group.column(at)
            if column.path_in_schema == name:
                statistics = column.statistics
                if statistics is None or statistics.null_count is None:
                    return False
                nulls += statistics.null_count
    return bool(nulls == metadata.num_rows)
