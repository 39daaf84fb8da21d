"""Plan what to save and where to resume: pure functions of offsets.

A partition's mark says how far it was read and from where a replay must start. Offsets count up within a
partition. An offset "behind" a reading is the reading's own plus one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.engine.engine import Changed

MARK = b""
"""The key of a partition's mark in the state topic; no series has an empty name."""
_FEWEST = 16
"""At least so many of the series that are due are saved with a batch."""


class Mark(msgspec.Struct):
    """Describe a partition after a batch.

    next         the offset to read next
    before       the value of `next` one batch earlier
    replay_from  the oldest reading that some snapshot lacks
    topic        identity of the input topic, whose offsets these are; empty where unknown
    forgotten    series -> offset before which its readings belong to a series that was forgotten since. A
                 replay leaves them out. Series whose readings no replay reads are not in it.
    """

    next: int
    before: int
    replay_from: int
    topic: str = ""
    forgotten: dict[str, int] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resume:
    """Describe how a partition is resumed.

    read_from     the first offset to read
    publish_from  the first offset whose results are published; readings before it are replayed silently
    holds         series -> offset up to which its restored snapshot contains its readings
    """

    read_from: int
    publish_from: int
    holds: Mapping[str, int] = field(default_factory=dict)


def decode_mark(data: bytes | None) -> Mark | None:
    """Return the mark of a message of the state topic; None where there is none or it cannot be read."""
    try:
        return None if data is None else msgspec.json.decode(data, type=Mark)
    except msgspec.MsgspecError:
        return None


def published_until(mark: Mark | None, committed: int | None) -> int | None:
    """Return the offset up to which results were published; None for a partition that nobody has read.

    The mark of the newest batch counts where it is ahead of the committed offset by that batch alone. The
    batch's messages are out then, but its offset was not committed, or its commit was not visible yet.

    >>> published_until(Mark(next=30, before=20, replay_from=5), 20)
    30
    """
    if mark is None:
        return committed
    if committed is None or mark.before <= committed < mark.next:
        return mark.next
    return committed


def series_due(changed: Changed, position: Mapping[int, int], moved: int, stride: int) -> NDArray[np.bool_]:
    """Choose the series to save with this batch: those whose unsaved readings are old, the oldest first.

    Only a share of them is chosen, in proportion to the progress of this batch, so that the work is spread
    evenly. Series that are urgent, or older than 1.5 `stride`, are always chosen.

    Args:
        changed: the series that changed since they were saved.
        position: partition -> the offset to read next.
        moved: messages read by this batch, over all partitions.
        stride: age in messages from which a series is due; half of `recovery.max_replay_rows`.

    Returns:
        bool [number of changed series].
    """
    at = np.array([position.get(number, -1) for number in changed.partition.tolist()], np.int64)
    age = np.where((at < 0) | (changed.since < 0), -1, at - changed.since)
    share = max(_FEWEST, math.ceil(len(age) * moved / stride))
    old = np.flatnonzero(age >= stride)
    chosen = (age >= 1.5 * stride) | (changed.urgent & (at >= 0))
    chosen[old[np.argsort(-age[old], kind="stable")[:share]]] = True
    return chosen


def oldest_unsaved(changed: Changed, rows: NDArray[np.bool_]) -> dict[int, int]:
    """Return partition -> the oldest reading, among the masked series, that no snapshot contains."""
    rows = rows & (changed.since >= 0)
    partition, since = changed.partition[rows], changed.since[rows]
    return {number: int(since[partition == number].min()) for number in np.unique(partition).tolist()}
