"""pandas frames in and out: readings as a source, verdicts and incidents as frames with UTC times.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from connectors.parquet.reader import Chunk
from connectors.records import Batch, Readings
from detector.errors import DetectorError
from detector.incidents.incident import Incident
from detector.offline.output_files import Columns

SERIES, LABEL, TIMESTAMP = "series", "label", "timestamp"
_INCIDENT_COLUMNS = (
    *("id", "series", "state", "reason", "severity", "start", "opened", "end", "peak", "peak_score"),
    *("channels", "flapping", "held_by"),
)


def chunk_of_frame(frame: pd.DataFrame, channels: tuple[str, ...]) -> Chunk:
    """Return the rows of a frame as columns, in the order of the frame.

    Args:
        frame: n rows with a DatetimeIndex (no zone: UTC), one numeric column per channel, and optionally the
            columns `series` (default: one series named "series") and `label` (1: anomalous).
        channels: names of the columns to take.

    Returns:
        `values` is float64 [n, C], NaN where a value is missing or infinite.

    Raises:
        DetectorError: the index holds no times, a time is missing, or a channel is missing.
    """
    timestamp_ns = _times_of(frame)
    missing = [name for name in channels if name not in frame.columns]
    if missing:
        raise DetectorError(f"the frame lacks the channels {missing}; the model needs {list(channels)}")
    num = len(frame)
    labels = frame[SERIES].astype(str) if SERIES in frame.columns else np.full(num, SERIES, dtype=object)
    codes, names = pd.factorize(labels)
    values = frame[list(channels)].to_numpy(dtype=np.float64)
    return Chunk(
        timestamp_ns,
        tuple(str(name) for name in names),
        codes.astype(np.int32),
        np.where(np.isinf(values), np.nan, values),
        frame[LABEL].to_numpy(dtype=np.int8) if LABEL in frame.columns else None,
        None,
    )


def _times_of(frame: pd.DataFrame) -> NDArray[np.int64]:
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        raise DetectorError(
            f"the frame's index is {type(index).__name__}; it must be a DatetimeIndex: "
            'try frame.set_index(pd.to_datetime(frame["timestamp"], utc=True))'
        )
    if index.hasnans:
        raise DetectorError("the frame's index has missing times (NaT); every row needs its time")
    utc = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    return utc.tz_localize(None).to_numpy().astype("M8[ns]").view(np.int64)


class FrameSource:
    """A source of the rows of one chunk, in the order of time. Rows of equal time keep their order."""

    def __init__(self, chunk: Chunk, batch_rows: int = 16_384) -> None:
        self._batches = _batches(chunk, batch_rows)

    def poll(self, timeout_seconds: float) -> Batch | None:
        """Return the next rows without waiting, or None at the end."""
        return next(self._batches, None)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _batches(chunk: Chunk, batch_rows: int) -> Iterator[Batch]:
    order = np.argsort(chunk.timestamp_ns, kind="stable")
    for at in range(0, len(order), batch_rows):
        rows = order[at : at + batch_rows]
        present, series = np.unique(chunk.series[rows], return_inverse=True)
        num = len(rows)
        yield Batch(
            Readings(
                tuple(chunk.names[code] for code in present),
                series.astype(np.int32),
                chunk.timestamp_ns[rows],
                chunk.values[rows],
                np.zeros(num, np.int32),
                np.arange(at, at + num),
            )
        )


def frame_of_columns(blocks: Iterable[Columns]) -> pd.DataFrame:
    """Return blocks of columns as one frame, sorted by series and within one as they came.

    Args:
        blocks: at least one; each has `series` and `timestamp` (int64 nanoseconds), which becomes the index.
    """
    frame = pd.concat([pd.DataFrame(block) for block in blocks], ignore_index=True)
    times = pd.DatetimeIndex(frame.pop(TIMESTAMP).to_numpy().view("M8[ns]"), name=TIMESTAMP)
    return frame.set_index(times.tz_localize("UTC")).sort_values(SERIES, kind="stable")


def incidents_frame(incidents: Iterable[Incident]) -> pd.DataFrame:
    """Return one row per incident, in the given order.

    The columns are those of `detector.api.BacktestResult.incidents`.
    """
    rows = [
        (
            *(one.id, one.series, one.state, one.reason, one.severity),
            *(one.start_ns, one.opened_ns, pd.NaT if one.end_ns is None else one.end_ns, one.peak_ns),
            *(one.peak_score, ", ".join(channel.name for channel in one.channels)),
            *(one.flapping, ", ".join(one.held_by)),
        )
        for one in incidents
    ]
    frame = pd.DataFrame(rows, columns=list(_INCIDENT_COLUMNS))
    for name in ("start", "opened", "end", "peak"):
        frame[name] = pd.to_datetime(frame[name], unit="ns", utc=True).astype("datetime64[ns, UTC]")
    return frame
