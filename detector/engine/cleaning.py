"""While an incident is open, its departures do not become the past by which the next rows are judged.

Cleaning begins and ends between two parts of a series (`detector.engine.rounds`). Only channels are cleaned
whose small departures have added up to an alarm, and that make the others depart. So where cleaning keeps a
score high, the cumulative evidence keeps the incident open anyway.

Letters: n series, C channels, L kept rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detector.engine.parts import Parts
from detector.engine.rounds import PART_ROWS
from detector.incidents.incident import LEVEL_REASONS, Incident, IncidentEvent
from detector.rows.series_arrays import SeriesArray
from detector.scoring.lasting.clean_past import CleanPast
from detector.scoring.lasting.guilty import guilty


class CleanWindows:
    """Cleans the past of series with an open incident (`detector.engine.values.Feedback`)."""

    def __init__(self, parts: Parts, past: CleanPast) -> None:
        self._parts, self._past = parts, past

    def acting(self, slots: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of these series are cleaned, or have an open incident, bool [n]."""
        parts = self._parts
        acting, level = self._past.are_active(slots).copy(), parts.row_scorer.page_level
        if level is not None:
            acting |= level.are_within(slots)
        if parts.incidents.rules.clean_windows:
            series = [one.series for one in parts.incidents.open if one.reason in LEVEL_REASONS]
            if series:
                acting |= np.isin(slots, parts.series.of(series))
        return acting

    def wakes(self, event: IncidentEvent) -> bool:
        """Return whether an incident opened whose rows are to be cleaned."""
        reasons = LEVEL_REASONS if self._parts.incidents.rules.clean_windows else ()
        return event.kind == "opened" and event.incident.reason in reasons

    def act(
        self, slots: NDArray[np.int32], finish_waiting: Callable[[NDArray[np.int32]], None]
    ) -> tuple[IncidentEvent, ...]:
        """Begin, continue or end the cleaning of these series; nothing is to be reported."""
        for slot in slots.tolist():
            incident, one = self._incident(slot), np.array([slot], np.int32)
            self._stand(one, incident is not None)
            if incident is None or not self._parts.window_scorer.ages(one)[0]:
                self._past.drop(one)
            else:
                self._clean(slot, incident)
        return ()

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Do nothing: what is kept belongs to the windows, which drop it."""

    def arrays(self) -> list[SeriesArray]:
        """Return no arrays: what is kept belongs to the windows."""
        return []

    def _stand(self, one: NDArray[np.int32], is_open: bool) -> None:
        """Let the page levels stand still while small departures hold the incident of a series."""
        scorer = self._parts.row_scorer
        held = is_open and scorer.lasting is not None and bool(scorer.lasting.in_alarm(int(one[0])).any())
        scorer.stand(one, np.array([held]))

    def _incident(self, slot: int) -> Incident | None:
        """Return the open incident of a series whose rows are to be cleaned."""
        rules = self._parts.incidents.rules
        track = self._parts.incidents.track(self._parts.series.names[slot])
        incident = None if track is None else track.incident
        if incident is None or incident.reason not in LEVEL_REASONS:
            return None
        return incident if rules.clean_windows else None

    def _clean(self, slot: int, incident: Incident) -> None:
        """Find what departs in which channels now, and clean the kept rows of the incident."""
        parts, past, lasting = self._parts, self._past, self._parts.row_scorer.lasting
        assert lasting is not None
        one = np.array([slot], np.int32)
        newest = int(parts.window_scorer.newest(one)[0])
        start = incident.start_ns // int(parts.grid.intervals.data[slot])
        if newest < start:  # its clock went back: the rows of the incident are gone
            past.drop(one)
            return
        kept = parts.window_scorer.past.data[slot]
        if not past.are_active(one)[0]:
            past.begin(slot, lasting.usual_departures(slot, start), kept)
        num = min(newest - start + 1, len(kept))
        recent = past.raw(slot)[-min(num, PART_ROWS) :].astype(np.float64)
        now, means = guilty(
            lambda rows, some: past.departures(slot, rows, some),
            recent,
            past.means(slot, newest, kept, lasting.running_means(slot)),
            lasting.spread,
            lasting.in_alarm(slot),
        )
        past.take(slot, now, means, newest)
        kept[-num:], _ = past.cleaned(np.full(num, slot, np.int32), past.raw(slot)[-num:])


def clean_windows(parts: Parts) -> tuple[CleanWindows, ...]:
    """Return what cleans the windows of an engine, if its model has a reference and no rows wait."""
    lasting = parts.row_scorer.lasting
    if lasting is None:
        return ()
    past = parts.window_scorer.clean_by(lasting.spread, lasting.departures)
    return () if past is None else (CleanWindows(parts, past),)
