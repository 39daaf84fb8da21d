"""Open incidents whose evidence cannot be judged: nobody knows whether the fault is over.

Such an incident stays open. Its field `unjudged` has the time of the last judged row, and the reason. The
series or the channels to blame send nothing, they are not judged in the mode, or the window is not full. The
event `unjudged` is emitted after `unjudged_after` of event time and `quiet_rows` rows: by then the incident
could be over. The event `judged` follows at the first row that is judged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detector.incidents.filters.maintenance import in_maintenance
from detector.incidents.filters.row_filter import FilteredRows
from detector.incidents.incident import Blindness, Incident, IncidentEvent, Kind, Track, Unjudged
from detector.incidents.lasting import blamed
from detector.incidents.rules import IncidentRules
from detector.scoring.verdicts import State, Verdicts

_OF_SENSORS = ("flatline", "out_of_range")
"""Reasons that need no model: a value is enough to judge them."""
_WHY: dict[State, Blindness] = {
    State.GAP: "no_data",
    State.TRANSITION: "mode",
    State.IDLE: "mode",
    State.WARMING: "warming",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """Decides for each row whether it shows if the open incident of its series goes on.

    rules     the incident rules
    channels  names of the model's channels
    modes     names of its modes of operation, by number
    """

    rules: IncidentRules
    channels: tuple[str, ...]
    modes: tuple[str, ...]

    def follow(
        self, track: Track, verdicts: Verdicts, rows: FilteredRows, row: int
    ) -> tuple[bool, Kind | None]:
        """Take the next row of a series; return whether it counts, and the event to emit.

        A row that shows nothing about the open incident still counts where it is bad, or nearly so.

        Args:
            track: what is kept of the series; changed in place.
            verdicts: final verdicts.
            rows: the same rows as the rules see them.
            row: the row.
        """
        incident = track.incident
        if incident is None:
            return bool(rows.known[row]), None
        if self._shows(incident, verdicts, rows, row):
            return True, _note_judged(track, incident, int(verdicts.timestamp_ns[row]))
        is_loud = rows.known[row] and (rows.bad[row] or rows.strength[row] > self.rules.close_score)
        if verdicts.state[row] == State.STALE:  # only a daemon with a clock knows these rows
            return False, None
        return bool(is_loud), self._note_unjudged(track, incident, verdicts, row, bool(rows.muted[row]))

    def _shows(self, incident: Incident, verdicts: Verdicts, rows: FilteredRows, row: int) -> bool:
        """Return whether a channel that the incident blames was judged, or the score pages by itself.

        A change of mode is judged in every mode.
        """
        known = bool(rows.known[row])
        if incident.reason == "mode":
            return known or verdicts.state[row] == State.IDLE
        guilty = self._guilty(incident)
        if not known or not guilty or verdicts.score[row] > verdicts.threshold[row]:
            return known
        seen = ~np.isnan(verdicts.actual[row, guilty])
        if incident.reason not in _OF_SENSORS:
            seen &= ~np.isnan(verdicts.expected[row, guilty])
        return bool(seen.any())

    def _note_unjudged(
        self, track: Track, incident: Incident, verdicts: Verdicts, row: int, muted: bool
    ) -> Kind | None:
        """Note that a row shows nothing; return the event that this is, if it is one."""
        track.unjudged_rows += 1
        why = self._why(incident, verdicts, row)
        mode = self._mode(int(verdicts.mode[row])) if why == "mode" else None
        if incident.unjudged is not None:
            if (incident.unjudged.why, incident.unjudged.mode) != (why, mode):
                track.incident = replace(incident, unjudged=replace(incident.unjudged, why=why, mode=mode))
            return None
        waited_ns = int(verdicts.timestamp_ns[row]) - _since(track, incident)
        if track.unjudged_rows < self.rules.quiet_rows or waited_ns < self.rules.unjudged_after_ns:
            return None
        if muted or self._is_maintained(verdicts, row):
            return None
        _set_unjudged(track, incident, why, mode)
        return "unjudged"

    def _why(self, incident: Incident, verdicts: Verdicts, row: int) -> Blindness:
        """Return why a row shows nothing."""
        why = _WHY.get(State(int(verdicts.state[row])))
        if why is not None:
            return why
        guilty = self._guilty(incident)
        if guilty and np.isnan(verdicts.actual[row, guilty]).all():
            return "no_channel"
        return "mode" if verdicts.mode[row] >= 0 else "warming"

    def _guilty(self, incident: Incident) -> list[int]:
        """Return the numbers of the channels that the incident blames, of those that the model has."""
        return [self.channels.index(name) for name in blamed(incident) if name in self.channels]

    def _mode(self, number: int) -> str | None:
        return self.modes[number] if 0 <= number < len(self.modes) else None

    def _is_maintained(self, verdicts: Verdicts, row: int) -> bool:
        if not self.rules.maintenance:
            return False
        here = slice(row, row + 1)
        series, at_ns = verdicts.series[here], verdicts.timestamp_ns[here]
        return bool(in_maintenance(self.rules.maintenance, verdicts.names, series, at_ns)[0])


def note_silence(track: Track, now_ns: int) -> tuple[IncidentEvent, ...]:
    """Note that the series of the open incident has sent nothing for long, by the service's clock.

    Returns:
        The event, if it was not emitted before.
    """
    incident = track.incident
    if incident is None or incident.unjudged is not None:
        return ()
    return (IncidentEvent("unjudged", now_ns, _set_unjudged(track, incident, "no_data", None)),)


def unjudged_words(why: str, since: str, mode: str | None, channels: Sequence[str]) -> str:
    """Return in words since when and why nobody can tell whether an incident goes on.

    Args:
        why: a `Blindness`.
        since: the time of the last row at which it was judged.
        mode: the mode of operation, None where it is unknown.
        channels: names of the channels to blame.

    >>> unjudged_words("no_channel", "14:03", None, ["flow", "heat"])
    'no data of flow, heat since 14:03'
    >>> unjudged_words("mode", "14:03", "off", ["flow"])
    'not judged since 14:03, mode off'
    """
    if why == "no_data" or (why == "no_channel" and not channels):
        return f"no data since {since}"
    if why == "no_channel":
        return f"no data of {', '.join(channels)} since {since}"
    reason = f"mode {mode or 'unknown'}" if why == "mode" else "too few values for a window"
    return f"not judged since {since}, {reason}"


def _note_judged(track: Track, incident: Incident, at_ns: int) -> Kind | None:
    """Note that a row shows whether the incident goes on; return the event that this is, if it is one."""
    track.judged_ns, track.unjudged_rows = at_ns, 0
    if incident.unjudged is None:
        return None
    track.incident = replace(incident, unjudged=None)
    return "judged"


def _since(track: Track, incident: Incident) -> int:
    """Return the last row at which the incident was judged."""
    return max(track.judged_ns, incident.opened_ns)


def _set_unjudged(track: Track, incident: Incident, why: Blindness, mode: str | None) -> Incident:
    track.spells += 1
    told = Unjudged(_since(track, incident), why, mode, track.spells)
    track.incident = replace(incident, unjudged=told)
    return track.incident
