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

import logging
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from connectors.records import Batch, Readings, Reject
from detector import logs

Reason: TypeAlias = Literal["name", "channels"]
REASONS: tuple[Reason, ...] = ("name", "channels")
"""Why a series is unassigned: its name matches no pattern; its messages have too few known channels."""
_NO_CHANNEL = "no_known_channel"
_Begins: TypeAlias = Mapping[tuple[str, int], int]
"""(series, partition) -> offset of its first message with enough channels in a batch."""
_MOST_SERIES = 10_000
_ENOUGH_MESSAGES = 10
"""In formats with a channel in a message, the first messages of a good series may have other channels."""
_MOST_LOGGED = 100
_MEMORY_NS, _SWEEP_NS = 3_600 * 10**9, 60 * 10**9
"""A series that sent nothing for an hour is not counted any more; that is looked for once a minute."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class UnassignedSeries:
    """Hold one unassigned series, the reason, and how many of its messages came."""

    name: str
    reason: Reason
    messages: int


@dataclass(frozen=True, slots=True)
class Unassigned:
    """Hold what is unassigned.

    series    reason -> series that sent a message within the last hour; at most 10,000 are counted
    messages  reason -> messages since the start of this process
    most      the series with the most messages, at most 10
    """

    series: Mapping[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    messages: Mapping[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    most: tuple[UnassignedSeries, ...] = ()


class Admission:
    """Takes unassigned messages out of batches. One thread calls `admit`; any may read `unassigned`.

    Args:
        patterns: names of series that are judged, as of `fnmatch`; none: every name.
        least_channels: channels of the model that a message of a new series must have, at least 1.
        most_logged: series that are logged, once each; further ones are not.
    """

    def __init__(
        self, patterns: tuple[str, ...] = (), least_channels: int = 1, most_logged: int = _MOST_LOGGED
    ) -> None:
        self._patterns, self._least, self._most_logged = patterns, least_channels, most_logged
        self._matches: dict[str, bool] = {}
        self._found: dict[str, UnassignedSeries] = {}
        self._seen: dict[str, int] = {}
        self._few: dict[str, int] = {}
        self._now_ns, self._swept_ns = 0, 0
        self._messages = dict.fromkeys(REASONS, 0)
        self._num_logged = 0
        self.unassigned = Unassigned()

    def admit(self, batch: Batch, knows: Callable[[str], bool]) -> Batch:
        """Return the batch without unassigned messages, and count these.

        Args:
            batch: what was read, messages to replay included.
            knows: whether a series is assigned already: the engine has its state.
        """
        readings, self._now_ns = batch.readings, batch.tick_ns or 0
        self._sweep()
        doubtful = any(one.reason == _NO_CHANNEL for one in batch.rejects)
        if not (self._patterns or self._least > 1 or doubtful or self._found or batch.strangers):
            return batch
        enough = np.ones(len(readings), np.bool_)
        if self._least > 1:
            enough = channels_of_messages(readings) >= self._least
        begins = _begins(readings, enough)
        fits = np.arange(len(readings)) >= self._first_fitting(readings, enough, knows)[readings.series]
        matches = np.array([self._is_own(name) for name in readings.names], np.bool_)
        keep = matches[readings.series] & fits
        self._count_readings(readings, keep, matches)
        rejects = tuple(one for one in batch.rejects if not self._count_reject(one, begins, knows))
        assigned = {name for name, _ in begins if self._is_own(name)}
        self._assign(assigned)
        self._count_strangers(batch.strangers, assigned, knows)
        if keep.all() and len(rejects) == len(batch.rejects):
            return batch
        self._renew()
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
            if len(self._matches) >= _MOST_SERIES:
                self._matches.clear()
            found = any(fnmatchcase(name, pattern) for pattern in self._patterns)
            self._matches[name] = found
        return found

    def _count_readings(
        self, readings: Readings, keep: NDArray[np.bool_], matches: NDArray[np.bool_]
    ) -> None:
        counts = np.bincount(readings.series[~keep], minlength=len(readings.names))
        for at in np.flatnonzero(counts).tolist():
            self._count(readings.names[at], "channels" if matches[at] else "name", int(counts[at]))

    def _count_reject(self, reject: Reject, begins: _Begins, knows: Callable[[str], bool]) -> bool:
        """Return whether a rejected message is of unassigned series alone; then it is counted for each."""
        if reject.reason != _NO_CHANNEL:
            if not reject.series or self._is_own(reject.series):
                return False
            self._count(reject.series, "name", 1)
            return True
        names = reject.strangers or ((reject.series,) if reject.series else ())
        if not names or any(self._is_assigned(name, reject, begins, knows) for name in names):
            return False
        for name in names:
            self._count(name, "channels" if self._is_own(name) else "name", 1)
        return True

    def _is_assigned(self, name: str, reject: Reject, begins: _Begins, knows: Callable[[str], bool]) -> bool:
        first = begins.get((name, reject.partition))
        has_begun = first is not None and first <= reject.offset
        return self._is_own(name) and (has_begun or knows(name))

    def _count_strangers(
        self, strangers: Mapping[str, int], assigned: Set[str], knows: Callable[[str], bool]
    ) -> None:
        """Count series of formats whose messages may have no channel, once there were enough of these."""
        for name in assigned & self._few.keys():
            del self._few[name]
        for name, messages in strangers.items():
            if not self._is_own(name):
                self._count(name, "name", messages)
            elif name not in assigned and not knows(name):
                seen = messages + self._few.pop(name, 0)
                if name in self._found or seen >= _ENOUGH_MESSAGES:
                    self._count(name, "channels", seen)
                elif len(self._few) < _MOST_SERIES:
                    self._few[name] = seen
        if strangers:
            self._renew()

    def _count(self, name: str, reason: Reason, messages: int) -> None:
        self._messages[reason] += messages
        before = self._found.get(name)
        if before is None:
            if len(self._found) >= _MOST_SERIES:
                return
            self._log(name, reason)
        total = messages + (0 if before is None else before.messages)
        self._found[name] = UnassignedSeries(name, reason, total)
        self._seen[name] = self._now_ns

    def _log(self, name: str, reason: Reason) -> None:
        """Log an unassigned series, unless there were many."""
        self._num_logged += 1
        if self._num_logged > self._most_logged:
            return
        why = {
            "name": "its name matches no pattern of [model] series",
            "channels": "its messages have too few channels of the model",
        }
        more = "; further series are on the page alone" if self._num_logged == self._most_logged else ""
        logs.event(f"series is unassigned{more}", logging.WARNING, series=name, reason=why[reason])

    def _assign(self, names: Collection[str]) -> None:
        """Forget series that were unassigned until now."""
        self._remove([name for name in names if name in self._found])

    def _sweep(self) -> None:
        """Forget series that sent nothing for an hour."""
        if self._now_ns - self._swept_ns >= _SWEEP_NS:
            self._swept_ns = self._now_ns
            self._remove([name for name, at in self._seen.items() if self._now_ns - at > _MEMORY_NS])

    def _remove(self, names: list[str]) -> None:
        for name in names:
            del self._found[name], self._seen[name]
        if names:
            self._renew()

    def _renew(self) -> None:
        """Replace the figures that other threads read."""
        series = dict.fromkeys(REASONS, 0)
        for one in self._found.values():
            series[one.reason] += 1
        most = sorted(self._found.values(), key=lambda one: (-one.messages, one.name))[:_SHOWN]
        self.unassigned = Unassigned(series, dict(self._messages), tuple(most))


def channels_of_messages(readings: Readings) -> NDArray[np.int64]:
    """Return how many channels the message of each reading has in its series, int64 [readings]."""
    if not len(readings):
        return np.empty(0, np.int64)
    order = np.lexsort((readings.offset, readings.partition, readings.series))
    keys = np.column_stack([readings.series, readings.partition, readings.offset])[order]
    is_start = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    has = np.logical_or.reduceat(~np.isnan(readings.values[order]), np.flatnonzero(is_start), axis=0)
    found = np.empty(len(readings), np.int64)
    found[order] = has.sum(axis=1)[np.cumsum(is_start) - 1]
    return found


def _begins(readings: Readings, enough: NDArray[np.bool_]) -> _Begins:
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
