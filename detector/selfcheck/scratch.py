"""Copies of rows through an engine of their own: the networks, levels and rules of a model, and no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine, EngineOptions
from detector.scoring.verdicts import State, Verdicts
from detector.selfcheck.faults import first_row

_MOST_CELLS = 1 << 20
_NEVER_ROWS = 1 << 30
_FLAGGED = (State.FLATLINE, State.OUT_OF_RANGE)


@dataclass(frozen=True, slots=True)
class Peak:
    """What a fault reached in the rows from `first_row` on.

    score    the highest score, NaN if no row had one; the calibrated threshold is 1
    flagged  whether a row was stuck or out of range
    """

    score: float
    flagged: bool

    def exceeds(self, threshold: float) -> bool:
        """Return whether a detector with this threshold raises an alarm."""
        return self.flagged or self.score > threshold


class Scratch:
    """Scores copies of rows. It shares the networks of the artifact, and nothing else, with other engines.

    Args:
        artifact: The model.
        options: The options in force; the rules may narrow the possible values.
    """

    def __init__(self, artifact: Artifact, options: EngineOptions | None = None) -> None:
        # Copies are series of their own: what the model knows of a series by its name is not about them.
        self._artifact = replace(artifact, spec=replace(artifact.spec, intervals={}, absent={}, cold=None))
        options = options or EngineOptions()
        # Only verdicts matter here: no incident is to open, which would take as long as the scoring.
        rules = replace(options.rules, settle_rows=_NEVER_ROWS, maintenance=())
        self._options = replace(options, threads=1, stale_after_ns=None, rules=rules)

    def peaks(self, copies: Sequence[NDArray[np.float64]], series: Sequence[str] = ()) -> list[Peak]:
        """Return what each copy reached.

        Args:
            copies: float64 [L, C] each, in the units of the channels. L may differ.
            series: The series of each copy, whose scales it has; empty: all have the common ones.
        """
        most = max(1, _MOST_CELLS // max(copy.size for copy in copies)) if copies else 1
        spans = [slice(at, at + most) for at in range(0, len(copies), most)]
        return [peak for span in spans for peak in self._peaks(copies[span], series[span])]

    def _peaks(self, copies: Sequence[NDArray[np.float64]], series: Sequence[str]) -> list[Peak]:
        engine = Engine(self._scaled_like(series), self._options)
        readings = self._readings(copies)
        found = [engine.step(readings).verdicts, engine.flush().verdicts]
        score, flagged = np.full(len(copies), np.nan), np.zeros(len(copies), np.bool_)
        for verdicts in found:
            self._collect(verdicts, score, flagged)
        return [
            Peak(one, is_flagged) for one, is_flagged in zip(score.tolist(), flagged.tolist(), strict=True)
        ]

    def _scaled_like(self, series: Sequence[str]) -> Artifact:
        """Return the model with the scales of these series for the copies 0, 1, 2 and so on.

        It has no reference: a copy is too short for evidence that adds up.
        """
        spec = replace(self._artifact.spec, reference=None)
        own = {
            str(number): spec.own_scales[name]
            for number, name in enumerate(series)
            if name in spec.own_scales
        }
        return replace(self._artifact, spec=replace(spec, own_scales=own))

    def _collect(self, verdicts: Verdicts, score: NDArray[np.float64], flagged: NDArray[np.bool_]) -> None:
        """Add the verdicts of faulty rows to what their copies reached, in place."""
        spec = self._artifact.spec
        copy = np.array([int(name) for name in verdicts.names], np.intp)[verdicts.series]
        is_faulty = verdicts.timestamp_ns // spec.interval_ns >= first_row(spec)
        is_flagged = is_faulty & np.isin(verdicts.state, [int(state) for state in _FLAGGED])
        np.fmax.at(score, copy[is_faulty], verdicts.score[is_faulty])
        flagged[copy[is_flagged]] = True

    def _readings(self, copies: Sequence[NDArray[np.float64]]) -> Readings:
        """Return the copies as series 0, 1, 2 and so on; rows without any value send no reading."""
        series = np.repeat(np.arange(len(copies), dtype=np.int32), [len(copy) for copy in copies])
        row = np.concatenate([np.arange(len(copy)) for copy in copies])
        values = np.concatenate(copies)
        present = np.count_nonzero(~np.isnan(values), axis=1) > 0
        readings = Readings(
            tuple(str(number) for number in range(len(copies))),
            series,
            row * self._artifact.spec.interval_ns,
            values,
            np.zeros(len(row), np.int32),
            np.arange(len(row)),
        )
        return readings if present.all() else readings.take(present)
