"""Messages as they were read, before anything is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Raw(NamedTuple):
    """A message as it was read. `timestamp_ms` is the broker's, -1 where it has none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Raw messages as columns of equal length, in order of arrival."""

    topic: Sequence[str]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]

    @staticmethod
    def of(records: Sequence[Raw]) -> RawColumns:
        """Columns of `records`."""
        topic, partition, offset, timestamp_ms, key, value = (
            zip(*records, strict=True) if records else ((),) * 6
        )
        return RawColumns(
            topic,
            np.array(partition, np.int32),
            np.array(offset, np.int64),
            np.array(timestamp_ms, np.int64),
            key,
            value,
        )

    @staticmethod
    def of_consumed(records: Iterable[Any]) -> RawColumns:
        """Columns of a Kafka client's records, which call the broker's timestamp `timestamp`."""
        found = list(records)
        return RawColumns(
            [record.topic for record in found],
            np.fromiter((record.partition for record in found), np.int32, len(found)),
            np.fromiter((record.offset for record in found), np.int64, len(found)),
            np.fromiter((record.timestamp for record in found), np.int64, len(found)),
            [record.key for record in found],
            [record.value for record in found],
        )

    def __len__(self) -> int:
        return len(self.value)
