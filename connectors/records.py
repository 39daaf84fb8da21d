"""Values that connectors exchange with the detector, and the protocols that every source follows.

Raw, RawColumns     messages as they were read, before decoding
Readings, Reject    what decoding makes of them; `Decoded` holds both
Batch, Position     one poll of a source, and how far each partition was read
Message             one message to produce
Source              a finite or endless input: a replay of files, a list in memory
StreamSource        an input that the daemon can follow, resume and share with other processes
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Position: TypeAlias = Mapping[tuple[str, int], int]
"""(topic, partition) -> the next offset to read after a restart: everything before it is delivered."""


class Raw(NamedTuple):
    """One message before decoding. `timestamp_ms` is the broker's timestamp, -1 if there is none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


def raw_of(record: Any) -> Raw:
    """Return a Kafka client's record; `timestamp` is the broker's, in milliseconds."""
    place = (record.topic, record.partition, record.offset, record.timestamp)
    return Raw(*place, record.key, record.value, record.headers)


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Messages before decoding, as columns of equal length in order of arrival."""

    topic: Sequence[str]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]
    headers: Sequence[Sequence[tuple[str, bytes]]]

    @staticmethod
    def of(records: Sequence[Raw]) -> RawColumns:
        """Return the messages as columns."""
        topic, partition, offset, timestamp_ms, key, value, headers = (
            zip(*records, strict=True) if records else ((),) * 7
        )
        return RawColumns(
            topic,
            np.array(partition, np.int32),
            np.array(offset, np.int64),
            np.array(timestamp_ms, np.int64),
            key,
            value,
            headers,
        )

    @staticmethod
    def of_consumed(records: Iterable[Any]) -> RawColumns:
        """Return a Kafka client's records as columns; `timestamp` is the broker's, in milliseconds."""
        found = list(records)
        return RawColumns(
            [record.topic for record in found],
            np.fromiter((record.partition for record in found), np.int32, len(found)),
            np.fromiter((record.offset for record in found), np.int64, len(found)),
            np.fromiter((record.timestamp for record in found), np.int64, len(found)),
            [record.key for record in found],
            [record.value for record in found],
            [record.headers for record in found],
        )

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Readings:
    """Decoded readings as columns, in order of arrival, series dictionary-encoded.

    names         the distinct series of this batch
    series        int32 [n], index into `names`
    timestamp_ns  int64 [n], UTC nanoseconds since the epoch
    values        float64 [n, channels] in the order of the codec's channels, NaN where missing
    partition     int32 [n], the source's partition (0 if the source has none); of several topics a
                  number of `connectors.partition_numbers`
    offset        int64 [n], the source's offset (the row number if the source has none)
    """

    names: tuple[str, ...]
    series: NDArray[np.int32]
    timestamp_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.timestamp_ns)

    def take(self, rows: NDArray[np.bool_]) -> Readings:
        """Return the readings of a mask, bool [n], with the names of only those series that are left."""
        present, series = np.unique(self.series[rows], return_inverse=True)
        return Readings(
            tuple(self.names[code] for code in present.tolist()),
            series.astype(np.int32),
            self.timestamp_ns[rows],
            self.values[rows],
            self.partition[rows],
            self.offset[rows],
        )

    @staticmethod
    def empty(num_channels: int) -> Readings:
        """Return no readings, with `num_channels` columns."""
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
    """A message that could not be decoded, kept whole for the dead-letter topic.

    `reason` is one of `REASONS`, a metric label. `detail` describes the fault for a person. `series` is the
    name of the series where the message could be read so far, else "". `strangers` are the series of readings
    without a known channel, if nothing else is wrong with the message; `series` is enough where it is one.
    `partition` is that of `Readings`, and `in_topic` its number in the topic; None: they are the same.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    series: str = ""
    strangers: tuple[str, ...] = ()
    in_topic: int | None = None


