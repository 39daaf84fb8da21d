"""Every offset that a group has committed, in order, as the broker keeps them; and whether one went back.

Samples of the newest offsets could miss a short step back. The topic `__consumer_offsets` has each commit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from tests.faults.expected import read_committed

_COMMIT_VERSIONS = (0, 1)


class Commit(NamedTuple):
    """One committed offset."""

    topic: str
    partition: int
    offset: int


def commits_of(bootstrap: str, group: str) -> list[Commit]:
    """All commits of a group, in the order of the broker; none of an aborted transaction."""
    found = []
    for message in read_committed(bootstrap, "__consumer_offsets"):
        commit = decode(message.key or b"", message.value or b"", group)
        if commit is not None:
            found.append(commit)
    return found


def decode(key: bytes, value: bytes, group: str) -> Commit | None:
    """The commit of a record, None if it is another group's, another kind of record, or a deletion.

    Source of the layout: OffsetCommitKey.json and OffsetCommitValue.json of Apache Kafka.
    """
    if len(key) < 2 or not value or struct.unpack_from(">h", key)[0] not in _COMMIT_VERSIONS:
        return None
    name, at = _text(key, 2)
    topic, at = _text(key, at)
    if name != group:
        return None
    return Commit(topic, struct.unpack_from(">i", key, at)[0], struct.unpack_from(">q", value, 2)[0])


def went_back(commits: Iterable[Commit]) -> list[str]:
    """Each step back in words: below the highest offset that the partition had before."""
    highest: dict[tuple[str, int], int] = {}
    found = []
    for topic, partition, offset in commits:
        before = highest.get((topic, partition), offset)
        if offset < before:
            found.append(
                f"committed offset of {topic}, partition {partition}, went back: {before} to {offset}"
            )
        highest[topic, partition] = max(before, offset)
    return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    size = struct.unpack_from(">h", data, at)[0]
    return data[at + 2 : at + 2 + size].decode(), at + 2 + size
