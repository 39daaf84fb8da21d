"""The detector as a library: a pandas frame in, a frame of verdicts, codes or reconstructions out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from connectors.records import Batch, Readings
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact, Spec
from detector.engine.engine import Engine, EngineOptions
from detector.errors import DetectorError
from detector.offline.autoencoder import DEFAULT_ROUNDS
from detector.offline.backtest import Report, replay
from detector.offline.encode import WindowEncoder
from detector.offline.output_files import Columns
from detector.offline.reconstruct import ReconstructOptions, Reconstructor
from detector.scoring.verdicts import State, Verdicts

SERIES = "series"


@dataclass(frozen=True, slots=True)
class Detector:
    """A trained model, ready to judge history.

    Every call starts with empty windows: the first `window - 1` rows of each series are `warming`.
    For a stream, keep an `engine()` and feed it.
    """

    artifact: Artifact
    options: EngineOptions = field(default_factory=EngineOptions)

    @classmethod
    def load(cls, location: str | Path, options: EngineOptions | None = None) -> Self:
        """Open a registry entry or a version's directory. Raises ArtifactError."""
        return cls(open_artifact(location), options or EngineOptions())

    def engine(self) -> Engine:
        """A fresh engine of this model, to be fed with readings."""
        return Engine(self.artifact, self.options)

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Verdicts of all rows of `frame`.

        frame: a DatetimeIndex in any order (no zone: UTC), one numeric column a channel, found by name
        whatever their order, and optionally a `series` column. Returns a frame indexed by the start of
        each grid row with `series`, `score` (NaN where unknown), `state`, and for every channel
        `expected_NAME` and `contribution_NAME`. Rows that the grid adds in short gaps are included.

        Raises DetectorError when the index is not of times or a channel is missing.
        """
        return verdicts_frame(self.replay(frame).verdicts, self.artifact.spec)

    def encode(self, frame: pd.DataFrame, stride: int | None = None) -> pd.DataFrame:
        """The code of every window of `frame` (as in `score`); `stride` None: windows do not overlap.

        Returns a frame indexed by the time of each window's last row with `series` and float32 `z0`, `z1` and
        so on, sorted by series and time. Windows with less than half of their values are left out.

        Raises DetectorError as `score` does, and where there is no window.
        """
        encoder = WindowEncoder(self.artifact, stride, self.options.device)
        return _columns_frame(encoder.encode(_FrameSource(frame, self.artifact.spec)))

    def reconstruct(
        self, frame: pd.DataFrame, only_gaps: bool = False, rounds: int = DEFAULT_ROUNDS
    ) -> pd.DataFrame:
        """The rows of `frame` (as in `score`) as the model sees them: each the mean over its windows.

        Returns a frame indexed by the start of each grid row with `series` and the channels in their own
        units, sorted by series and time; the rows of short gaps are included. NaN is what no window holds.
        With `only_gaps` every observed value stays and only missing ones are filled; `rounds` is how often
        the filling is refined.

        Raises DetectorError as `score` does, and where there is no window.
        """
        repairer = Reconstructor(self.artifact, ReconstructOptions(only_gaps, rounds, self.options.device))
        return _columns_frame(repairer.repair(_FrameSource(frame, self.artifact.spec)))

    def replay(self, frame: pd.DataFrame) -> Report:
        """The verdicts and the incidents of `frame`; see `score`."""
        return replay(_FrameSource(frame, self.artifact.spec), self.engine())


class _FrameSource:
    """A frame as a source: its rows in time order, in batches."""

    def __init__(self, frame: pd.DataFrame, spec: Spec, batch_rows: int = 16_384) -> None:
        self._batches = _batches(_checked(frame, spec), spec.channel_names, batch_rows)

    def poll(self, timeout_seconds: float) -> Batch | None:
        return next(self._batches, None)

    def close(self) -> None:
        """Nothing to release."""


def _checked(frame: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    if not isinstance(frame.index, pd.DatetimeIndex):
        raise DetectorError(
            f"the frame's index is {type(frame.index).__name__}; it must be a DatetimeIndex: "
            'try frame.set_index(pd.to_datetime(frame["timestamp"], utc=True))'
        )
    missing = [name for name in spec.channel_names if name not in frame.columns]
    if missing:
        raise DetectorError(
            f"the frame lacks the channels {missing}; the model needs {list(spec.channel_names)}"
        )
    return frame.sort_index(kind="stable")


def _batches(frame: pd.DataFrame, channels: tuple[str, ...], batch_rows: int) -> Iterator[Batch]:
    timestamp_ns = _nanoseconds(pd.DatetimeIndex(frame.index))
    labels = frame[SERIES].astype(str) if SERIES in frame.columns else pd.Series("series", index=frame.index)
    codes, names = pd.factorize(labels)
    values = frame[list(channels)].to_numpy(dtype=np.float64)
    for at in range(0, len(frame), batch_rows):
        rows = slice(at, at + batch_rows)
        present, series = np.unique(codes[rows], return_inverse=True)
        num = len(series)
        yield Batch(
            Readings(
                tuple(str(names[code]) for code in present),
                series.astype(np.int32),
                timestamp_ns[rows],
                values[rows],
                np.zeros(num, np.int32),
                np.arange(at, at + num),
            )
        )


def _nanoseconds(index: pd.DatetimeIndex) -> NDArray[np.int64]:
    utc = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    return utc.tz_localize(None).to_numpy().astype("M8[ns]").view(np.int64)


def verdicts_frame(verdicts: tuple[Verdicts, ...], spec: Spec) -> pd.DataFrame:
    """Verdicts as one frame, sorted by series and time; columns as `Detector.score` documents."""
    parts = [_frame_of(part, spec.channel_names) for part in verdicts if len(part)]
    frame = pd.concat(parts) if parts else _frame_of(Verdicts.empty(len(spec.channels)), spec.channel_names)
    return frame.sort_values(SERIES, kind="stable")


def _columns_frame(blocks: Iterator[Columns]) -> pd.DataFrame:
    """Blocks of columns, one of them `timestamp`, as one frame; there is at least one block."""
    frame = pd.concat([pd.DataFrame(block) for block in blocks], ignore_index=True)
    times = pd.DatetimeIndex(frame.pop("timestamp").to_numpy().view("M8[ns]"), name="timestamp")
    return frame.set_index(times.tz_localize("UTC")).sort_values(SERIES, kind="stable")


def _frame_of(part: Verdicts, channels: tuple[str, ...]) -> pd.DataFrame:
    names = np.array(part.names, dtype=object)
    labels = np.array([state.label for state in State], dtype=object)
    columns: dict[str, object] = {
        SERIES: names[part.series],
        "score": part.score,
        "state": labels[part.state],
    }
    for kind, block in (("expected", part.expected), ("contribution", part.contribution)):
        columns |= {f"{kind}_{name}": block[:, at] for at, name in enumerate(channels)}
    index = pd.DatetimeIndex(part.timestamp_ns.view("M8[ns]"), name="timestamp").tz_localize("UTC")
    return pd.DataFrame(columns, index=index)
