"""What crosses the edges: columnar readings, rejected messages, positions, and the source protocol.

Nothing here knows of windows, models or thresholds; everything is a value or a protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Position: TypeAlias = Mapping[tuple[str, int], int]
"""(topic, partition) -> the next offset to read once everything before it has been delivered."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Decoded readings as columns, in order of arrival, series dictionary-encoded.

    names         the distinct series of this batch
    series        int32 [n], index into `names`
    timestamp_ns  int64 [n], UTC nanoseconds since the epoch
    values        float64 [n, channels] in the order of the codec's channels, NaN where none came
    partition     int32 [n], the source's partition (0 where the source has none)
    offset        int64 [n], the source's offset (the row's number where the source has none)
    """

    names: tuple[str, ...]
    series: NDArray[np.int32]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.timestamp_ns)

    @staticmethod
    def empty(num_channels: int) -> Readings:
        """No readings, of series with `num_channels` channels."""
        return Readings(
            (),
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty((0, num_channels)),
            np.empty(0, np.int32),
            np.empty(0, np.int64),
        )


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that could not become a reading, kept whole for the dead-letter topic.

    `reason` is one of `REASONS`, a metric label; `detail` is for people.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes


REASONS = (
    "not_json",
    "missing_field",
    "wrong_type",
    "bad_timestamp",
    "not_finite",
    "no_known_channel",
    "unknown_channel",
    "too_large",
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One poll of a source.

    `tick_ns` is the source's clock when the batch was read: the service's wall clock for Kafka,
    None in a replay. `lost` are the partitions that left this member since the batch before:
    their series' state must be dropped. `assigned` are those that came, of which nothing is in the
    batch: they are read once the source was told from where (`read_from`). `unknown_values` counts
    values of channels nobody knows, `decode_seconds` is the part of the poll that decoding took. `deleted`
    are partitions of which something was deleted before it was read: (offset wanted, offset read instead).
    """

    readings: Readings
    rejects: tuple[Reject, ...] = ()
    position: Position | None = None
    tick_ns: int | None = None
    lost: frozenset[int] = frozenset()
    assigned: frozenset[int] = frozenset()
    unknown_values: int = 0
    decode_seconds: float = 0.0
    deleted: Mapping[int, tuple[int, int]] = field(default_factory=dict)


class Source(Protocol):
    """Where batches come from. `poll` waits at most `timeout_seconds` and may return an empty batch;
    None means that the input has ended."""

    def poll(self, timeout_seconds: float) -> Batch | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Membership:
    """As whom a batch was read: made by the source, told to the broker with the offsets, else opaque."""

    metadata: Any


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way out; equal keys go to one partition, or to `partition` where one is given."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
