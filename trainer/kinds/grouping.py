"""The series of a plant as kinds: those with one value of a column, or those with equal channels."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.names import RESERVED
from connectors.parquet.dataset import Dataset
from connectors.parquet.reader import CHUNK_ROWS, Chunk, read_file
from connectors.parquet.side_columns import Texts, hive_value, read_with_texts
from detector.rows.series_arrays import lengths_of, starts_of
from trainer.errors import TrainerError
from trainer.kinds.entries import entry_names

AUTO = "auto"
_NUMBER_AT_END = re.compile(r"[\W_\d]+$")
_DIGITS_AT_END = re.compile(r"[0-9]+$")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """Hold the series that one model judges.

    Attributes:
        name: Name of the kind and of its entry in the registry.
        series: Names of its series, sorted.
        channels: Channels that have values in at least one series, in the order of the data set.
        files: The files with rows of these series.
        num_rows: Rows of these series in the files.
        stated: What makes it a kind, for a person; it differs from that of every other kind.
    """

    name: str
    series: tuple[str, ...]
    channels: tuple[str, ...]
    files: tuple[Path, ...]
    num_rows: int
    stated: str


@dataclass(frozen=True, slots=True)
class Grouping:
    """Hold the kinds of a plant, and of each series that belongs to none the reason."""

    kinds: tuple[Kind, ...]
    left_out: Mapping[str, str]


@dataclass(slots=True)
class _Seen:
    """Collect what the rows of one series show; `has` is bool [channels]: a value came."""

    has: NDArray[np.bool_]
    values: set[str] = field(default_factory=set)
    files: dict[Path, None] = field(default_factory=dict)
    num_rows: int = 0

    def fault(self, by: str) -> str | None:
        """Return why the series belongs to no kind, None if it does."""
        if not self.has.any():
            return "it has no value in any channel"
        if by == AUTO or len(self.values) == 1:
            return None
        if not self.values:
            return f"it has no value in the column {by!r}"
        some = ", ".join(repr(value) for value in sorted(self.values)[:_SHOWN])
        return f"it has several values in the column {by!r}: {some}"


def find_kinds(dataset: Dataset, by: str) -> Grouping:
    """Read a data set once, and return its series by kind.

    Args:
        dataset: Files whose channels are those of all kinds together (`without_column`).
        by: A column, or a Hive key of the paths; "auto" makes a kind of the series with equal channels.

    Raises:
        TrainerError: No series belongs to a kind.
        ParquetError: A file cannot be read.
    """
    seen = _scan(dataset, by)
    faults = {name: fault for name, one in seen.items() if (fault := one.fault(by)) is not None}
    groups: dict[object, list[str]] = {}
    for name in sorted(seen.keys() - faults.keys()):
        one = seen[name]
        groups.setdefault(one.has.tobytes() if by == AUTO else next(iter(one.values)), []).append(name)
    if not groups:
        name, fault = next(iter(sorted(faults.items())))
        raise TrainerError(f"no series belongs to a kind, such as {name!r}: {fault}")
    found = [_kind(by, str(value), names, seen, dataset) for value, names in groups.items()]
    names = entry_names([kind.name for kind in found], [kind.stated for kind in found])
    return Grouping(tuple(replace(kind, name=name) for kind, name in zip(found, names, strict=True)), faults)


def without_column(dataset: Dataset, name: str) -> Dataset:
    """Return the data set without the column that names the kinds; no channel and no finding is made of it.

    Raises:
        TrainerError: Neither a file nor a path has the column, or it is no column to group by.
    """
    if name in RESERVED:
        raise TrainerError(f"--group-by {name}: name a column that tells the kind of a machine, or auto")
    if name not in dataset.columns and all(hive_value(file, name) is None for file in dataset.files):
        others = ", ".join(sorted(dataset.columns))
        raise TrainerError(f"--group-by {name}: no file has this column; there are {others}")
    columns = {one: column for one, column in dataset.columns.items() if one != name}
    channels = tuple(one for one in dataset.channels if one != name)
    if not channels:
        raise TrainerError(f"--group-by {name}: there is no other column of numbers to train on")
    return replace(dataset, columns=columns, channels=channels)


def narrowed(dataset: Dataset, kind: Kind) -> Dataset:
    """Return the data set with the files and channels of one kind; its files may have rows of others."""
    files = set(kind.files)
    unlike = set(dataset.channels) - set(kind.channels)
    columns = {
        name: replace(column, present=tuple(file for file in column.present if file in files))
        for name, column in dataset.columns.items()
        if name not in unlike
    }
    return replace(dataset, files=kind.files, channels=kind.channels, columns=columns, num_rows=kind.num_rows)


def patterns_of(kind: Kind, others: Sequence[Kind], left_out: Collection[str]) -> tuple[str, ...]:
    """Return patterns that match the series of a kind and none of the others, as a daemon takes them.

    The common beginning of the names is one pattern, which new machines of the kind match too. Where another
    kind has names with this beginning, or a series that belongs to no kind, each name is a pattern.

    Args:
        kind: The kind.
        others: All kinds; the kind itself may be among them.
        left_out: Series that belong to no kind.
    """
    prefix = _DIGITS_AT_END.sub("", _beginning(kind.series)) if len(kind.series) > 1 else ""
    foreign = [name for other in others if other is not kind for name in other.series]
    if prefix and not any(name.startswith(prefix) for name in (*foreign, *left_out)):
        if not prefix[-1].isalnum():
            return (f"{_escaped(prefix)}*",)
        if all(re.match("[0-9]", name[len(prefix) :]) for name in kind.series):
            return (f"{_escaped(prefix)}[0-9]*",)
    return tuple(_escaped(name) for name in kind.series)


def _scan(dataset: Dataset, by: str) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    if by == AUTO:
        for file in dataset.files:
            for chunk in read_file(file, dataset, CHUNK_ROWS):
                _note(seen, file, chunk, None)
    else:
        for file, chunk, texts in read_with_texts(dataset, by, CHUNK_ROWS):
            _note(seen, file, chunk, texts)
    return seen


def _note(seen: dict[str, _Seen], file: Path, chunk: Chunk, texts: Texts | None) -> None:
    order = np.argsort(chunk.series, kind="stable")
    codes = chunk.series[order]
    starts = starts_of(codes)
    has = np.logical_or.reduceat(~np.isnan(chunk.values[order]), starts, axis=0)
    counts = lengths_of(starts, len(codes)).tolist()
    for at, code in enumerate(codes[starts].tolist()):
        one = seen.setdefault(chunk.names[code], _Seen(np.zeros(has.shape[1], np.bool_)))
        one.has |= has[at]
        one.files[file] = None
        one.num_rows += counts[at]
    if texts is not None:
        for code, value in np.unique(np.column_stack([chunk.series, texts.codes]), axis=0).tolist():
            if value >= 0:
                seen[chunk.names[code]].values.add(texts.values[value])


def _kind(by: str, value: str, series: Sequence[str], seen: Mapping[str, _Seen], dataset: Dataset) -> Kind:
    """Return a kind whose name is still any text."""
    own = [seen[one] for one in series]
    has = np.any([one.has for one in own], axis=0)
    channels = tuple(np.array(dataset.channels, object)[has].tolist())
    files = {file for one in own for file in one.files}
    return Kind(
        _common_name(series) if by == AUTO else value,
        tuple(series),
        channels,
        tuple(file for file in dataset.files if file in files),
        sum(one.num_rows for one in own),
        f"the channels {json.dumps(sorted(channels), ensure_ascii=False)}"
        if by == AUTO
        else f"{value!r} in the column {by!r}",
    )


def _common_name(series: Sequence[str]) -> str:
    """Return what the names of the series begin with, without a number at its end; "" if that is nothing.

    >>> _common_name(["pump-1", "pump-12"])
    'pump'
    """
    return series[0] if len(series) == 1 else _NUMBER_AT_END.sub("", _beginning(series))


def _beginning(names: Sequence[str]) -> str:
    """Return the longest text with which all names begin."""
    first, last = min(names), max(names)  # those between begin with what these two have in common
    same = (one == other for one, other in zip(first, last, strict=False))
    return first[: sum(itertools.takewhile(bool, same))]


def _escaped(name: str) -> str:
    """Return a pattern that matches this text alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
