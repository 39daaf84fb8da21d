"""Explain incidents while they go on: which shape their rows have, and which channels go along.

An explanation is made where something changes (opened, escalated, lasting, resolved), and after 1, 2, 4, 8
and so on rows of an open incident. It follows from the rows until then alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.incidents.incident import Incident, IncidentEvent, Track
from detector.incidents.shapes.course import course_from, go_on, rows_of
from detector.incidents.shapes.knowledge import Knowledge
from detector.incidents.shapes.naming import explanation_of
from detector.incidents.shapes.recent_rows import RECENT, RecentRows, Stretch, as_cells
from detector.rows.series_arrays import SeriesArray
from detector.scoring.verdicts import Verdicts


class Explainer:
    """Explains the incidents of bad rows of all series. Not thread-safe.

    Args:
        knowledge: what is usual, by the model.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self._recent = RecentRows(len(knowledge.channels))

    def explain(
        self,
        track: Track,
        events: list[IncidentEvent],
        slot: int,
        verdicts: Verdicts,
        known: NDArray[np.intp],
    ) -> list[IncidentEvent]:
        """Return the events with explained incidents, and explain the open incident in `track`.

        Args:
            track: what is kept of the series; all of `events` have happened.
            events: what changed at the rows.
            slot: the number of the series.
            verdicts: the next final verdicts.
            known: the known rows of the series among them, intp, ascending.
        """
        if not events and track.course is None:
            return events
        rows = _Rows.of(self._recent.of(slot), verdicts, known)
        found, newest = list[IncidentEvent](), None
        for event in events:
            at = rows.at(event.at_ns)
            if event.kind == "opened":
                track.course = course_from(rows.last(at))
                rows.done = at
            self._follow(track, rows, at)
            newest = self._explained(track, event.incident, rows.last(at))
            found.append(replace(event, incident=newest))
            if event.kind == "resolved":
                track.course = newest = None
        if track.incident is None:
            track.course = None
        elif track.course is not None:
            if newest is not None:
                track.incident = replace(track.incident, explanation=newest.explanation)
            self._look_again(track, track.incident, rows)
        return found

    def remember(self, slot: NDArray[np.int32], verdicts: Verdicts, known: NDArray[np.bool_]) -> None:
        """Keep the newest known rows of every series.

        Args:
            slot: the series of each row, int32 [n].
            verdicts: the next final verdicts, which have been explained.
            known: bool [n].
        """
        order = np.flatnonzero(known)
        self._recent.add(
            slot[order], verdicts.timestamp_ns[order], verdicts.actual[order], verdicts.expected[order]
        )

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._recent.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the saved cells."""
        return self._recent.arrays()

    def _look_again(self, track: Track, incident: Incident, rows: _Rows) -> None:
        """Explain the open incident at the last row whose number is a power of two, then go on to the end."""
        assert track.course is not None
        end = len(rows.all) - 1
        num = track.course.num + end - rows.done
        due = 1 << (num.bit_length() - 1) if num > 0 else 0
        if due > track.course.num:
            at = rows.done + due - track.course.num
            self._follow(track, rows, at)
            track.incident = self._explained(track, incident, rows.last(at))
        self._follow(track, rows, end)

    def _follow(self, track: Track, rows: _Rows, at: int) -> None:
        """Add the rows up to this one to the course of the incident."""
        if track.course is not None:
            go_on(track.course, rows.all.take(slice(rows.done + 1, at + 1)))
        rows.done = at

    def _explained(self, track: Track, incident: Incident, newest: Stretch) -> Incident:
        rows = newest if track.course is None else rows_of(track.course, newest)
        return replace(incident, explanation=explanation_of(incident, rows, self.knowledge))


@dataclass(slots=True)
class _Rows:
    """The known rows of one series: those before a step, and those of the step.

    done  the row up to which the course of the incident goes, as an index
    """

    all: Stretch
    first: int
    done: int

    @classmethod
    def of(cls, before: Stretch, verdicts: Verdicts, known: NDArray[np.intp]) -> _Rows:
        values = np.stack([verdicts.actual[known], verdicts.expected[known]], axis=1)
        cells = as_cells(values)
        when = np.concatenate([before.when, verdicts.timestamp_ns[known]])
        return cls(Stretch(when, np.concatenate([before.cells, cells])), len(before), len(before) - 1)

    def at(self, time_ns: int) -> int:
        """Return the index of the last row of the step that starts at this time or before."""
        return self.first - 1 + int(np.searchsorted(self.all.when[self.first :], time_ns, side="right"))

    def last(self, at: int) -> Stretch:
        """Return the last rows up to this one, as many as are kept of every series."""
        return self.all.take(slice(max(0, at + 1 - RECENT), at + 1))
