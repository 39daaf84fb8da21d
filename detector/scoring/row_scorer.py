"""The outputs of the ensemble for a row become its error, score, state and contributions.

Letters: n rows, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from detector.artifact.budget_shares import budget_shares, limit_of
from detector.artifact.spec import Spec
from detector.rows.series_arrays import SeriesArray, lengths_of, starts_of
from detector.scoring.cell_flags import DEPARTS, HOLE, MISSING, OUT_OF_RANGE, STUCK, UNJUDGED
from detector.scoring.context.evidences import Evidences, RowsSpoken
from detector.scoring.context.first_moves import MOVED_SCORE, FirstMoves, Moves
from detector.scoring.context.modes import ModeRules, RowModes
from detector.scoring.context.spoken import loudest
from detector.scoring.ensemble_error import EnsembleError
from detector.scoring.kinds import Kind
from detector.scoring.lasting.evidence import LastingEvidence
from detector.scoring.outputs.overlap import RowOutput
from detector.scoring.page_level import CLOSE, PageLevel
from detector.scoring.series_scales import SeriesScales
from detector.scoring.verdicts import State, Verdicts

_CLEAR = math.log(1.1)
"""The logarithm of the score, in units of the page level, from which a row begins sums of its channels."""
_MAX_ERROR = 1e30  # its powers stay finite


@dataclass(frozen=True, slots=True)
class RowVerdicts:
    """Verdicts by slot and start of the row, int64 [n]; the other columns are those of `Verdicts`.

    Inside the engine a series is a slot. `named` gives the public `Verdicts`, in which it is a name.
    """

    slot: NDArray[np.int32]
    start_ns: NDArray[np.int64]
    score: NDArray[np.float64]
    state: NDArray[np.uint8]
    actual: NDArray[np.float64]
    expected: NDArray[np.float64]
    contribution: NDArray[np.float32]
    threshold: NDArray[np.float64]
    missing: NDArray[np.bool_]
    paged: NDArray[np.bool_]
    cumulative: NDArray[np.float64]
    kind: NDArray[np.uint8]
    mode: NDArray[np.int16]
    left: NDArray[np.int16]
    clipped: NDArray[np.bool_]
    lines: NDArray[np.object_]
    cold: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, rows: NDArray[np.bool_]) -> RowVerdicts:
        """Return the verdicts of a mask, bool [n]."""
        return RowVerdicts(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def joined(parts: list[RowVerdicts]) -> RowVerdicts:
        """Return several parts (at least one) as one, sorted by slot; of one series, earlier parts first."""
        if len(parts) == 1:
            return parts[0]
        columns = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(RowVerdicts)]
        order = np.argsort(columns[0], kind="stable")
        return RowVerdicts(*(column[order] for column in columns))

    @staticmethod
    def named(parts: list[RowVerdicts], names: Sequence[str], spec: Spec) -> Verdicts:
        """Return several parts (possibly none) as public verdicts, sorted by series and time.

        Args:
            parts: verdicts by slot and row.
            names: the name of the series in each slot.
            spec: the model's channels.
        """
        if not any(map(len, parts)):
            return Verdicts.empty(len(spec.channels))
        rows = RowVerdicts.joined(parts)
        starts = starts_of(rows.slot)
        return Verdicts(
            names=tuple(names[slot] for slot in rows.slot[starts].tolist()),
            series=np.repeat(np.arange(len(starts), dtype=np.int32), lengths_of(starts, len(rows))),
            timestamp_ns=rows.start_ns,
            score=rows.score,
            state=rows.state,
            actual=rows.actual,
            expected=rows.expected,
            contribution=rows.contribution,
            threshold=rows.threshold,
            missing=rows.missing,
            paged=rows.paged,
            cumulative=rows.cumulative,
            kind=rows.kind,
            mode=rows.mode,
            left=rows.left,
            clipped=rows.clipped,
            lines=rows.lines,
            cold=rows.cold,
        )


class RowScorer:
    """Turns the outputs of `WindowScorer` for rows into verdicts. Not thread-safe.

    Args:
        spec: the model.
        scales: the scales of each series, shared with the `WindowScorer`.
        intervals: length of a row of each series in nanoseconds, int64; read at each call.

    Attributes:
        evidences: what adds up beside the score.
        page_level: that of the score; None if nothing raises it.
    """

    def __init__(self, spec: Spec, scales: SeriesScales, intervals: SeriesArray) -> None:
        self._num_channels, self._scales, self._intervals = len(spec.channels), scales, intervals
        self._judged, self._num_members, self._stride = scales.learnt.judged, len(spec.members), spec.stride
        members, combine = spec.members, spec.scoring.combine
        self._final_error = EnsembleError(members, [member.settled for member in members], combine)
        self._provisional_error = EnsembleError(members, [member.fresh for member in members], combine)
        self._threshold = spec.threshold.value
        self._provisional_threshold = spec.threshold.fresh or spec.threshold.value
        self._sharpness = spec.threshold.sharpness
        limit = spec.threshold.limit
        self.page_level = None if limit is None else PageLevel(limit, CLOSE / self._sharpness)
        self.evidences = Evidences(spec, scales, intervals)
        self._rules = ModeRules.of(spec)
        of_moves = limit_of(limit, budget_shares(spec).moves)
        self._moves = FirstMoves(scales, of_moves) if scales.still.any() else None

    def score(self, rows: RowOutput) -> RowVerdicts:
        """Return the final verdicts of `rows`, which must be sorted by slot and row."""
        error = self._judged(rows.slot, self._error(rows, self._final_error, self._threshold), note=True)
        if self.page_level is None:
            level = np.zeros(len(rows))
        else:
            level = self.page_level.levels(rows.slot, rows.row, np.log(np.maximum(error, 1e-300)))
        alarm = np.log(np.maximum(error, 1e-300)) > level + _CLEAR / self._sharpness
        alarm &= ~np.any((rows.flags & DEPARTS) > 0, axis=1)  # the evidence of the channel is in alarm
        spoken = self.evidences.add(rows, (rows.flags & HOLE) > 0, alarm)
        return self._verdicts(rows, error, level, spoken, self._moves_in(rows, error))

    def score_provisional(self, rows: RowOutput) -> RowVerdicts:
        """Return provisional verdicts, by the windows that end at the rows and the calibrated threshold.

        Rows between two window ends get no verdict. They are not warming: no window has covered them yet.
        """
        if self._stride > 1:
            rows = rows.take((rows.row + 1) % self._stride == 0)
        provisional = self._error(rows, self._provisional_error, self._provisional_threshold)
        error = self._judged(rows.slot, provisional, note=False)
        return self._verdicts(rows, error, np.zeros(len(rows)), RowsSpoken())

    def stale(self, slot: NDArray[np.int32], start_ns: NDArray[np.int64]) -> RowVerdicts:
        """Return verdicts of state `STALE` for series that send nothing any more.

        Args:
            slot: the series, int32 [n].
            start_ns: the start of the last row of each, int64 [n].
        """
        return _stale(slot, start_ns, self._num_channels)

    def restart(self, slots: NDArray[np.int32]) -> None:
        """Continue these series with other row numbers; sums of evidence stay."""
        if self.page_level is not None:
            self.page_level.drop(slots)
        self.evidences.restart(slots)
        if self._moves is not None:
            self._moves.restart(slots)

    def stand(self, slots: NDArray[np.int32], within_fault: NDArray[np.bool_]) -> None:
        """Say of these series whether small departures hold an incident, which raises no page level."""
        if self.page_level is not None:
            self.page_level.stand(slots, within_fault)
        self.evidences.stand(slots, within_fault)

    @property
    def lasting(self) -> LastingEvidence | None:
        """The evidence of the level, which adds up; None where the model has no reference."""
        return self.evidences.level

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        if self.page_level is not None:
            self.page_level.drop(slots)
        self.evidences.drop(slots)
        if self._moves is not None:
            self._moves.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that this object keeps, in the order of the snapshot's cells."""
        of_level = [] if self.page_level is None else self.page_level.arrays()
        of_moves = [] if self._moves is None else self._moves.arrays()
        return [*of_level, *self.evidences.arrays(), *of_moves]

    def _moves_in(self, rows: RowOutput, error: NDArray[np.float64]) -> Moves | None:
        """Return which channels moved that never did in the history; None if the model has none."""
        if self._moves is None:
            return None
        values = np.where((rows.flags & HOLE) > 0, np.nan, rows.actual)
        return self._moves.add(rows.slot, rows.row, values, ~np.isnan(error) & ~np.isnan(values).all(axis=1))

    def _error(self, rows: RowOutput, combined: EnsembleError, threshold: float) -> NDArray[np.float64]:
        """Return the error of each row in units of the threshold of its mode and time, float64 [n].

        The threshold is higher at times at which errors are usually high.
        """
        statistics = np.concatenate(rows.means[1 : 1 + self._num_members], axis=1)
        error: NDArray[np.float64] = combined.errors(statistics) / threshold
        factor = self.evidences.factor(rows.row * self._intervals.data[rows.slot])
        if factor is not None:
            error /= factor
        if self._rules is not None:
            error /= self._rules.factors(RowModes.of(rows.context))
            error[((rows.flags & UNJUDGED) > 0).all(axis=1)] = np.nan
        return error

    def _verdicts(
        self,
        rows: RowOutput,
        error: NDArray[np.float64],
        level: NDArray[np.float64],
        spoken: RowsSpoken,
        moves: Moves | None = None,
    ) -> RowVerdicts:
        """Return verdicts; `error` in units of the threshold, `level` the logarithm of such an error."""
        unknown = np.isnan(rows.actual) | ((rows.flags & HOLE) > 0)
        error = np.where(unknown.all(axis=1), np.nan, error)
        score = np.minimum(error, _MAX_ERROR) ** self._sharpness
        score = self._scales.with_range(rows.slot, np.where(unknown, np.nan, rows.actual), score)
        threshold = np.exp(level * self._sharpness)
        found = loudest(score, threshold, spoken.spoken)
        modes = None if self._rules is None else RowModes.of(rows.context)
        paged = found.paged
        if moves is not None:
            paged, alone = paged | moves.paged, moves.rows & ~(score > 1.0) & ~(found.cumulative > 1.0)
            score = np.where(moves.rows, np.fmax(score, MOVED_SCORE), score)
        state = _states(rows, score, found.cumulative)
        if self._rules is not None and modes is not None:
            _note_modes(state, self._rules, modes)
        blame, expected, clipped = self._blame_and_expected(rows, state, found.kind, spoken)
        if moves is not None:
            blame = moves.blame(blame, alone)
        hidden = unknown | np.isnan(score)[:, None]
        hidden[found.kind == Kind.MODE] = False
        contribution = _shares(blame, hidden)
        _blame_flagged(contribution, rows.flags, state)
        expected = self._scales.to_channels(expected, rows.slot)
        expected[(rows.flags & UNJUDGED) > 0] = np.nan
        mode, left = _numbers(modes, len(rows))
        start_ns = rows.row * self._intervals.data[rows.slot]
        missing = (rows.flags & MISSING) > 0
        return RowVerdicts(
            *(rows.slot, start_ns, score, state, rows.actual, expected, contribution, threshold, missing),
            paged=paged,
            cumulative=found.cumulative,
            kind=found.kind,
            mode=mode,
            left=left,
            clipped=clipped,
            lines=_lines(len(rows), spoken),
            cold=self._scales.learnt.are_cold(rows.slot),
        )

    def _blame_and_expected(
        self, rows: RowOutput, state: NDArray[np.uint8], kind: NDArray[np.uint8], spoken: RowsSpoken
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Return the blame and the expected value, in model units, of each channel, [n, C] each.

        The third array tells where the range of the history limits the expected value, bool [n, C].
        The kind of evidence that spoke loudest in a row says both, where it can.
        """
        expected, first = rows.means[0], 1 + self._num_members
        blame, clipped = np.zeros(rows.actual.shape), np.zeros(rows.actual.shape, np.bool_)
        for one in rows.means[first : first + self._num_members]:
            blame += np.nan_to_num(one, nan=0.0)
        chosen = np.flatnonzero(state == State.ANOMALOUS)
        if self.evidences.level is not None and spoken.level is not None:
            expected = expected.copy()
            blame[chosen], expected[chosen], clipped[chosen] = self.evidences.level.check(
                *(rows.slot, spoken.level, chosen, blame[chosen] / self._num_members, expected[chosen]),
                departs=(rows.flags[chosen] & DEPARTS) > 0,
            )
        for said in spoken.spoken:
            spoke = np.flatnonzero((kind == said.kind) & (state == State.ANOMALOUS))
            if said.blame is not None and len(spoke):
                told = ~np.isnan(said.blame[spoke]).all(axis=1)
                blame[spoke[told]] = said.blame[spoke[told]]
            if said.expected is not None and len(spoke):
                unknown = np.isnan(said.expected[spoke])
                expected = expected.copy()
                expected[spoke] = np.where(unknown, expected[spoke], said.expected[spoke])
                clipped[spoke] &= unknown
        return blame, expected, clipped


def _stale(slot: NDArray[np.int32], start_ns: NDArray[np.int64], num_channels: int) -> RowVerdicts:
    """Return verdicts of state `STALE`, see `RowScorer.stale`."""
    unknown = np.full((len(slot), num_channels), np.nan)
    nothing = np.full(len(slot), np.nan)
    state = np.full(len(slot), int(State.STALE), np.uint8)
    shares, missing = unknown.astype(np.float32), np.zeros(unknown.shape, np.bool_)
    paged, kind = np.zeros(len(slot), np.bool_), np.full(len(slot), int(Kind.WINDOW), np.uint8)
    mode = np.full(len(slot), -1, np.int16)
    of_score = (nothing, state, unknown, unknown, shares, nothing, missing, paged, nothing)
    lines = np.full(len(slot), None, np.object_)
    return RowVerdicts(slot, start_ns, *of_score, kind, mode, mode, missing, lines, cold=paged)


def _lines(num: int, spoken: RowsSpoken) -> NDArray[np.object_]:
    """Return the lines along which channels drift, object [n], of rows in which drift speaks; else None."""
    known = (said.lines for said in spoken.spoken if said.lines is not None)
    return next(known, np.full(num, None, np.object_))


def _shares(blame: NDArray[np.float64], unknown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return each channel's share of the blame, float32 [n, C]; NaN if unknown."""
    total = np.where(unknown, 0.0, blame)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: NDArray[np.float32] = (total / total.sum(axis=1, keepdims=True)).astype(np.float32)
    shares[unknown] = np.nan
    return shares


def _states(
    rows: RowOutput, score: NDArray[np.float64], cumulative: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return the first state that applies: gap, out of range, flatline, anomalous, missing, warming, ok.

    A row above the threshold is anomalous although a channel is missing: a fault in another is then found.
    """
    num = len(rows)
    empty = np.isnan(rows.actual).all(axis=1)
    conditions = [
        empty,
        (rows.flags & OUT_OF_RANGE).any(axis=1),
        (rows.flags & STUCK).any(axis=1),
        (score > 1.0) | (cumulative > 1.0),
        (rows.flags & MISSING).any(axis=1),
        np.isnan(score),
    ]
    choices = [
        *(State.GAP, State.OUT_OF_RANGE, State.FLATLINE),
        *(State.ANOMALOUS, State.MISSING, State.WARMING),
    ]
    state: NDArray[np.uint8] = np.select(
        conditions, [np.full(num, int(choice), np.uint8) for choice in choices], np.uint8(State.OK)
    )
    return state


def _note_modes(state: NDArray[np.uint8], rules: ModeRules, modes: RowModes) -> None:
    """Let rows that are not judged because of their mode say so, in `state`; they would be warming else."""
    unscored = state == State.WARMING
    if unscored.any():
        state[unscored & rules.is_idle(modes)] = State.IDLE
        state[unscored & rules.is_transition(modes)] = State.TRANSITION


def _numbers(modes: RowModes | None, num: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return the mode of each row and the one that it has left, int16 [n] each; -1 where unknown."""
    if modes is None:
        unknown = np.full(num, -1, np.int16)
        return unknown, unknown
    return modes.mode.astype(np.int16), modes.left.astype(np.int16)


def _blame_flagged(
    contribution: NDArray[np.float32], flags: NDArray[np.uint8], state: NDArray[np.uint8]
) -> None:
    """Give the whole contribution to the stuck, impossible or missing channels, if that is the state."""
    flagged = ((State.FLATLINE, STUCK), (State.OUT_OF_RANGE, OUT_OF_RANGE), (State.MISSING, MISSING))
    for kind, bit in flagged:
        rows = np.flatnonzero(state == kind)
        if len(rows):
            guilty = (flags[rows] & bit) > 0
            contribution[rows] = guilty / guilty.sum(axis=1, keepdims=True)
