"""The end of incidents whose series has vanished: they resolve, and their ending says why."""

from __future__ import annotations

from dataclasses import replace

from detector.incidents.incident import Incident, IncidentEvent, Track


def retire(track: Track | None, newest_ns: int, now_ns: int) -> tuple[IncidentEvent, ...]:
    """Return the events that resolve everything that is open in `track`; `track` itself stays.

    An incident of rows ends with its last row that was not quiet. One of missing channels ends with the
    newest row, and one of silence ends now.

    Args:
        track: what is kept of the series; None: nothing.
        newest_ns: the event time of its newest row, below 0 where there is none.
        now_ns: the service's time, at which the series is forgotten.
    """
    if track is None:
        return ()
    ends: list[tuple[Incident | None, int]] = [
        (track.incident, track.last_loud_ns),
        (track.silence, now_ns),
        *((one, newest_ns) for one in track.missing),
    ]
    return tuple(
        IncidentEvent(
            "resolved",
            now_ns,
            replace(one, state="resolved", end_ns=max(one.start_ns, end_ns), ending="retired"),
        )
        for one, end_ns in ends
        if one is not None
    )
