"""Train a linear model on a generated history, replay a stream, and keep what the engine gave for each row.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from connectors.records import Batch
from detector.artifact.spec import Artifact
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.loop import run
from detector.incidents.decision import Decision
from detector.incidents.incident import Incident, IncidentEvent
from detector.incidents.rules import IncidentRules
from detector.offline.backtest import ReplaySink
from detector.offline.frames import FrameSource, chunk_of_frame
from trainer import fit
from trainer.config import TrainConfig

Values = NDArray[np.float64]
EPOCH_NS = 1_767_571_200_000_000_000
"""A Monday at midnight, UTC."""
SERIES = "pump-1"
_ROWS_A_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Story:
    """Hold a history and the stream that follows it, of one series.

    channels  their names
    seconds   between two rows
    history   float64 [rows, C]
    stream    float64 [n, C]
    """

    channels: tuple[str, ...]
    seconds: int
    history: Values
    stream: Values

    @property
    def times_ns(self) -> NDArray[np.int64]:
        """The times of the rows of the stream, int64 [n]."""
        return EPOCH_NS + (len(self.history) + np.arange(len(self.stream))) * (self.seconds * 10**9)

    def trained(self, config: TrainConfig) -> Artifact:
        """Return the model of the history."""
        return fit(self._frame(self.history, 0), config=config)

    def told_by(
        self,
        artifact: Artifact,
        without: Sequence[str] = (),
        decisions: Sequence[Decision] = (),
    ) -> Told:
        """Return what the engine gives for the stream.

        Args:
            artifact: The model.
            without: Kinds of evidence that are switched off.
            decisions: What a person decided.
        """
        frame = self._frame(self.stream, len(self.history))
        engine = Engine(artifact, EngineOptions(rules=IncidentRules(without=tuple(without))))
        engine.decide(list(enumerate(decisions)))
        sink = _Kept(artifact)
        chunk = chunk_of_frame(frame, artifact.spec.channel_names)
        run(FrameSource(chunk, _ROWS_A_BATCH), engine, sink)
        report = sink.report(0)
        columns = {
            name: np.concatenate([getattr(part, name) for part in report.verdicts])
            for name in ("timestamp_ns", "score", "threshold", "cumulative", "state", "mode", "expected")
        }
        return Told(**columns, incidents=report.incidents, events=tuple(sink.events))

    def _frame(self, values: Values, first: int) -> pd.DataFrame:
        times = EPOCH_NS + (first + np.arange(len(values))) * (self.seconds * 10**9)
        index = pd.DatetimeIndex(times.view("M8[ns]")).tz_localize("UTC").rename("timestamp")
        return pd.DataFrame(values, index, list(self.channels)).assign(series=SERIES)


@dataclass(frozen=True, slots=True)
class Told:
    """Hold the final verdicts of a stream as columns, and its incidents.

    timestamp_ns, score, threshold, cumulative, state, mode, expected: as in `detector.scoring.verdicts`
    incidents  the last state of each, in the order of opening
    events     every change of an incident
    """

    timestamp_ns: NDArray[np.int64]
    score: Values
    threshold: Values
    cumulative: Values
    state: NDArray[np.uint8]
    mode: NDArray[np.int16]
    expected: Values
    incidents: tuple[Incident, ...]
    events: tuple[IncidentEvent, ...]


class _Kept(ReplaySink):
    """A sink that also keeps every event of the incidents."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.events: list[IncidentEvent] = []

    def write(self, result: StepResult, batch: Batch) -> None:
        self.events += result.incidents
        super().write(result, batch)