REASONS = (
    "not_json",
    "missing_field",
    "wrong_type",
    "bad_timestamp",
    "not_finite",
    "no_known_channel",
    "unknown_channel",
    "too_large",
    "malformed",
    "unknown_schema",
)


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one poll of a source.

    readings        the decoded readings, in order of arrival
    rejects         messages that could not be decoded
    position        the offset behind the last message of each partition in the batch; commit it afterwards
    tick_ns         the clock when the batch was read: wall clock for Kafka, None in a replay
    lost            partitions that left this process since the last batch: drop the state of their series
    assigned        partitions that were assigned; a source that waits for `read_from` reads them after it
    unknown_values  values of channels that the codec does not know
    decode_seconds  the part of the poll that decoding took
    deleted         partition -> (offset wanted, offset read instead), if messages were deleted unread
    strangers       as in `Decoded`
    recreated       partition -> messages known to be unread when the input was deleted and created again
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
    recreated: Mapping[int, int] = field(default_factory=dict)
    strangers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of decoding messages: each gives readings, at most one reject, or values that are ignored.

    A message of several readings may give both: the valid ones are kept, and the reject has all of it.
    `unknown_values` counts values of unknown channels that were ignored. `strangers` has the messages of each
    series in which it had nothing else, where that is no fault: series -> messages.
    """

    readings: Readings
    rejects: tuple[Reject, ...]
    unknown_values: int
    strangers: Mapping[str, int] = field(default_factory=dict)


class Codec(Protocol):
    """Decodes messages into readings. Decoding never raises: a bad message becomes a `Reject`.

    Decoding is deterministic: any cut of a stream into batches gives the same readings and rejects.
    All readings of a message have its offset, and stand together in the order of the message.
    """

    channels: tuple[str, ...]
    """The columns of `Readings.values`, in this order."""

    def decode_columns(self, raw: RawColumns) -> Decoded:
        """Decode messages in order of arrival."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to produce. Equal keys go to one partition, or to `partition` if it is given.

    Without a value it is a tombstone: a compacted topic forgets its key.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Produces(Protocol):
    """Writes messages."""

    def produce(self, messages: Sequence[Message]) -> None:
        """Write the messages in order; return once all of them are safe, else raise ConnectorError."""


class Commits(Protocol):
    """Remembers how far it was read."""

    def commit(self, position: Position) -> None:
        """Commit these offsets: reading resumes there after a restart."""


class Source(Protocol):
    """An input that is read from beginning to end: files, a list, a topic.

    Ordering: the readings of a partition come in the order of their offsets.
    """

    def poll(self, timeout_seconds: float) -> Batch | None:
        """Return the next batch, or None once the input has ended.

        Blocks for at most about `timeout_seconds`, and returns an empty batch if nothing arrived in time.
        """

    def close(self) -> None:
        """Release connections and files. Commits nothing. May be called more than once."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Identifies the group membership under which a batch was read.

    The source makes it, and a transaction sends it to the broker with the offsets. Everybody else only
    passes it on.

    notes  (topic, partition) -> the text that is committed beside the offset of that partition
    """

    metadata: Any
    notes: Mapping[tuple[str, int], str] = field(default_factory=dict)


class StreamSource(Source, Protocol):
    """An input that the daemon follows: partitions come and go, positions are committed, reading resumes.

    Delivery: a position moves only by `commit` or `delivered`. Every reading behind the last committed
    position is read again after a restart, by this process or by the next owner of the partition.

    Ordering: the readings of a partition come in the order of their offsets. There is no order between
    partitions.

    Assignment: `Batch.assigned` names partitions that were assigned and `Batch.lost` those that were taken
    away. Drop the state of lost partitions before the batch is processed. A source that waits for
    `read_from` returns no reading of an assigned partition until then.

    Threads: the properties may be read from any thread, except `membership`. Everything else, `membership`
    included, belongs to the thread that polls. Methods raise ConnectorError for a failure that waiting
    cannot heal.
    """

    @property
    def membership(self) -> Membership:
        """The membership under which the last batch was read."""

    @property
    def has_lost(self) -> bool:
        """Whether the next batch will report lost partitions. State of theirs must not be written now."""

    @property
    def is_assigned(self) -> bool:
        """Whether partitions are assigned and all are being read: none waits for `read_from`.

        A large group may have no partition for this process; that counts as assigned.
        """

    def identity_of(self, partition: int) -> str:
        """Return what differs between a partition's topic and a later one of its name; empty: unknown."""

    @property
    def num_rebalances(self) -> int:
        """The number of assignments so far, including the first."""

    @property
    def lag(self) -> Mapping[int, int]:
        """Partition -> messages that were not read yet. A partition without a known end is absent."""

    @property
    def lag_seconds(self) -> Mapping[int, float]:
        """Partition -> age of the newest message read, in seconds; 0 if nothing is left to read."""

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Start reading the partitions of the last `Batch.assigned`.

        Args:
            starts: partition -> the offset of its first reading. A partition that is absent begins at its
                committed offset, or where the source's settings let a new group begin.
        """

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the committed offset of each partition, None if nothing was ever committed.

        Blocks while a transaction that may still move an offset is open.
        """

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the oldest offset that each partition still holds."""

    def commit(self, position: Position) -> None:
        """Commit these offsets: reading resumes there after a restart.

        Blocks until the offsets are safe. If the partitions were taken away meanwhile, nothing is committed
        and nothing is raised: their next owner reads the same readings again.
        """

    def delivered(self, position: Position) -> None:
        """Note that a transaction has committed these offsets together with the messages."""

    def start_over(self) -> None:
        """Report every partition as lost and assigned again with the next batch.

        The state built from readings that could not be committed is thereby replaced by the committed one.
        """

    def use_codec(self, codec: Codec) -> None:
        """Decode with another codec from the next `poll` on: a new model may have other channels."""
