"""Series that send nothing, by the service's clock: silent, stale, and at last forgotten.

An open incident of such a series stays open, and says that there is no data.

What is forgotten leaves nothing behind: no memory, no metric, no saved state. Its open incidents resolve. A
series that comes again is a new one.

How silence is measured. The time during which the service listened is added up. A pause of the process, a
jump of its clock, or an outage of Kafka are no time without a reading. Nothing is added during a replay, nor
while the whole stream is reported silent: then nothing can arrive of any series. The sum is part of
the saved state, so that restarts do not begin it again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.engine.decided.decisions import Decisions
from detector.engine.parts import Parts
from detector.engine.values import Forgotten
from detector.incidents.filters.maintenance import in_maintenance
from detector.incidents.incident import IncidentEvent
from detector.incidents.retired import retire
from detector.incidents.unjudged import note_silence
from detector.scoring.row_scorer import RowVerdicts


@dataclass(frozen=True, slots=True)
class Absent:
    """What a look at the clock has found.

    events    silence that begins or ends
    verdicts  of series that became stale
    gone      the slots of series to forget, int32 [n]
    """

    events: tuple[IncidentEvent, ...]
    verdicts: list[RowVerdicts]
    gone: NDArray[np.int32]


def watch(parts: Parts, slots: NDArray[np.int32], readings: Readings, now_ns: int | None) -> Absent:
    """Look for series that send nothing. What is found is urgent to save.

    Args:
        parts: what is kept of every series.
        slots: the number of each series in `readings.names`, int32.
        readings: what came.
        now_ns: the service's time; None: there is no clock, and nothing is found.
    """
    if now_ns is None:
        return Absent((), [], np.empty(0, np.int32))
    events = _find_silent(parts, slots, readings, now_ns) + _find_unjudged(parts, now_ns)
    listening = parts.listening
    listening.tick(now_ns, stands=parts.silence.is_stream_silent)
    listening.note(slots)
    found = listening.look(parts.series.known) if listening.is_due else None
    if found is None:
        return Absent(events, _find_stale(parts, now_ns), np.empty(0, np.int32))
    parts.saved.mark_urgent(found.to_save)
    return Absent(events, _find_stale(parts, now_ns), found.gone)


def forget(
    parts: Parts, decisions: Decisions, gone: NDArray[np.int32], now_ns: int | None
) -> tuple[Forgotten, ...]:
    """Forget these series; return what must be removed elsewhere, and the events of what was open.

    A series that comes again takes in every decision about it that was given, as it does after a restart.
    """
    if len(gone) == 0 or now_ns is None:
        return ()
    newest_ns = parts.latest.starts(gone)
    found = []
    for slot, row_ns in zip(gone.tolist(), newest_ns.tolist(), strict=True):
        name = parts.series.names[slot]
        events = retire(parts.incidents.track(name), row_ns, now_ns)
        found.append(Forgotten(name, slot, parts.saved.places(slot), parts.saved.end(slot), events))
    decisions.drop([one.name for one in found])
    parts.drop(gone)
    return tuple(found)


def _find_silent(
    parts: Parts, slots: NDArray[np.int32], readings: Readings, now_ns: int
) -> tuple[IncidentEvent, ...]:
    """Return the events of silence that begins or ends."""
    ended = parts.silence.note_readings(slots, readings, now_ns)
    known = parts.series.known() if parts.silence.is_on else np.empty(0, np.int32)
    parts.silence.begin_unseen(known, now_ns)
    partitions = parts.saved.partitions(known)
    begun = parts.silence.find_silent(known, parts.grid.newest(known), now_ns, partitions)
    parts.saved.mark_urgent([*ended.changed, *begun.changed])
    return ended.events + begun.events


def _find_unjudged(parts: Parts, now_ns: int) -> tuple[IncidentEvent, ...]:
    """Return the events of open incidents whose series have sent nothing for long.

    That is `unjudged_after` and `quiet_rows` of its rows. A silent stream has one incident for all series.
    """
    waiting = [one.series for one in parts.incidents.open_of_rows if one.unjudged is None]
    if not waiting or parts.silence.is_stream_silent:
        return ()
    rules, slots = parts.incidents.rules, parts.series.of(waiting)
    limit_ns = np.maximum(rules.unjudged_after_ns, rules.quiet_rows * parts.grid.intervals.data[slots])
    found = parts.silence.stale(slots, now_ns, limit_ns)
    if len(found) == 0:
        return ()
    now, names = np.full(len(found), now_ns), tuple(parts.series.names[slot] for slot in found.tolist())
    muted = parts.incidents.mutes.at(found, now)
    muted |= in_maintenance(rules.maintenance, names, np.arange(len(found), dtype=np.int32), now)
    found = found[~muted]
    parts.saved.mark_urgent(found)
    tracks = [parts.incidents.track_of(parts.series.names[slot]) for slot in found.tolist()]
    return tuple(event for track in tracks for event in note_silence(track, now_ns))


def _find_stale(parts: Parts, now_ns: int) -> list[RowVerdicts]:
    """Return the verdicts of series that became stale by now."""
    limit_ns = parts.options.stale_after_ns
    if limit_ns is None:
        return []
    stale = parts.latest.not_stale(parts.silence.stale(parts.series.known(), now_ns, limit_ns))
    parts.saved.mark_urgent(stale)
    return [parts.row_scorer.stale(stale, parts.latest.starts(stale))]
