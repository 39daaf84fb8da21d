"""The detector as a library: a pandas frame in, a frame of verdicts, codes or reconstructions out.

from detector import Detector, backtest
verdicts = Detector.load("models/pump").score(frame)
result = backtest("models/pump", "history/may.parquet")
result.incidents[["series", "start", "end", "channels"]]
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from connectors.parquet.reader import Chunk
from connectors.parquet.replay_source import ParquetSource
from connectors.records import Source
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact, Spec
from detector.calibration.p_values import PValues
from detector.engine.engine import Engine, EngineOptions
from detector.errors import DetectorError
from detector.offline.autoencoder import DEFAULT_ROUNDS
from detector.offline.backtest import Report, labels_of_dataset, replay, verdict_columns, vus_buffer_of
from detector.offline.encode import WindowEncoder
from detector.offline.frames import FrameSource, chunk_of_frame, frame_of_columns, incidents_frame
from detector.offline.history_files import history_for
from detector.offline.measuring.backtest_measures import LabelledSeries, labelled_series, measures_of
from detector.offline.measuring.coverage import Coverage
from detector.offline.reconstruct import ReconstructOptions, Reconstructor
from detector.plots.drawing import draw_score
from detector.plots.incident import IncidentView, table_html
from detector.scoring.verdicts import Verdicts

if TYPE_CHECKING:
    from detector.plots.drawing import Axes

_MOST_IN_NOTEBOOK = 30


@dataclass(frozen=True, slots=True, repr=False)
class BacktestResult:
    """Hold what `backtest` found; all times are UTC timestamps.

    `verdicts` has one row per grid row and series, sorted by series and time. Its index is the start of the
    row. Its columns:

        series                   name of the series
        score                    error ** sharpness; above 1 is unusual; NaN where unknown
        p_value                  probability that a normal row has at least this score; NaN where unknown
        error, threshold         in units of the calibrated threshold; `threshold` is the page level
        paged                    whether the row counts for incidents: its error is above `threshold`
        state                    ok, anomalous, warming, gap, flatline, out_of_range
        actual_NAME              value of channel NAME in its own unit; NaN where missing
        expected_NAME            the model's reconstruction of it; NaN where unknown
        contribution_NAME        the channel's share of the error; sums to 1; NaN where unknown

    `incidents` has one row per incident, in the order of opening. Its columns:

        id, series               of the incident
        state, reason, severity  firing or resolved; score, flatline, out_of_range, ...; warning or critical
        start, opened            first bad row; row that opened the incident
        end                      last bad row; NaT while the incident is firing
        peak, peak_score         row with the highest score, and this score; NaN where no row has one
        channels                 channels with the greatest contributions at the peak, greatest first
        flapping, held_by        see docs/incidents.md

    `measures` is described at `detector.offline.measuring.backtest_measures.measures_of`. `coverage` has how
    many rows and series were judged, and why the others were not.
    """

    verdicts: pd.DataFrame
    incidents: pd.DataFrame
    measures: dict[str, float | int]
    coverage: Coverage

    def __repr__(self) -> str:
        """Return the sizes and the measures, on one line."""
        measures = ", ".join(f"{name}={value:.4g}" for name, value in self.measures.items())
        return (
            f"BacktestResult({len(self.verdicts):,} rows, {len(self.incidents):,} incidents"
            f" {self.coverage.summary}, {measures})"
        )

    def _repr_html_(self) -> str:
        shown = self.incidents.head(_MOST_IN_NOTEBOOK)
        names = ("series", "start", "end", "severity", "reason", "peak_score", "channels", "id")
        rows = [tuple(str(one[name]) for name in names) for one in shown.to_dict("records")]
        more = len(self.incidents) - len(shown)
        ending = f"<p>and {more:,} more</p>" if more else ""
        return f"<p>{html.escape(repr(self))}</p>{table_html(rows, names) if rows else ''}{ending}"

    def plot(self, ax: Axes | None = None, series: str | None = None) -> Axes:
        """Draw the score of a series, its incidents shaded; return the Axes. It needs the extra `plots`.

        Args:
            ax: where to draw; None: a new figure.
            series: its name; None: the one with the highest score.

        Raises:
            DetectorError: the series is unknown, or matplotlib is missing.
        """
        return draw_score(self.verdicts, self.incidents, series or self._worst_series(), ax)

    def incident(self, name: str) -> IncidentView:
        """Return an incident by its id, to be plotted. Raises DetectorError if there is none."""
        found = self.incidents[self.incidents["id"] == name].to_dict("records")
        if not found:
            raise DetectorError(f"there is no incident {name!r}; `incidents` lists them")
        facts = {str(key): value for key, value in found[0].items()}
        return IncidentView(facts, self.verdicts[self.verdicts["series"] == facts["series"]])

    def _worst_series(self) -> str:
        highest = self.verdicts.groupby("series", sort=True)["score"].max().fillna(0.0)
        if highest.empty:
            raise DetectorError("the backtest has no rows to plot")
        return str(highest.idxmax())


def backtest(
    artifact: Artifact | str | Path, data: str | Path | pd.DataFrame, options: EngineOptions | None = None
) -> BacktestResult:
    """Replay history through the daemon's engine; return verdicts, incidents and measures.

    Args:
        artifact: a model, or where it is: a registry entry or the directory of a version.
        data: a Parquet file or directory, or a frame as `Detector.score` takes it. With a column `label`
            (1: anomalous) the scores are measured against it.
        options: incident rules, lateness and threads; None: the defaults.

    Raises:
        ArtifactError: the model cannot be opened.
        ParquetError, DetectorError: the data cannot be used; the message names what is wrong with it.
    """
    model = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    source, labels, vus_buffer = _source_of(data, model.spec)
    report = replay(source, Engine(model, options or EngineOptions()))
    incidents = report.incidents
    return BacktestResult(
        _verdicts_frame(report.verdicts, model),
        incidents_frame(incidents),
        measures_of(report.verdicts, incidents, model.spec, labels, vus_buffer),
        report.coverage,
    )


@dataclass(frozen=True, slots=True, repr=False)
class Detector:
    """Score history with a trained model.

    Every call starts with empty windows: the first `window - 1` rows of each series are `warming`. For a
    stream, keep one `engine()` and feed it.
    """

    artifact: Artifact
    options: EngineOptions = field(default_factory=EngineOptions)

    def __repr__(self) -> str:
        """Return name, version, family and channels of the model."""
        spec = self.artifact.spec
        channels = ", ".join(spec.channel_names[:8]) + (", ..." if len(spec.channel_names) > 8 else "")
        return f"Detector({spec.name}, version {self.artifact.version}, {spec.family}, channels {channels})"

    @classmethod
    def load(cls, location: str | Path, options: EngineOptions | None = None) -> Self:
        """Open a registry entry or the directory of a version. Raises ArtifactError."""
        return cls(open_artifact(location), options or EngineOptions())

    def engine(self) -> Engine:
        """Return a new engine of this model, to be fed with readings."""
        return Engine(self.artifact, self.options)

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the verdicts of all rows of a frame, sorted by series and time.

        Args:
            frame: rows in any order with a DatetimeIndex (no zone: UTC), one numeric column per channel,
                found by its name, and optionally a column `series`.

        Returns:
            A frame indexed by the start of each grid row (UTC) with `series`, `score` and `p_value` (NaN
            where unknown), `state`, and for every channel `expected_NAME` and `contribution_NAME`. The rows
            that the grid adds in short gaps are included.

        Raises:
            DetectorError: the index holds no times, or a channel is missing.
        """
        verdicts = _verdicts_frame(self.replay(frame).verdicts, self.artifact)
        others = [name for name in verdicts.columns if name.startswith(("expected_", "contribution_"))]
        return verdicts[["series", "score", "p_value", "state", *others]]

    def encode(self, frame: pd.DataFrame, stride: int | None = None) -> pd.DataFrame:
        """Return the code of every window of a frame, sorted by series and time.

        Args:
            frame: as in `score`.
            stride: rows from one window to the next; None: windows do not overlap.

        Returns:
            A frame indexed by the time of each window's last row (UTC) with `series` and `z0`, `z1` and so on
            (float32). Windows with too few known values are left out.

        Raises:
            DetectorError: as in `score`; also if there is no window.
        """
        encoder = WindowEncoder(self.artifact, stride, self.options.device)
        return frame_of_columns(encoder.encode(self._source(frame)))

    def reconstruct(
        self, frame: pd.DataFrame, only_gaps: bool = False, rounds: int = DEFAULT_ROUNDS
    ) -> pd.DataFrame:
        """Return the model's reconstruction of the rows of a frame, sorted by series and time.

        Args:
            frame: as in `score`.
            only_gaps: keep every observed value and fill only missing ones.
            rounds: times that filled values are refined.

        Returns:
            A frame indexed by the start of each grid row (UTC) with `series` and the channels in their own
            units: the mean over the windows that contain the row, NaN without any window. The rows of short
            gaps are included.

        Raises:
            DetectorError: as in `score`; also if there is no window.
        """
        options = ReconstructOptions(only_gaps, rounds, self.options.device)
        return frame_of_columns(Reconstructor(self.artifact, options).reconstruct(self._source(frame)))

    def replay(self, frame: pd.DataFrame) -> Report:
        """Return the verdicts and the incidents of a frame as the engine emits them; see `score`."""
        return replay(self._source(frame), self.engine())

    def _source(self, frame: pd.DataFrame) -> FrameSource:
        return FrameSource(chunk_of_frame(frame, self.artifact.spec.channel_names))


def _source_of(
    data: str | Path | pd.DataFrame, spec: Spec
) -> tuple[Source, dict[str, LabelledSeries] | None, int | None]:
    """Return the rows, the labels if there are any, and the buffer of VUS-PR if the files prescribe one."""
    if isinstance(data, pd.DataFrame):
        chunk = chunk_of_frame(data, spec.channel_names)
        return FrameSource(chunk), _labels_of(chunk), None
    dataset = history_for(spec, data)
    return ParquetSource(dataset), labels_of_dataset(dataset), vus_buffer_of(dataset)


def _labels_of(chunk: Chunk) -> dict[str, LabelledSeries] | None:
    return None if chunk.label is None else labelled_series([chunk])


def _verdicts_frame(verdicts: tuple[Verdicts, ...], artifact: Artifact) -> pd.DataFrame:
    return frame_of_columns(_blocks(verdicts, artifact))


def _blocks(verdicts: tuple[Verdicts, ...], artifact: Artifact) -> Iterator[dict[str, Any]]:
    """Yield verdicts as columns, at least one block."""
    p_values = PValues.of(artifact)
    for part in verdicts or (Verdicts.empty(len(artifact.spec.channels)),):
        yield verdict_columns(part, artifact.spec, p_values)
