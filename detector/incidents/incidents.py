"""The incidents of all series: verdicts in, incident events out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.incidents.filters.mutes import Mutes
from detector.incidents.filters.row_filter import FilteredRows, RowFilter
from detector.incidents.incident import Incident, IncidentEvent, Passage, Track
from detector.incidents.lifecycle import Lifecycle, ScoredBy
from detector.incidents.missing import follow_missing
from detector.incidents.rules import SUPPRESSIONS, IncidentRules, Suppression
from detector.incidents.shapes.explainer import Explainer
from detector.incidents.shapes.knowledge import Knowledge
from detector.rows.series_arrays import SeriesArray, SeriesIndex, lengths_of, starts_of
from detector.scoring.verdicts import Verdicts


class Incidents:
    """Applies the incident rules to the verdicts of all series. Only series with bad rows cost time.

    Args:
        rules: the incident rules.
        model: name of the model, part of every incident's id.
        version: version of the model.
        channels: names of the model's channels.
        band_of: returns half the width of each channel's expected range in a series, float64 [C], in the
            units of the channels.
        series: the numbers of the series, if they are shared with others.

    Raises:
        ValueError: a rule names a channel that the model does not know.
    """

    def __init__(
        self,
        rules: IncidentRules,
        model: str,
        version: str,
        channels: tuple[str, ...],
        band_of: Callable[[str], NDArray[np.float64]],
        series: SeriesIndex | None = None,
    ) -> None:
        self.suppressed: dict[Suppression, int] = dict.fromkeys(SUPPRESSIONS, 0)
        self.scored_by = ScoredBy(model, version, channels, band_of)
        self._series = SeriesIndex() if series is None else series
        self._tracks: dict[str, Track] = {}
        self._inherited: set[str] = set()
        self._row_filter = RowFilter(rules, channels, self.suppressed)
        self._lifecycle = Lifecycle(rules, self.scored_by, self.suppressed)
        self._explainer = Explainer(Knowledge(channels, band_of))

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that are firing."""
        return tuple(incident for track in self._tracks.values() for incident in track.open)

    @property
    def open_of_rows(self) -> tuple[Incident, ...]:
        """Those of them that rows opened: neither silence nor missing channels."""
        tracks = self._tracks.values()
        return tuple(track.incident for track in tracks if track.incident is not None)

    def use_rules(self, rules: IncidentRules) -> None:
        """Apply other rules from the next row on; open incidents stay open.

        Raises:
            ValueError: a rule names a channel that the model does not know. The old rules stay in force.
        """
        self._row_filter.use_rules(rules)
        self._lifecycle = Lifecycle(rules, self.scored_by, self.suppressed)

    def know_passages(
        self, passage_of: Callable[[str, int], Passage | None], modes: tuple[str, ...] = ()
    ) -> None:
        """Take how to name the change of mode of a series that has left the mode of this number.

        Args:
            passage_of: returns the change.
            modes: the names of all modes, by number.
        """
        self.scored_by = replace(self.scored_by, passage_of=passage_of, modes=modes)
        self._lifecycle = replace(self._lifecycle, scored_by=self.scored_by)

    def explain_by(self, knowledge: Knowledge) -> None:
        """Take what explanations of incidents may know of the model."""
        self._explainer.knowledge = knowledge

    def update(self, verdicts: Verdicts) -> tuple[IncidentEvent, ...]:
        """Take the next final verdicts, sorted by series and time; return what changed, in their order."""
        return self._update(verdicts, ())

    def replay(self, verdicts: Verdicts) -> tuple[IncidentEvent, ...]:
        """Take verdicts of rows whose verdicts were emitted before; see `update`.

        Incidents that were restored from another model or other rules stay unchanged. The decisions of this
        model on those rows were never published.
        """
        return self._update(verdicts, self._inherited)

    def track(self, series: str) -> Track | None:
        """Return what is kept of a series, None where there is nothing."""
        return self._tracks.get(series)

    def track_of(self, series: str) -> Track:
        """Return what is kept of a series; begin to keep something where there was nothing."""
        return self._tracks.setdefault(series, Track())

    def put_back(self, series: str, track: Track | None) -> None:
        """Keep of a series what `track` has; None: nothing."""
        if track is None:
            self._tracks.pop(series, None)
        else:
            self._tracks[series] = track

    def restore(self, series: str, track: Track | None, is_ours: bool) -> None:
        """Continue the incidents of a series from its saved state.

        Args:
            series: its name.
            track: what was kept of it, None where nothing was.
            is_ours: whether it was saved under the same model and rules; see `replay`.
        """
        if track is not None:
            self._tracks[series] = track
        if not is_ours:
            self._inherited.add(series)

    def forget_inherited(self) -> None:
        """Treat every series as saved under this model and these rules."""
        self._inherited.clear()

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series; another process continues their incidents."""
        for slot in slots.tolist():
            name = self._series.names[slot]
            self._tracks.pop(name, None)
            self._inherited.discard(name)
        self._row_filter.drop(slots)
        self._explainer.drop(slots)

    @property
    def rules(self) -> IncidentRules:
        """The incident rules in force."""
        return self._lifecycle.rules

    @property
    def mutes(self) -> Mutes:
        """Until when each series is muted."""
        return self._row_filter.mutes

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that verdicts change; `mutes` has those that people change."""
        return [*self._row_filter.arrays(), *self._explainer.arrays()]

    def take_suppressed(self) -> dict[Suppression, int]:
        """Return how many bad rows each rule suppressed since the last call, and count from zero again."""
        counts = dict(self.suppressed)
        self.suppressed.update(dict.fromkeys(SUPPRESSIONS, 0))
        return counts

    def _update(self, verdicts: Verdicts, unchanged: Collection[str]) -> tuple[IncidentEvent, ...]:
        """Update every series except those in `unchanged`."""
        slots = self._series.of(verdicts.names)
        rows = self._row_filter.apply(verdicts, slots)
        events = self._follow_all(verdicts, rows, unchanged)
        self._explainer.remember(slots[verdicts.series], verdicts, rows.known)
        return tuple(events)

    def _follow_all(
        self, verdicts: Verdicts, rows: FilteredRows, unchanged: Collection[str]
    ) -> list[IncidentEvent]:
        """Update every series that is bad or was so recently, except those in `unchanged`."""
        is_loud = rows.bad | verdicts.missing.any(axis=1)
        events: list[IncidentEvent] = []
        if not is_loud.any() and not self._tracks:
            return events
        starts = starts_of(verdicts.series)
        ends = starts + lengths_of(starts, len(verdicts))
        loud_series = np.logical_or.reduceat(is_loud, starts) if len(starts) else is_loud
        for start, end, has_bad in zip(starts.tolist(), ends.tolist(), loud_series.tolist(), strict=True):
            series = verdicts.names[verdicts.series[start]]
            if (not has_bad and series not in self._tracks) or series in unchanged:
                continue
            track = self.track_of(series)
            events += self._follow(track, verdicts, rows, range(start, end))
            known = verdicts.timestamp_ns[start:end][rows.known[start:end]]
            if self._lifecycle.is_over(track, int(known[-1]) if len(known) else 0):
                del self._tracks[series]
        return events

    def _follow(
        self, track: Track, verdicts: Verdicts, rows: FilteredRows, span: range
    ) -> list[IncidentEvent]:
        """Update everything that is kept of one series; return what changed, by time."""
        events = self._lifecycle.follow(track, verdicts, rows, span)
        if events or track.course is not None:
            known = span.start + np.flatnonzero(rows.known[span.start : span.stop])
            slot = int(self._series.of([verdicts.names[verdicts.series[span.start]]])[0])
            events = self._explainer.explain(track, events, slot, verdicts, known)
        if track.missing or verdicts.missing[span.start : span.stop].any():
            events += follow_missing(track, verdicts, span, self._lifecycle, rows)
            events.sort(key=lambda event: event.at_ns)
        return events
