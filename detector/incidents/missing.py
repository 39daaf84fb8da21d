"""Incidents of channels that have stopped sending, while others of their series go on.

Channels that go missing at one row share an incident. It ends at the first row at which all of them have
sent again. Such incidents are apart from the one of the series' scores, so that a fault in another channel
opens an incident of its own meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.incidents.filters.maintenance import in_maintenance
from detector.incidents.filters.row_filter import FilteredRows
from detector.incidents.incident import ChannelEvidence, Incident, IncidentEvent, Track, incident_id
from detector.incidents.lifecycle import Lifecycle, ScoredBy
from detector.incidents.rules import IncidentRules
from detector.scoring.verdicts import State, Verdicts

_UNKNOWN = (State.GAP, State.STALE)


def follow_missing(
    track: Track,
    verdicts: Verdicts,
    span: range,
    lifecycle: Lifecycle,
    filtered: FilteredRows,
) -> list[IncidentEvent]:
    """Update the incidents of missing channels in `track`; return what changed, in order of time.

    Args:
        track: what is kept of the series; changed in place.
        verdicts: the next final verdicts.
        span: the rows of this series among them.
        lifecycle: the incident rules, and the model whose channels are watched. A maintenance window delays
            an opening.
        filtered: the same rows; a muted one delays an opening as well.
    """
    rules, scored_by, muted = lifecycle.rules, lifecycle.scored_by, filtered.muted
    events: list[IncidentEvent] = []
    for row in _changes(verdicts, span, bool(rules.maintenance) or bool(muted[span.start : span.stop].any())):
        at_ns, missing = int(verdicts.timestamp_ns[row]), verdicts.missing[row]
        gone = {scored_by.channels[at] for at in np.flatnonzero(missing).tolist()}
        events += _resolved(track, gone, at_ns)
        new = gone - {channel.name for one in track.missing for channel in one.channels}
        if new and not (muted[row] or _in_maintenance(rules, verdicts, row)):
            incident = _incident(verdicts, row, new, scored_by)
            track.missing.append(incident)
            events.append(IncidentEvent("opened", at_ns, incident))
    return events


def _changes(verdicts: Verdicts, span: range, delays: bool) -> list[int]:
    """Return the rows of `span` that can open or resolve something, in order.

    Nothing happens at a row with the same missing channels as the row before. Only what `delays` an opening,
    a maintenance window or a mute, may end there.
    """
    known = span.start + np.flatnonzero(~np.isin(verdicts.state[span.start : span.stop], _UNKNOWN))
    missing = verdicts.missing[known]
    changed = np.ones(len(known), np.bool_)
    changed[1:] = (missing[1:] != missing[:-1]).any(axis=1)
    if delays:
        changed |= missing.any(axis=1)
    rows: list[int] = known[changed].tolist()
    return rows


def _resolved(track: Track, gone: set[str], at_ns: int) -> list[IncidentEvent]:
    """Resolve the incidents whose channels have all sent again; return the events."""
    events, still = [], []
    for one in track.missing:
        if gone.isdisjoint(channel.name for channel in one.channels):
            events.append(
                IncidentEvent("resolved", at_ns, replace(one, state="resolved", end_ns=at_ns, ending="over"))
            )
        else:
            still.append(one)
    track.missing = still
    return events


def _in_maintenance(rules: IncidentRules, verdicts: Verdicts, row: int) -> bool:
    """Return whether the row lies in a maintenance window of its series."""
    here = slice(row, row + 1)
    if not rules.maintenance:
        return False
    inside: NDArray[np.bool_] = in_maintenance(
        rules.maintenance, verdicts.names, verdicts.series[here], verdicts.timestamp_ns[here]
    )
    return bool(inside[0])


def _incident(verdicts: Verdicts, row: int, names: set[str], scored_by: ScoredBy) -> Incident:
    """Return the incident of the channels `names` that opens at this row."""
    series, at_ns = verdicts.names[verdicts.series[row]], int(verdicts.timestamp_ns[row])
    channels = [at for at, name in enumerate(scored_by.channels) if name in names]
    identity = "\0".join(("missing", *(scored_by.channels[at] for at in channels)))
    return Incident(
        id=incident_id(scored_by.model, series, at_ns, identity),
        model=scored_by.model,
        version=scored_by.version,
        series=series,
        state="firing",
        reason="missing",
        severity="warning",
        start_ns=at_ns,
        opened_ns=at_ns,
        end_ns=None,
        peak_score=0.0,
        peak_ns=at_ns,
        channels=tuple(_evidence(verdicts, row, at, scored_by, len(channels)) for at in channels),
    )


def _evidence(
    verdicts: Verdicts, row: int, channel: int, scored_by: ScoredBy, num_channels: int
) -> ChannelEvidence:
    series = verdicts.names[verdicts.series[row]]
    expected, band = float(verdicts.expected[row, channel]), float(scored_by.band_of(series)[channel])
    name, actual = scored_by.channels[channel], float(verdicts.actual[row, channel])
    return ChannelEvidence(name, 1.0 / num_channels, actual, expected, expected - band, expected + band)
