"""The rows of a step, judged in parts, so that what incidents decide acts on the later rows of the step.

The rows of each series are cut into parts where their row numbers are divisible by `PART_ROWS`. Between two
parts the feedback may change a series (`detector.engine.values.Feedback`). So its effect begins at a row that
depends on the rows alone, and not on how the stream was cut into steps.

    1. act     let the feedback act on series that begin a part
    2. score   score a stretch of each series: one part where the feedback is acting, else several
    3. follow  update the incidents
    4. undo    where an incident opened within a stretch of several parts, put the series back and judge it
               in shorter stretches

Because an incident seldom opens, nearly all rows are judged in long stretches, with full batches of windows.

Letters: n rows, k series, p parts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.engine.parts import Parts
from detector.engine.snapshot import gather, scatter
from detector.engine.values import StepResult
from detector.incidents.incident import IncidentEvent, Track
from detector.rows.grid import Rows, split_rows
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.row_scorer import RowVerdicts
from detector.scoring.verdicts import Verdicts

PART_ROWS = 32
_FIRST_STRETCH, _LONGEST_STRETCH = 16, 256
"""Parts of the first stretch of a series in a step, and of the longest; each is twice as long as the last."""

Update = Callable[[Verdicts], tuple[IncidentEvent, ...]]


class Rounds:
    """Judges the rows of one step, and collects what it finds.

    Args:
        parts: the parts of the engine.
        update: how the incidents take verdicts, `Incidents.update` or `Incidents.replay`.
    """

    def __init__(self, parts: Parts, update: Update) -> None:
        self._parts, self._update = parts, update
        self._final = list[RowVerdicts]()
        self._provisional = list[RowVerdicts]()
        self._named = list[tuple[Verdicts, Verdicts]]()
        self._events = list[IncidentEvent]()

    def judge(self, rows: Rows) -> None:
        """Score closed rows and update the incidents.

        Args:
            rows: sorted by slot and row, each newer than the last row of its series.
        """
        if not self._parts.feedback:
            self.follow(*_score(self._parts, rows))
            return
        queue = _Queue.of(rows)
        while (chosen := queue.remaining()).size:
            acting = self._act(queue, chosen)  # 1. act
            stretch, num = queue.stretch(chosen, acting)
            unsure = queue.slots[chosen[num > 1]]
            before = _Before.of(self._parts, unsure) if len(unsure) else None
            scored = _score(self._parts, stretch)  # 2. score
            undone: dict[int, int] = {}
            if before is None:
                self.follow(*scored)  # 3. follow
            else:
                undone = self._try(scored, before)  # 3. follow, 4. undo
            queue.advance(chosen, num, acting, undone)

    def follow(self, final: list[RowVerdicts], provisional: list[RowVerdicts]) -> None:
        """Remember the newest verdict of each series, update the incidents."""
        found = self._remembered(final, provisional)
        self._keep(final, provisional, found, self._update(found[0]))

    def finish_waiting(self, slots: NDArray[np.int32]) -> None:
        """Follow the waiting rows of these series with the windows so far."""
        rows = self._parts.window_scorer.flush(slots)
        if len(rows):
            self.follow([self._parts.row_scorer.score(rows)], [])

    def report(self, events: Sequence[IncidentEvent]) -> None:
        """Add events that no verdict caused."""
        self._events += events

    def result(self) -> StepResult:
        """Return everything that was found. Series with events become urgent to save."""
        parts, spec = self._parts, self._parts.artifact.spec
        if len(self._named) == 1:
            final, provisional = self._named[0]
        else:
            final = RowVerdicts.named(self._final, parts.series.names, spec)
            provisional = RowVerdicts.named(self._provisional, parts.series.names, spec)
        slots = parts.series.of([event.incident.series for event in self._events])
        parts.saved.mark_urgent(slots)
        order = np.argsort(slots, kind="stable").tolist()
        return StepResult(final, tuple(self._events[at] for at in order), provisional)

    def _act(self, queue: _Queue, chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Let the feedback act where a part begins; return for which series it is acting, bool [k]."""
        slots = queue.slots[chosen]
        acting = np.zeros(len(slots), np.bool_)
        for one in self._parts.feedback:
            mine = one.acting(slots)
            if mine.any():
                begins = mine & (self._parts.window_scorer.newest(slots) // PART_ROWS != queue.part(chosen))
                self._events += one.act(slots[begins], self.finish_waiting) if begins.any() else ()
                acting |= one.acting(slots)
        return acting

    def _try(self, scored: _Scored, before: _Before) -> dict[int, int]:
        """Follow the verdicts, but keep none of series on which the feedback should have acted.

        Returns:
            For each of these, the row of the incident that woke the feedback, by slot.
        """
        parts = self._parts
        sure = _without(scored, before.slots)
        if any(map(len, sure[0] + sure[1])):
            self.follow(*sure)
        unsure = _only(scored, before.slots)
        suppressed = dict(parts.incidents.suppressed)
        found = self._remembered(*unsure)
        events = self._update(found[0])
        woken = [event for event in events if any(one.wakes(event) for one in parts.feedback)]
        if not woken:
            self._keep(*unsure, found, events)
            return {}
        undone: dict[int, int] = {}
        for event in woken:
            slot = int(parts.series.of([event.incident.series])[0])
            undone.setdefault(slot, event.at_ns // int(parts.grid.intervals.data[slot]))
        put_back = np.array(sorted(undone), np.int32)
        before.put_back(parts, put_back)
        parts.incidents.suppressed.update(suppressed)
        rest = _without(unsure, put_back)
        if any(map(len, rest[0] + rest[1])):
            self.follow(*rest)
        return undone

    def _remembered(
        self, final: list[RowVerdicts], provisional: list[RowVerdicts]
    ) -> tuple[Verdicts, Verdicts]:
        """Name the series and remember the newest verdict of each; return both kinds of verdicts."""
        parts, spec = self._parts, self._parts.artifact.spec
        verdicts = RowVerdicts.named(final, parts.series.names, spec)
        fresh = RowVerdicts.named(provisional, parts.series.names, spec)
        parts.latest.remember(verdicts)
        parts.latest.remember(fresh)
        parts.judged.remember(verdicts)
        slots = parts.series.of(verdicts.names)
        parts.levels.remember(verdicts, slots)
        for one in parts.cold:
            one.remember(verdicts, slots)
        return verdicts, fresh

    def _keep(
        self,
        final: list[RowVerdicts],
        provisional: list[RowVerdicts],
        named: tuple[Verdicts, Verdicts],
        events: Sequence[IncidentEvent],
    ) -> None:
        self._final += final
        self._provisional += provisional
        self._named.append(named)
        self._events += events


_Scored = tuple[list[RowVerdicts], list[RowVerdicts]]
"""Final and provisional verdicts."""


def _score(parts: Parts, rows: Rows) -> _Scored:
    """Return final and provisional verdicts of closed rows; some series at a time, to bound memory."""
    final, provisional = [], []
    for some in split_rows(rows, parts.artifact.spec.window):
        outputs = parts.window_scorer.add(some)
        final.append(parts.row_scorer.score(outputs.final))
        if outputs.provisional is not None:
            provisional.append(parts.row_scorer.score_provisional(outputs.provisional))
    return final, provisional


def _only(scored: _Scored, slots: NDArray[np.int32]) -> _Scored:
    """Return the verdicts of these series."""
    final, provisional = ([one.take(np.isin(one.slot, slots)) for one in kind] for kind in scored)
    return final, provisional


def _without(scored: _Scored, slots: NDArray[np.int32]) -> _Scored:
    """Return the verdicts of all series but these."""
    final, provisional = ([one.take(~np.isin(one.slot, slots)) for one in kind] for kind in scored)
    return final, provisional


@dataclass(slots=True)
class _Queue:
    """The rows that are still to be judged: each series has some parts left.

    rows    all rows of the step
    first   intp [p + 1], the first row of each part, then the number of rows
    slots   int32 [k], ascending
    next    intp [k], the next part of each series
    end     intp [k], the part behind its last one
    limit   int64 [k], most parts of its next stretch
    wake    intp [k], the part at whose beginning a stretch ends, since it woke the feedback; -1: none
    """

    rows: Rows
    first: NDArray[np.intp]
    slots: NDArray[np.int32]
    next: NDArray[np.intp]
    end: NDArray[np.intp]
    limit: NDArray[np.int64]
    wake: NDArray[np.intp]

    @classmethod
    def of(cls, rows: Rows) -> _Queue:
        """Return a queue of all parts of these rows."""
        first = starts_of(rows.slot, rows.row // PART_ROWS)
        begin = starts_of(rows.slot[first])
        end = begin + lengths_of(begin, len(first))
        num = len(begin)
        limit, wake = np.full(num, _FIRST_STRETCH, np.int64), np.full(num, -1, np.intp)
        return cls(rows, np.append(first, len(rows)), rows.slot[first[begin]], begin, end, limit, wake)

    def remaining(self) -> NDArray[np.intp]:
        """Return the series that have parts left, as indices."""
        return np.flatnonzero(self.next < self.end)

    def part(self, chosen: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the number of the next part of these series, int64 [chosen]."""
        number: NDArray[np.int64] = self.rows.row[self.first[self.next[chosen]]] // PART_ROWS
        return number

    def stretch(self, chosen: NDArray[np.intp], acting: NDArray[np.bool_]) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows of the next stretch of these series, and its parts, int64 [chosen]."""
        at, wake = self.next[chosen], self.wake[chosen]
        num = np.minimum(self.limit[chosen], self.end[chosen] - at)
        num = np.where(at <= wake, np.minimum(num, np.maximum(wake - at, 1)), num)
        num[acting] = 1
        start, stop = self.first[at], self.first[at + num]
        lengths = stop - start
        if lengths.sum() == len(self.rows):
            return self.rows, num
        rows = np.repeat(start - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        return Rows(self.rows.slot[rows], self.rows.row[rows], self.rows.values[rows]), num

    def advance(
        self,
        chosen: NDArray[np.intp],
        num: NDArray[np.int64],
        acting: NDArray[np.bool_],
        undone: dict[int, int],
    ) -> None:
        """Go on behind the stretch, except in series that were put back (slot -> row that woke)."""
        again = np.isin(self.slots[chosen], list(undone))
        self.next[chosen[~again]] += num[~again]
        self.limit[chosen] = np.minimum(2 * self.limit[chosen], _LONGEST_STRETCH)
        self.limit[chosen[acting | again]] = _FIRST_STRETCH
        for at in chosen[again].tolist():
            number = undone[int(self.slots[at])] // PART_ROWS
            parts = self.rows.row[self.first[self.next[at] : self.end[at]]] // PART_ROWS
            self.wake[at] = self.next[at] + max(0, int(np.searchsorted(parts, number)))


@dataclass(slots=True)
class _Before:
    """The state of series before a stretch: what scoring changes, and what following changes."""

    slots: NDArray[np.int32]
    scoring: NDArray[np.uint8]
    following: NDArray[np.uint8]
    tracks: list[Track | None]

    @classmethod
    def of(cls, parts: Parts, slots: NDArray[np.int32]) -> _Before:
        """Return the state of these series as it is now."""
        tracks = [parts.incidents.track(parts.series.names[slot]) for slot in slots.tolist()]
        scoring, following = gather(_scoring(parts), slots), gather(parts.following_arrays(), slots)
        return cls(slots, scoring, following, copy.deepcopy(tracks))

    def put_back(self, parts: Parts, undone: NDArray[np.int32]) -> None:
        """Let the rows of the stretch be unfollowed in all these series, and unscored in `undone`."""
        scatter(_scoring(parts), undone, self.scoring[np.isin(self.slots, undone)])
        scatter(parts.following_arrays(), self.slots, self.following)
        for slot, track in zip(self.slots.tolist(), self.tracks, strict=True):
            parts.incidents.put_back(parts.series.names[slot], track)


def _scoring(parts: Parts) -> list[SeriesArray]:
    """Return every array over series that scoring rows changes, the counts included."""
    return [*parts.scoring_arrays(), parts.window_scorer.counts.array]
