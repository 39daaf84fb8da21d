"""Where the saved state of each partition lies in the state topic.

The state of partition 3 of any input topic lies in partition 3 of the state topic. With one input topic the
keys are the names of the series, and MARK for the mark. With several topics the topic precedes each key, so
that a daemon with other topics, or another order of them, finds the same state.

A daemon that reads one topic today and several tomorrow takes over what it saved. Keys of the other form
count where their mark has the identity of the topic and is the newer one. The transaction that takes them
over deletes that mark.
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
    obsolete    keys to delete, as they lie in the topic: series that older records of our form still have,
                and a mark of the other form, which would count again once offsets are set back
    """

    own: Mapping[bytes, bytes]
    is_foreign: bool = False
    obsolete: frozenset[bytes] = frozenset()


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
        return Message(self.name, _key(topic, key, bool(self.numbers.topic)), value, (), partition)

    def deletion(self, number: int, key: bytes) -> Message:
        """Return the message that deletes a key of `Records.obsolete`."""
        return Message(self.name, key, None, (), self.numbers.place(number)[1])

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
        is_plain = bool(self.numbers.topic)
        own, other = (plain, prefixed) if is_plain else (prefixed, plain)
        theirs = decode_mark(other.get(MARK))
        if theirs is None or not identity or theirs.topic != identity:
            return Records(own)
        obsolete = {_key(topic, MARK, not is_plain)}
        if not _is_newer(theirs, decode_mark(own.get(MARK)), identity):
            return Records(own, False, frozenset(obsolete))
        obsolete |= {_key(topic, key, is_plain) for key in own.keys() - other.keys()}
        return Records(other, True, frozenset(obsolete))


def series_of(key: bytes) -> bytes:
    """Return the name of the series of a key, or MARK, without a topic that precedes it.

    >>> series_of(b"pump-1")
    b'pump-1'
    """
    match = _PREFIXED.fullmatch(key)
    return key if match is None else match.group(2)


def _key(topic: str, key: bytes, is_plain: bool) -> bytes:
    """Return the key as it lies in the state topic."""
    return key if is_plain else b"\0" + topic.encode() + b"\0" + key


def _is_newer(other: Mark, own: Mark | None, identity: str) -> bool:
    """Return whether a mark of the other form, which is of this very topic, is later than our own."""
    return own is None or own.topic != identity or other.next > own.next
