"""Cut the series of a data set into parts; a series is never cut, as the engine keeps a state of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MOST_ROWS = 4_000_000
"""Of a part: the worker holds its verdicts in memory. A single series may have more."""
_PARTS_PER_WORKER = 4
"""So that a lost part costs little, and no worker waits long for the last one."""


@dataclass(frozen=True, slots=True)
class Part:
    """Hold some series, the files that have rows of them, and how many rows these are."""

    number: int
    series: tuple[str, ...]
    files: tuple[Path, ...]
    num_rows: int

    def words(self) -> str:
        """Return the series in a few words.

        >>> Part(0, ("pump-1", "pump-2", "pump-3"), (), 9).words()
        'pump-1, pump-2 and 1 more series'
        """
        more = len(self.series) - 2
        return ", ".join(self.series[:2]) + (f" and {more:,} more series" if more > 0 else "")


def parts_of(rows: Mapping[Path, Mapping[str, int]], num_workers: int) -> list[Part]:
    """Return parts with about equal numbers of rows; series of the same file stand together.

    Args:
        rows: Rows of each series in each file, in the order of the files.
        num_workers: How many work at a time.
    """
    files: dict[str, list[Path]] = {}
    num: dict[str, int] = {}
    for file, own in rows.items():
        for series, count in own.items():
            files.setdefault(series, []).append(file)
            num[series] = num.get(series, 0) + count
    place = {file: at for at, file in enumerate(rows)}
    names = sorted(num, key=lambda name: (place[files[name][0]], name))
    total = sum(num.values())
    most = max(1, min(_MOST_ROWS, total // (_PARTS_PER_WORKER * num_workers)))
    groups: list[list[str]] = []
    held = 0
    for name in names:
        if not groups or held + num[name] > most:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += num[name]
    return [_part(at, group, files, num, place) for at, group in enumerate(groups)]


def _part(
    number: int,
    series: Sequence[str],
    files: Mapping[str, Sequence[Path]],
    num: Mapping[str, int],
    place: Mapping[Path, int],
) -> Part:
    own = sorted({file for name in series for file in files[name]}, key=place.__getitem__)
    return Part(number, tuple(series), tuple(own), sum(num[name] for name in series))
