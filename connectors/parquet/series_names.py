"""Names the series of files without a `series` column: from the whole path below the data set, and Hive keys.

    pump1.parquet                          pump1
    siteA/pump1.parquet                    siteA/pump1
    2026/05/pump1.parquet                  pump1: directories that are dates only divide the time
    machine=A/part-0.parquet               A: the files of one key are one series, whatever their names
    site=1/machine=A/year=2026/x.parquet   1/A
    series=pump-7/part-0.parquet           pump-7

Two places never share a name: names that would collide keep their keys and endings, such as `machine=A`.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

SERIES_KEY = "series"
_TIME_KEYS = frozenset(
    {"year", "yyyy", "month", "mm", "week", "day", "dd", "hour", "hh", "minute", "quarter"}
    | {"date", "dt", "ds", "time", "event_date"}
)
_DATE = re.compile(r"(19|20)\d\d([-_]?\d\d([-_]?\d\d)?)?([T_ ]?\d\d([-:]?\d\d)*Z?)?")
_PART_FILE = re.compile(r"(part|data|chunk|file)?[-_.]?\d+([-_.].*)?|[0-9a-f]{8}[-0-9a-f]{8,}.*|part[-_.].*")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file lies: the name of its series, and what makes it different from all other series."""

    name: str
    identity: tuple[str, ...]


def series_of_files(files: Sequence[Path], paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the series of each file, whatever their order.

    Args:
        files: the files of a data set.
        paths: what the user gave: files, or directories that hold them. Names begin below their common
            directory.
    """
    root = os.path.commonpath([(path if path.is_dir() else path.parent).absolute() for path in paths])
    places = [_place(file, Path(root)) for file in files]
    identities = defaultdict(set)
    for place in places:
        identities[place.name].add(place.identity)
    return tuple(
        place.name if len(identities[place.name]) == 1 else "/".join(place.identity) for place in places
    )


def hive_series(file: Path) -> str | None:
    """Return the value of the Hive key `series` that is nearest to the file, None without one."""
    prefix = f"{SERIES_KEY}="
    found = (
        unquote(part.removeprefix(prefix)) for part in reversed(file.parts[:-1]) if part.startswith(prefix)
    )
    return next(found, None)


def _place(file: Path, root: Path) -> _Place:
    path = file.absolute()
    inside = _without_dates(path.parts[:-1], len(root.parts))
    if not _has_key(inside) and _PART_FILE.fullmatch(_stem(file)):
        inside = [*_keys_at_the_end(root), *inside]
    named = hive_series(file)
    if named is not None:
        return _Place(named, tuple(inside) or (f"{SERIES_KEY}={named}",))
    is_partitioned = _has_key(inside) or _is_divided_by_time(path, root)
    values = [unquote(part.partition("=")[2]) if _is_key(part) else part for part in inside]
    if is_partitioned:
        own_name = _name_of(root)
        return _Place("/".join(values) or own_name, tuple(inside) or (own_name,))
    return _Place("/".join([*values, _stem(file)]), (*inside, file.name))


def _stem(file: Path) -> str:
    """Return the name of a file without its ending; that of `pump.csv.gz` is `pump`."""
    return Path(file.stem).stem if file.name.lower().endswith(".csv.gz") else file.stem


def _is_divided_by_time(path: Path, root: Path) -> bool:
    """Whether Hive keys of time hold part files, whose names mean nothing."""
    keys = [part for part in path.relative_to(root).parts[:-1] if _is_key(part)]
    return bool(keys) and _PART_FILE.fullmatch(_stem(path)) is not None


def _name_of(root: Path) -> str:
    """Return the last directory that is no key."""
    return next((part for part in reversed(root.parts) if not _is_key(part)), SERIES_KEY)


def _keys_at_the_end(root: Path) -> list[str]:
    """Return the Hive keys that the given directory itself ends with."""
    found: list[str] = []
    for part in reversed(root.parts):
        if not _is_key(part):
            break
        found.insert(0, part)
    return _without_dates(found)


def _without_dates(directories: Sequence[str], start: int = 0) -> list[str]:
    """Return the directories from `start` on that are more than a year, a month below it or a date."""
    kept: list[str] = []
    in_date = False
    for at, part in enumerate(directories):
        key, _, value = part.partition("=")
        is_time_key = _is_key(part) and (key.lower() in _TIME_KEYS or _is_long_date(value))
        in_date = bool(_DATE.fullmatch(part)) or (in_date and part.isdecimal() and len(part) <= 2)
        if at >= start and not (is_time_key or in_date):
            kept.append(part)
    return kept


def _is_long_date(value: str) -> bool:
    return len(value) >= 7 and _DATE.fullmatch(value) is not None


def _is_key(part: str) -> bool:
    key, equals, value = part.partition("=")
    return bool(equals and key and value)


def _has_key(directories: Sequence[str]) -> bool:
    return any(map(_is_key, directories))
