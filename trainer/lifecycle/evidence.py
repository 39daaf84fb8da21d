"""Measure models on the same rows: known faults that they find, alarms, injected faults that they find."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.columns import SERIES, TIMESTAMP
from connectors.parquet.dataset import Dataset
from connectors.parquet.reader import Chunk, read_chunks
from connectors.parquet.writer import TableWriter
from detector.artifact.spec import Artifact, Spec
from detector.calibration.alarm_budget import parse_budget
from detector.engine.engine import EngineOptions
from detector.incidents.incident import MODEL_REASONS, Incident
from detector.offline.backtest import Given, backtest_parquet
from detector.selfcheck.faults import LEVEL_ROWS, LONG_ROWS, Fault, Kind, inject, stretch_rows
from detector.selfcheck.scratch import Scratch
from trainer.data.history import Chunks, History, Segment, build_history
from trainer.errors import TooLittleDataError
from trainer.fitting.usual_end import TimeSpan
from trainer.lifecycle.past import FOREVER, Past, Stretch, time_outside

_LEAD_WINDOWS = 8
"""Rows before those that count, in windows: the models fill their windows and what they count with them."""
_MOST_STRETCHES, _MOST_CHANNELS = 8, 16
_KINDS: tuple[tuple[Kind, int], ...] = (("spike", 1), ("level", LEVEL_ROWS), ("level", LONG_ROWS))
_SIZES = (0.5, 1.0, 2.0, 4.0)
"""Sizes of injected faults, in scales of the channel."""
_CLEARLY = 1.5
"""The score of a stretch from which it is clearly in alarm."""
_SURE, _LARGE = 0.99, 500.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold what one model did with the rows.

    found     places of the known faults in which an incident was open
    alarms    incidents on held-back rows outside known faults; None without held-back rows
    allowed   how many the alarm budget allows there, chance included; None without held-back rows
    in_alarm  share of the held-back time in such alarms, 0 to 1; None without held-back rows
    share     share of the injected faults that it finds, 0 to 1; None without enough held-back rows
    """

    found: frozenset[int]
    alarms: int | None = None
    allowed: int | None = None
    in_alarm: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold the rows on which models are compared.

    rows       Parquet file of the rows to replay; None without any
    num_rows   how many readings it has
    channels   names of its channels
    faults     the known faults in these rows
    mutes      stretches in which a person wanted no incidents: nothing is counted there
    since_ns   rows from this time on are held back: they trained none of the models
    last_ns    time of the last row, by `trainer.fitting.usual_end`
    stretches  held-back rows without known faults and mutes, float64 [L, C] each, and the series of each
    seconds    time of all held-back rows outside mutes, of all series together; 0 without any
    options    of the engine
    """

    rows: Path | None
    num_rows: int
    channels: tuple[str, ...]
    faults: tuple[Stretch, ...]
    mutes: tuple[Stretch, ...]
    since_ns: int
    last_ns: int
    stretches: tuple[tuple[NDArray[np.float64], str], ...]
    seconds: float
    options: EngineOptions


def gather(
    dataset: Dataset,
    past: Past,
    since_ns: int,
    specs: Sequence[Spec],
    scratch: Path,
    options: EngineOptions,
) -> Evidence:
    """Write the rows to replay into a scratch directory, and read held-back stretches.

    Args:
        dataset: History with all channels of the models.
        past: Its known faults, those outside the history left out, and its mutes.
        since_ns: Rows from this time on trained none of the models. `FOREVER`: no row is held back.
        specs: The models that will be compared.
        scratch: Directory of the caller for the rows.
        options: Options of the engine.
    """
    lead_ns = _LEAD_WINDOWS * max(spec.window * spec.interval_ns for spec in specs)
    starts = [since_ns, *(one.start_ns for one in past.faults)]
    from_ns = max(min(starts) - lead_ns, 0)
    rows, num_rows, span = scratch / "rows.parquet", 0, TimeSpan()
    with TableWriter(rows) as writer:
        for chunk in between(dataset, from_ns)():
            writer.write(_columns(chunk, dataset.channels))
            num_rows += len(chunk)
            span.add(chunk.timestamp_ns)
    first_ns, last_ns = (span.first_ns, span.end_ns) if num_rows else (FOREVER, 0)
    inside = tuple(
        replace(one, end_ns=min(one.end_ns, last_ns))  # one that lasts is known until the end of the rows
        for one in past.faults
        if one.start_ns <= last_ns and one.end_ns >= first_ns
    )
    length = max(stretch_rows(spec) for spec in specs)
    known = replace(past, faults=inside)
    stretches, seconds = _held_back(dataset, since_ns, length, specs[0].max_gap, known)
    return Evidence(
        rows if num_rows else None,
        num_rows,
        dataset.channels,
        inside,
        past.mutes,
        since_ns,
        last_ns,
        stretches,
        seconds,
        options,
    )


def measure(evidence: Evidence, artifact: Artifact, unit: Spec, on_rows: Callable[[int], None]) -> Measured:
    """Replay the rows through a model, and inject faults into the held-back ones.

    Args:
        evidence: With rows.
        artifact: The model.
        unit: The description whose scales the sizes of the injected faults have, the same for all models.
        on_rows: Receives the number of readings of each batch.
    """
    assert evidence.rows is not None
    given = Given(follow=lambda batch: None if batch is None else on_rows(len(batch.readings)))
    incidents = backtest_parquet(artifact, evidence.rows, evidence.options, None, given).incidents
    found = frozenset(
        at
        for at, fault in enumerate(evidence.faults)
        if any(_is_answer(one, fault, artifact.spec) for one in incidents)
    )
    if not evidence.seconds:
        return Measured(found)
    expected = evidence.seconds * parse_budget(artifact.spec.threshold.alarm_budget)
    alarms = _alarms(evidence, incidents, artifact.spec)
    return Measured(
        found,
        sum(not _is_muted(one, evidence) for one in alarms),
        most_by_chance(expected),
        _time_of(alarms, evidence) / evidence.seconds,
        _share(evidence, artifact, unit),
    )


def between(dataset: Dataset, from_ns: int, to_ns: int = FOREVER) -> Chunks:
    """Return the rows of a data set from one time to before another, as a training reads them."""

    def chunks() -> Iterator[Chunk]:
        for chunk in read_chunks(dataset):
            inside = (chunk.timestamp_ns >= from_ns) & (chunk.timestamp_ns < to_ns)
            if inside.all():
                yield chunk
            elif inside.any():
                yield replace(
                    chunk,
                    timestamp_ns=chunk.timestamp_ns[inside],
                    series=chunk.series[inside],
                    values=chunk.values[inside],
                    label=None if chunk.label is None else chunk.label[inside],
                    split=None if chunk.split is None else chunk.split[inside],
                )

    return chunks


def most_by_chance(expected: float) -> int:
    """Return the least number that a Poisson count with this mean exceeds in at most 1 % of cases.

    >>> [most_by_chance(mean) for mean in (0.01, 0.1, 1.0, 10.0)]
    [0, 1, 4, 18]
    """
    if expected > _LARGE:  # where a Poisson count is nearly normal
        return math.ceil(expected + 2.33 * math.sqrt(expected))
    term = total = math.exp(-expected)
    number = 0
    while total < _SURE:
        number += 1
        term *= expected / number
        total += term
    return number


def _columns(chunk: Chunk, channels: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    columns: dict[str, NDArray[np.generic]] = {
        TIMESTAMP: chunk.timestamp_ns,
        SERIES: np.array(chunk.names, dtype=object)[chunk.series],
    }
    return columns | {name: chunk.values[:, at] for at, name in enumerate(channels)}


def _held_back(
    dataset: Dataset, since_ns: int, length: int, max_gap: int, past: Past
) -> tuple[tuple[tuple[NDArray[np.float64], str], ...], float]:
    """Return stretches of held-back rows, evenly spread, and the time of all of them in seconds."""
    if since_ns == FOREVER:
        return (), 0.0
    try:
        history = build_history(between(dataset, since_ns), dataset.channels, dataset.interval_ns, max_gap)
    except TooLittleDataError:
        return (), 0.0
    with history:
        seconds = sum(_time_unmuted(history, one, past.mutes) for one in history.segments) / 1e9
        known = (*past.faults, *past.mutes)
        places = [
            (segment.position + at, segment.series)
            for segment in history.segments
            for at in range(0, segment.length - length + 1, max(1, length // 2))
            if not _is_faulty(history, segment.series, segment.row + at, length, known)
        ]
        chosen = np.linspace(0, len(places) - 1, min(_MOST_STRETCHES, len(places))).round().astype(int)
        picked = [places[at] for at in chosen.tolist()]
        stretches = tuple((history.read(at, at + length).copy(), series) for at, series in picked)
    return stretches, seconds


def _time_unmuted(history: History, segment: Segment, mutes: Sequence[Stretch]) -> int:
    """Return how long a segment lasts outside mutes, nanoseconds."""
    interval_ns = history.interval_of(segment.series)
    start_ns, end_ns = segment.row * interval_ns, (segment.row + segment.length) * interval_ns
    return time_outside(mutes, segment.series, start_ns, end_ns)


def _is_faulty(history: History, series: str, row: int, length: int, faults: Sequence[Stretch]) -> bool:
    interval_ns = history.interval_of(series)
    start_ns, end_ns = row * interval_ns, (row + length) * interval_ns
    return any(one.overlaps(series, start_ns, end_ns) for one in faults)


def _is_answer(incident: Incident, fault: Stretch, spec: Spec) -> bool:
    """Return whether an incident is about a known fault: it was open then, and did not begin long before.

    A model in constant alarm finds nothing.
    """
    window_ns = spec.window * spec.interval_of(fault.series)
    early_ns = max(window_ns, min(fault.end_ns - fault.start_ns, _LEAD_WINDOWS * window_ns))
    is_open = fault.overlaps(incident.series, incident.start_ns, _end(incident))
    return is_open and incident.start_ns >= fault.start_ns - early_ns


def _alarms(evidence: Evidence, incidents: Sequence[Incident], spec: Spec) -> list[Incident]:
    """Return the incidents of the budget that were open on held-back rows and are about no known fault."""
    return [
        one
        for one in incidents
        if one.reason in MODEL_REASONS
        and _end(one) >= evidence.since_ns
        and not any(_is_answer(one, fault, spec) for fault in evidence.faults)
    ]


def _time_of(incidents: Sequence[Incident], evidence: Evidence) -> float:
    """Return for how many seconds of the held-back rows outside mutes incidents were open."""
    return (
        sum(
            time_outside(
                evidence.mutes,
                one.series,
                max(one.start_ns, evidence.since_ns),
                min(_end(one), evidence.last_ns),
            )
            for one in incidents
        )
        / 1e9
    )


def _is_muted(incident: Incident, evidence: Evidence) -> bool:
    """Return whether a mute touches an incident; its time outside the mute counts all the same."""
    end_ns = _end(incident)
    return any(one.overlaps(incident.series, incident.start_ns, end_ns) for one in evidence.mutes)


def _end(incident: Incident) -> int:
    return FOREVER if incident.end_ns is None else incident.end_ns


def _share(evidence: Evidence, artifact: Artifact, unit: Spec) -> float | None:
    """Return the share of the injected faults that the model finds; None without a stretch.

    A fault must exceed what its stretch reaches without it. In a stretch that is clearly in alarm without a
    fault nothing is found, since the incident is open already.
    """
    spec, scratch = artifact.spec, Scratch(artifact)
    columns = [evidence.channels.index(name) for name in spec.channel_names]
    normal = [(rows[:, columns], series) for rows, series in evidence.stretches]
    names = [series for _, series in normal]
    level = [
        np.inf if peak.exceeds(_CLEARLY) else max(1.0, peak.score if np.isfinite(peak.score) else 1.0)
        for peak in scratch.peaks([rows for rows, _ in normal], names)
    ]
    wanted = [name for name in unit.channel_names if name in spec.channel_names][:_MOST_CHANNELS]
    found = []
    for kind, rows in _KINDS:
        copies = [
            inject(stretch, _fault(spec, unit, (kind, rows, name), size, series, at), spec)
            for name in wanted
            for size in _SIZES
            for at, (stretch, series) in enumerate(normal)
        ]
        limits = level * (len(wanted) * len(_SIZES))
        peaks = scratch.peaks(copies, names * (len(wanted) * len(_SIZES)))
        found += [limit < np.inf and peak.exceeds(limit) for peak, limit in zip(peaks, limits, strict=True)]
    return float(np.mean(found)) if found else None


def _fault(spec: Spec, unit: Spec, what: tuple[Kind, int, str], size: float, series: str, at: int) -> Fault:
    """Return a fault of a size in scales of the channel in this series; signs alternate by stretch."""
    kind, rows, name = what
    place = unit.channel_names.index(name)
    scale = float(unit.channels[place].scale * unit.share_of_common(series)[place])
    return Fault(kind, spec.channel_names.index(name), rows, size * scale * (-1) ** at)
