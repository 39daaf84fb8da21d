"""The kind of the series in a history, as the fallback of a daemon finds it: by their first readings."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks
from detector.errors import DetectorError

_NAMED = 3


def kind_in(data: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channels of the only kind of these series, sorted.

    The channels of a series are those of its first row with a value.

    Args:
        data: a Parquet file or directory.
        patterns: of names of series; none: all.

    Raises:
        ParquetError: the files cannot be read.
        DetectorError: there is no series, or series of several kinds; the message names them.
    """
    dataset = discover(data)
    found: dict[str, tuple[str, ...]] = {}
    for chunk in read_chunks(dataset):
        has = ~np.isnan(chunk.values)
        for code, name in enumerate(chunk.names):
            if name in found or (patterns and not any(fnmatchcase(name, one) for one in patterns)):
                continue
            rows = np.flatnonzero((chunk.series == code) & has.any(axis=1))
            if len(rows):
                columns = np.flatnonzero(has[rows[0]]).tolist()
                found[name] = tuple(sorted(dataset.channels[column] for column in columns))
    kinds = sorted(set(found.values()))
    if not kinds:
        raise DetectorError(f"{data}: no series with a value" + (" matches --series" if patterns else ""))
    if len(kinds) > 1:
        lines = [f"  {', '.join(kind)}: {_named(found, kind)}" for kind in kinds]
        raise DetectorError(
            f"{data}: series of {len(kinds)} kinds; choose those of one with --series:\n" + "\n".join(lines)
        )
    return kinds[0]


def _named(found: dict[str, tuple[str, ...]], kind: tuple[str, ...]) -> str:
    """Return some of the series of a kind, for people."""
    names = [name for name, channels in found.items() if channels == kind]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
