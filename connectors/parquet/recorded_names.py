"""Names of files of a recording: the topic, the partition and the offsets whose readings a file has.

    readings-3-00000000000000001200-00000000000000002400.parquet

A file that was merged from others covers their offsets. Until those are deleted, readers leave them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d{20})-(?P<next>\d{20})\.parquet")


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Offsets of a partition: from `first`, before `next`."""

    topic: str
    partition: int
    first: int
    next: int

    @property
    def file_name(self) -> str:
        """The name of the file that has their readings.

        >>> Stretch("readings", 3, 0, 24).file_name
        'readings-3-00000000000000000000-00000000000000000024.parquet'
        """
        return f"{self.topic}-{self.partition}-{self.first:020}-{self.next:020}.parquet"


def label_of(topic: str, creation: int) -> str:
    """Return how files name a topic: a number follows where it was created again.

    >>> label_of("readings", 1), label_of("readings", 2)
    ('readings', 'readings~2')
    """
    return topic if creation < 2 else f"{topic}~{creation}"


def topic_of(label: str) -> str:
    """Return the topic of a label; no name of a topic has a tilde.

    >>> topic_of("readings~2")
    'readings'
    """
    return label.partition("~")[0]


def creation_of(label: str) -> int:
    """Return how often the topic of a label had been created, from 1 on.

    >>> creation_of("readings"), creation_of("readings~12")
    (1, 12)
    """
    number = label.partition("~")[2]
    return int(number) if number.isdecimal() else 1


def stretch_of(path: Path) -> Stretch | None:
    """Return the offsets that the name of a file states; None for any other file."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    return Stretch(found["topic"], int(found["partition"]), int(found["first"]), int(found["next"]))


def without_covered(files: Sequence[Path]) -> list[Path]:
    """Return the files in their order, without those whose offsets another file of the directory covers."""
    covered = set(covered_of(files))
    return [file for file in files if file not in covered]


def covered_of(files: Iterable[Path]) -> list[Path]:
    """Return the files whose offsets another one of the same directory and partition covers."""
    found = [(file.parent, stretch, file) for file in files if (stretch := stretch_of(file)) is not None]
    found.sort(key=lambda one: (one[0], one[1].topic, one[1].partition, one[1].first, -one[1].next))
    covered, place, end = [], None, -1
    for folder, stretch, file in found:
        here = (folder, stretch.topic, stretch.partition)
        if here == place and stretch.next <= end:
            covered.append(file)
        else:
            place, end = here, stretch.next
    return covered
