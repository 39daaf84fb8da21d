"""Hand series over: save their state, restore it in another process, or move it to another model."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.engine.parts import Parts
from detector.engine.snapshot import Origin, SeriesState, gather, scatter
from detector.rows.grid import OpenReadings


def save_series(parts: Parts, slots: NDArray[np.int32]) -> list[SeriesState]:
    """Return the state of these series, by ascending slot; from now on they count as saved."""
    if len(slots) == 0:
        return []
    slots = np.sort(slots)
    cells = gather(parts.saved_arrays(), slots)
    parts.saved.mark_saved(slots)
    names = [parts.series.names[slot] for slot in slots.tolist()]
    return [
        SeriesState(
            name,
            origin,
            row.tobytes(),
            readings,
            doubt,
            parts.incidents.track(name),
        )
        for name, origin, row, readings, doubt in zip(
            names,
            _origins(parts, slots, names),
            cells,
            parts.grid.open_readings(slots),
            parts.grid.doubts(slots),
            strict=True,
        )
    ]


def _origins(parts: Parts, slots: NDArray[np.int32], names: Sequence[str]) -> list[Origin]:
    """Return the origin of the state of each series: it has the scales that are in force for it."""
    origins = [parts.origin.of_series(parts.artifact.spec, name) for name in names]
    scales = parts.window_scorer.scales
    new = np.flatnonzero(scales.learnt.stages(slots)).tolist()
    for at in new:
        center, scale = scales.trained_at(slots[at : at + 1])
        learnt = {"center": center[0].tobytes(), "scale": scale[0].tobytes()}
        origins[at] = msgspec.structs.replace(origins[at], **learnt)
    return origins


def restore_series(parts: Parts, states: Sequence[SeriesState], partition: int, now_ns: int | None) -> None:
    """Continue series from saved states. None of them may be known to `parts` yet.

    1. incidents   continue in any case, and so does what people decided; a state of another model or other
                   rules is urgent to save
    2. cells       are restored where layout and grid are the same; other series warm up
    3. open rows   are restored where the grid is the same: the interval of the series, and the lateness

    Args:
        parts: where the series continue.
        states: the saved states, all from one partition.
        partition: the input partition of the series.
        now_ns: the service's time from which silence is measured; None: from the next reading.

    Raises:
        ValueError: the cells do not have the size that their layout requires.
    """
    if not states:
        return
    slots = parts.number([state.name for state in states])
    parts.saved.assign(slots, partition)
    for slot, state in zip(slots.tolist(), states, strict=True):  # 1. incidents
        is_ours = state.origin.judges_like(parts.origin)
        track = state.track_for(parts.artifact.spec.channel_names)
        parts.incidents.restore(state.name, track, is_ours)
        if not is_ours:
            parts.saved.mark_urgent([slot])
    _restore_decided(parts, slots, states)
    parts.silence.begin(slots, now_ns)
    origin, spec = parts.origin, parts.artifact.spec
    alike = [state for state in states if state.origin.grid == origin.of_series(spec, state.name).grid]
    _restore_cells(parts, [state for state in alike if state.origin.layout == origin.layout])  # 2. cells
    _restore_open_rows(parts, alike)  # 3. open rows


def move_series(old: Parts, new: Parts) -> None:
    """Move every series from one model's parts to another's, which must know no series yet.

    All of them become urgent to save. Otherwise a restart would replay readings that the old model scored,
    and the new model would derive another state from them.
    """
    known = old.series.known()
    names = [old.series.names[slot] for slot in known.tolist()]
    partition, since = old.saved.partitions(known), old.saved.since(known)
    states = save_series(old, known)
    for number in np.unique(partition).tolist():
        restore_series(new, [states[at] for at in np.flatnonzero(partition == number).tolist()], number, None)
    slots = new.series.of(names)
    new.silence.continue_from(old.silence, known, slots)
    new.listening.continue_from(old.listening, known, slots)
    new.saved.resume(slots, since)
    new.saved.mark_urgent(slots)
    new.incidents.forget_inherited()


def _restore_decided(parts: Parts, slots: NDArray[np.int32], states: Sequence[SeriesState]) -> None:
    """Restore mutes, and which decisions were taken in: no decision may take effect once more."""
    arrays = parts.decided_arrays()
    width = gather(arrays, slots[:1]).shape[1]
    cells = [np.frombuffer(state.cells, np.uint8)[-width:] for state in states]
    scatter(arrays, slots, np.stack(cells))


def _restore_cells(parts: Parts, states: list[SeriesState]) -> None:
    """Restore the arrays of series whose states have the layout of `parts`."""
    if not states:
        return
    slots = parts.series.of([state.name for state in states])
    cells = np.stack([np.frombuffer(state.cells, np.uint8) for state in states])
    scatter(parts.saved_arrays(), slots, cells)
    parts.window_scorer.scales.note_restored()
    parts.window_scorer.scales.learnt.note_restored(slots)
    others = np.array([state.origin.model != parts.origin.model for state in states])
    if others.any():
        scaling = [state.origin.scaling() for state in states if state.origin.model != parts.origin.model]
        center, scale = (np.stack([one[at] for one in scaling]) for at in (0, 1))
        factor, offset = parts.window_scorer.rescale(slots[others], center, scale)
        parts.levels.rescale(slots[others], factor, offset)
        parts.window_scorer.discard_outputs(slots[others])
    _use_reference(parts, states, slots)


def _use_reference(parts: Parts, states: list[SeriesState], slots: NDArray[np.int32]) -> None:
    """Let series go on whose evidence was measured against another reference."""
    others = [at for at, state in enumerate(states) if state.origin.reference != parts.origin.reference]
    parts.row_scorer.evidences.use_other_reference(slots[others], [states[at].name for at in others])


def _restore_open_rows(parts: Parts, states: list[SeriesState]) -> None:
    """Restore the readings of rows that were still open."""
    if not states:
        return
    channels = parts.artifact.spec.channel_names
    slots = parts.series.of([state.name for state in states])
    readings = [state.open_for(channels) for state in states]
    parts.grid.reopen(
        np.repeat(slots, [len(one.row) for one in readings]),
        OpenReadings(
            np.concatenate([one.row for one in readings]),
            np.concatenate([one.timestamp_ns for one in readings]),
            np.concatenate([one.values for one in readings]),
        ),
    )
    for slot, doubt in zip(slots.tolist(), [state.doubt_for(channels) for state in states], strict=True):
        if doubt is not None:
            parts.grid.doubt(slot, doubt)
    cells = [np.frombuffer(state.cells, np.uint8, parts.grid.clock_bytes) for state in states]
    parts.grid.resume(slots, np.stack(cells))
