"""Incidents of silence: series that send nothing, and a stream that stops, by the service's clock.

Silence is not in the input, so no replay finds it again. Every change must therefore be saved with the batch
in which it is emitted (`SilenceEvents.changed`), and replays leave it out. The incident of a silent series is
kept in its track. That of the stream (`detector.incidents.stream`) is kept in the track of one series, which
carries it to the process that reads this series next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.incidents.incident import IncidentEvent
from detector.incidents.incidents import Incidents
from detector.incidents.rules import IncidentRules
from detector.incidents.stream.silence import NEVER, Elsewhere, StreamSilence, ended, made, muted
from detector.rows.series_arrays import SeriesArray

Limit = int | NDArray[np.int64]
"""One number of nanoseconds, or one for each series."""


@dataclass(frozen=True, slots=True)
class SilenceEvents:
    """Events of silence, and the slots whose state must be saved with them."""

    events: tuple[IncidentEvent, ...] = ()
    changed: tuple[int, ...] = ()


class SilenceWatch:
    """Keeps when each series sent something last, and opens and resolves incidents of silence.

    Not thread-safe.

    Args:
        rules: the incident rules; `rules.watchdog` has the limits.
        incidents: where the open incidents are kept.
        names: the name of the series in each slot, shared with the engine.
    """

    def __init__(self, rules: IncidentRules, incidents: Incidents, names: Sequence[str]) -> None:
        self._rules = rules
        self._incidents = incidents
        self._names = names
        self._stream = StreamSilence(incidents, names)
        self._last_seen_ns = SeriesArray((), np.int64, NEVER)
        self._last_time_ns = SeriesArray((), np.int64, np.iinfo(np.int64).min)
        self._silent = SeriesArray((), np.bool_, False)

    @property
    def is_on(self) -> bool:
        """Whether a limit of silence is set."""
        return bool(self._rules.watchdog.series_after_ns or self._rules.watchdog.stream_after_ns)

    @property
    def is_stream_silent(self) -> bool:
        """Whether the whole stream is silent, as this process or another one reports."""
        return self._stream.is_silent

    def note_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Take what is known of the other processes of the group."""
        self._stream.note_elsewhere(elsewhere)

    def use_rules(self, rules: IncidentRules) -> None:
        """Apply other rules; open incidents stay open."""
        self._rules = rules

    def arrays(self) -> tuple[SeriesArray, ...]:
        """Return every array over series that this object keeps. None is part of a saved state."""
        return (self._last_seen_ns, self._last_time_ns, self._silent)

    def begin(self, slots: NDArray[np.int32], now_ns: int | None) -> None:
        """Begin to watch restored series at `now_ns`; None: at their next reading."""
        if now_ns is not None:
            self._stream.begin(now_ns)
        self._begin_series(slots, now_ns)

    def begin_unseen(self, known: NDArray[np.int32], now_ns: int) -> None:
        """Begin to watch those of `known` that only a replay has made known: they may never send again."""
        self._begin_series(known[self._last_seen_ns.data[known] == NEVER], now_ns)

    def _begin_series(self, slots: NDArray[np.int32], now_ns: int | None) -> None:
        self._last_seen_ns.data[slots] = NEVER if now_ns is None else now_ns
        for slot in slots.tolist():
            track = self._incidents.track(self._names[slot])
            self._silent.data[slot] = track is not None and track.silence is not None
            if track is not None and track.stream is not None:
                self._stream.carry(slot)

    def continue_from(self, other: SilenceWatch, theirs: NDArray[np.int32], ours: NDArray[np.int32]) -> None:
        """Take over when the series sent something last.

        Args:
            other: the watch that has followed the series so far.
            theirs: the slots of the series in `other`, int32 [n].
            ours: the slots of the same series here, int32 [n].
        """
        self._stream.continue_from(other._stream)
        self._last_seen_ns.data[ours] = other._last_seen_ns.data[theirs]

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._stream.drop(slots)
        for array in self.arrays():
            array.reset(slots)

    def stale(self, known: NDArray[np.int32], now_ns: int, limit_ns: Limit) -> NDArray[np.int32]:
        """Return those of `known` that have sent nothing for longer than `limit_ns`."""
        last_seen = self._last_seen_ns.data[known]
        return known[(last_seen >= 0) & (now_ns - last_seen > limit_ns)]

    def note_readings(self, slots: NDArray[np.int32], readings: Readings, now_ns: int) -> SilenceEvents:
        """Record that these series sent readings at `now_ns`, or that another process got one.

        Resolve their silence incidents, dated by the first reading's event time. Readings that repeat one
        time do not count: a sensor with a clock that stands overwrites one row and is never judged.

        Args:
            slots: the number of each series in `readings.names`, int32.
            readings: what came.
            now_ns: the service's time.
        """
        before_ns = self._stream.last_ns
        if not self._stream.listen(now_ns if len(readings) else None):
            return SilenceEvents()
        if before_ns != NEVER and self._stream.last_ns - before_ns > self._shortest():
            last_seen = self._last_seen_ns.data
            last_seen[last_seen >= 0] = now_ns  # while the stream paused, no series could send anything
        if len(readings) == 0:
            events, carriers = self._stream.end(now_ns)
            return SilenceEvents(tuple(events), tuple(carriers))
        received = self._note_times(slots, readings)
        self._last_seen_ns.data[slots[received]] = now_ns
        silent = np.flatnonzero(self._silent.data[slots] & received)
        if len(silent) == 0 and not self._stream.is_silent:
            return SilenceEvents()
        codes, first = np.unique(readings.series, return_index=True)
        first_ns = dict(zip(codes.tolist(), readings.timestamp_ns[first].tolist(), strict=True))
        events, carriers = self._stream.end(max(first_ns.values()))
        events += [self._end_of_silence(int(slots[code]), first_ns[code]) for code in silent.tolist()]
        return SilenceEvents(tuple(events), (*carriers, *slots[silent].tolist()))

    def _note_times(self, slots: NDArray[np.int32], readings: Readings) -> NDArray[np.bool_]:
        """Remember the time of the last reading of each series; return which sent another, bool [slots]."""
        slot = slots[readings.series]
        is_other = readings.timestamp_ns != self._last_time_ns.data[slot]
        self._last_time_ns.data[slot] = readings.timestamp_ns  # of several readings the last one counts
        return np.isin(slots, slot[is_other])

    def find_silent(
        self,
        known: NDArray[np.int32],
        newest_ns: NDArray[np.int64],
        now_ns: int,
        partitions: NDArray[np.int32],
    ) -> SilenceEvents:
        """Open incidents for what has fallen silent by `now_ns`.

        Args:
            known: the slots of all known series, int32 [n].
            newest_ns: each series' newest event time, int64 [n], below 0 where unknown.
            now_ns: the service's time.
            partitions: each series' input partition, int32 [n].
        """
        if len(known) == 0 or not self.is_on:
            return SilenceEvents()
        newest_ns = np.where(newest_ns > 0, newest_ns, np.maximum(self._last_seen_ns.data[known], 0))
        events, changed = self._stream.open(self._rules, known, partitions, int(newest_ns.max()), now_ns)
        silent = self._watch_series(known, newest_ns, now_ns)
        return SilenceEvents(events + silent.events, changed + silent.changed)

    def _shortest(self) -> int:
        limits = (self._rules.watchdog.series_after_ns, self._rules.watchdog.stream_after_ns)
        return min((limit for limit in limits if limit), default=np.iinfo(np.int64).max)

    def _watch_series(
        self, known: NDArray[np.int32], newest_ns: NDArray[np.int64], now_ns: int
    ) -> SilenceEvents:
        limits = self._rules.watchdog
        if not limits.series_after_ns:
            return SilenceEvents()
        last_seen = self._last_seen_ns.data[known]
        until_ns = self._stream.last_ns if limits.stream_after_ns else now_ns  # while others go on
        late = (last_seen >= 0) & (until_ns - last_seen > limits.series_after_ns)
        fallen = np.flatnonzero(late & ~self._silent.data[known])
        if len(fallen) == 0:
            return SilenceEvents()
        names = tuple(self._names[slot] for slot in known[fallen].tolist())
        is_muted = muted(self._rules, names, now_ns) | self._muted_by_people(known[fallen], now_ns)
        events, changed = [], []
        for at in fallen[~is_muted].tolist():
            slot, name = int(known[at]), self._names[int(known[at])]
            incident = made(self._incidents.scored_by, name, "silent", "warning", int(newest_ns[at]), now_ns)
            self._incidents.track_of(name).silence = incident
            self._silent.data[slot] = True
            events.append(IncidentEvent("opened", now_ns, incident))
            changed.append(slot)
        return SilenceEvents(tuple(events), tuple(changed))

    def _muted_by_people(self, slots: NDArray[np.int32], now_ns: int) -> NDArray[np.bool_]:
        """Return which series are muted at `now_ns`, bool [n]. The last mute to begin by then counts.

        That includes mutes that wait for a row: a machine that was switched off sends none.
        """
        found = self._incidents.mutes.at(slots, np.full(len(slots), now_ns))
        for place, slot in enumerate(slots.tolist()):
            track = self._incidents.track(self._names[slot])
            for one in () if track is None else track.pending:
                if one.action == "mute" and one.until_ns is not None and one.at_ns <= now_ns:
                    found[place] = now_ns < one.until_ns
        return found

    def _end_of_silence(self, slot: int, at_ns: int) -> IncidentEvent:
        self._silent.data[slot] = False
        track = self._incidents.track_of(self._names[slot])
        assert track.silence is not None
        event, track.silence = ended(track.silence, at_ns), None
        return event
