"""Where the saved state of each partition lies in the state topic.

The state of partition 3 of any input topic lies in partition 3 of the state topic. With one input topic the
keys are the names of the series, and MARK for the mark. With several topics the topic precedes each key, so
that a daemon with other topics, or another order of them, finds the same state.

A daemon that reads one topic today and several tomorrow takes over what it saved. Keys of the other form
count where their mark has the identity of the topic and is the newer one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Message
from detector.delivery.marks import MARK, Mark, decode_mark

_PREFIXED = re.compile(rb"\0([A-Za-z0-9._-]+)\0(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Records:
    """The saved records of one partition, by the names of the series, without those of other topics.

    own         the records to continue from
    is_foreign  whether their keys have the other form: all state is to be saved again
    obsolete    series that older records of our own form still have
    other_mark  the key of a mark of the other form, to be deleted: it must not count once offsets are set back
    """

    own: Mapping[bytes, bytes]
    is_foreign: bool = False
    obsolete: frozenset[bytes] = frozenset()
    other_mark: bytes | None = None


@dataclass(frozen=True, slots=True)
class StateTopic:
    """The state topic.

    name     of the topic
    numbers  stand for the partitions of the input
    """

    name: str
    numbers: PartitionNumbers

    def partitions(self, numbers: Collection[int]) -> frozenset[int]:
        """Return the partitions of the state topic that have the state of these."""
        return frozenset(self.numbers.place(number)[1] for number in numbers)

    def message(self, number: int, key: bytes, value: bytes | None) -> Message:
        """Return the message that saves a record of a partition, or deletes it where there is no value."""
        topic, partition = self.numbers.place(number)
        prefix = b"" if self.numbers.topic else b"\0" + topic.encode() + b"\0"
        return Message(self.name, prefix + key, value, (), partition)

    def records(self, number: int, found: Mapping[int, Mapping[bytes, bytes]], identity: str) -> Records:
        """Return the records of one partition, out of those of the state topic.

        Args:
            number: the partition.
            found: partition of the state topic -> key -> value.
            identity: of the input topic; empty where unknown, and then keys of the other form do not count.
        """
        topic, partition = self.numbers.place(number)
        plain, prefixed = {}, {}
        for key, value in found.get(partition, {}).items():
            match = _PREFIXED.fullmatch(key)
            if match is None:
                plain[key] = value
            elif match.group(1) == topic.encode():
                prefixed[match.group(2)] = value
        own, other = (plain, prefixed) if self.numbers.topic else (prefixed, plain)
        if _is_newer(decode_mark(other.get(MARK)), decode_mark(own.get(MARK)), identity):
            return Records(other, True, frozenset(own.keys() - other.keys()))
        return Records(own)


def series_of(key: bytes) -> bytes:
    """Return the name of the series of a key, or MARK, without a topic that precedes it.

    >>> series_of(b"pump-1")
    b'pump-1'
    """
    match = _PREFIXED.fullmatch(key)
    return key if match is None else match.group(2)


def _is_newer(other: Mark | None, own: Mark | None, identity: str) -> bool:
    """Return whether a mark of the other form is of this very topic, and later than our own."""
    if other is None or not identity or other.topic != identity:
        return False
    return own is None or own.topic != identity or other.next > own.next
