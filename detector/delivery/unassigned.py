"""Find messages that this model must not judge: their series is not its own, or their channels do not fit.

The rule. A series is *assigned* if its name matches one of the patterns, and one of its messages had enough
channels of the model. From then on it stays assigned, whatever its messages lack: a sensor that fails is a
fault and not a stranger. Every other series is *unassigned*. Its messages are counted, and they are neither
judged nor dead letters. The series of saved states are assigned, so that a restart decides as before.

The channels of a message are those of all its readings of the series together. A message that cannot be read
is unassigned too if its series is known and matches no pattern, whatever the fault.

The order of messages in a partition decides, and not how they are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from connectors.records import Batch, Readings, Reject
from detector.delivery.routing.tally import NO_CHANNEL, Tally, Unassigned

Begins: TypeAlias = Mapping[tuple[str, int], int]
"""(series, partition) -> offset of its first message with enough channels in a batch."""
_MOST_NAMES = 10_000
MOST_LOGGED = 100


class Admission:
    """Takes unassigned messages out of batches. One thread calls `admit`; any may read `unassigned`.

    Args:
        patterns: names of series that are judged, as of `fnmatch`; none: every name.
        least_channels: channels of the model that a message of a new series must have, at least 1.
        most_logged: series that are logged, once each; further ones are not.
    """

    def __init__(
        self, patterns: tuple[str, ...] = (), least_channels: int = 1, most_logged: int = MOST_LOGGED
    ) -> None:
        self._patterns, self._least = patterns, least_channels
        self._matches: dict[str, bool] = {}
        self._tally = Tally("[model]", most_logged)

    @property
    def unassigned(self) -> Unassigned:
        """What is unassigned now."""
        return self._tally.unassigned

    def admit(self, batch: Batch, knows: Callable[[str], bool]) -> Batch:
        """Return the batch without unassigned messages, and count these.

        Args:
            batch: what was read, messages to replay included.
            knows: whether a series is assigned already: the engine has its state.
        """
        readings = batch.readings
        self._tally.begin(batch.tick_ns or 0)
        doubtful = any(one.reason == NO_CHANNEL for one in batch.rejects)
        if not (self._patterns or self._least > 1 or doubtful or self._tally or batch.strangers):
            return batch
        enough = np.ones(len(readings), np.bool_)
        if self._least > 1:
            enough = channels_of_messages(readings) >= self._least
        begins = begins_of(readings, enough)
        fits = np.arange(len(readings)) >= self._first_fitting(readings, enough, knows)[readings.series]
        matches = np.array([self._is_own(name) for name in readings.names], np.bool_)
        keep = matches[readings.series] & fits
        self._count_readings(readings, keep, matches)
        rejects = tuple(one for one in batch.rejects if not self._count_reject(one, begins, knows))
        assigned = {name for name, _ in begins if self._is_own(name)}
        self._tally.assign(assigned)
        self._tally.count_strangers(
            batch.strangers, self._is_own, lambda name: name in assigned or knows(name)
        )
        if keep.all() and len(rejects) == len(batch.rejects):
            return batch
        self._tally.renew()
        return replace(batch, readings=readings if keep.all() else readings.take(keep), rejects=rejects)

    def _first_fitting(
        self, readings: Readings, enough: NDArray[np.bool_], knows: Callable[[str], bool]
    ) -> NDArray[np.int64]:
        """Return the first reading from which each series is assigned; its number, int64 [names]."""
        first = np.full(len(readings.names), len(readings), np.int64)
        fitting = np.flatnonzero(enough)
        np.minimum.at(first, readings.series[fitting], fitting)
        if self._least > 1:
            first[[at for at, name in enumerate(readings.names) if knows(name)]] = 0
        return first

    def _is_own(self, name: str) -> bool:
        """Return whether a name matches one of the patterns."""
        if not self._patterns:
            return True
        found = self._matches.get(name)
        if found is None:
            if len(self._matches) >= _MOST_NAMES:
                self._matches.clear()
            found = any(fnmatchcase(name, pattern) for pattern in self._patterns)
            self._matches[name] = found
        return found

    def _count_readings(
        self, readings: Readings, keep: NDArray[np.bool_], matches: NDArray[np.bool_]
    ) -> None:
        counts = np.bincount(readings.series[~keep], minlength=len(readings.names))
        for at in np.flatnonzero(counts).tolist():
            self._tally.count(readings.names[at], "channels" if matches[at] else "name", int(counts[at]))

    def _count_reject(self, reject: Reject, begins: Begins, knows: Callable[[str], bool]) -> bool:
        """Return whether a rejected message is of unassigned series alone; then it is counted for each."""

        def is_assigned(name: str) -> bool:
            first = begins.get((name, reject.partition))
            has_begun = first is not None and first <= reject.offset
            return self._is_own(name) and (has_begun or knows(name))

        return self._tally.count_reject(reject, self._is_own, is_assigned)


def channels_of_messages(readings: Readings) -> NDArray[np.int64]:
    """Return how many channels the message of each reading has in its series, int64 [readings]."""
    has, message = messages_of(readings)
    found: NDArray[np.int64] = has.sum(axis=1)[message]
    return found


def messages_of(readings: Readings) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which channels each message has in a series, and the message of each reading.

    bool [messages, channels], where a message with readings of several series counts once for each; intp
    [readings], an index into these.
    """
    if not len(readings):
        return np.empty((0, readings.values.shape[1]), np.bool_), np.empty(0, np.intp)
    order = np.lexsort((readings.offset, readings.partition, readings.series))
    keys = np.column_stack([readings.series, readings.partition, readings.offset])[order]
    is_start = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    has = np.logical_or.reduceat(~np.isnan(readings.values[order]), np.flatnonzero(is_start), axis=0)
    message = np.empty(len(readings), np.intp)
    message[order] = np.cumsum(is_start) - 1
    return has, message


def begins_of(readings: Readings, enough: NDArray[np.bool_]) -> Begins:
    """Return where each series has enough channels for the first time, in each of its partitions."""
    fitting = np.flatnonzero(enough)
    keys = readings.series[fitting].astype(np.int64) << 32 | readings.partition[fitting]
    firsts = fitting[np.unique(keys, return_index=True)[1]]
    return {
        (readings.names[code], partition): offset
        for code, partition, offset in zip(
            readings.series[firsts].tolist(),
            readings.partition[firsts].tolist(),
            readings.offset[firsts].tolist(),
            strict=True,
        )
    }
