"""pandas frames in and out: readings as a source, verdicts and incidents as frames with UTC times.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from connectors.names import RESERVED
from connectors.parquet.columns import LABEL, SERIES, TIMESTAMP
from connectors.parquet.reader import Chunk
from connectors.records import Batch, Readings
from connectors.values import Kind, kind_of_objects
from detector.errors import DetectorError
from detector.incidents.incident import Incident
from detector.offline.output_files import Columns

_INCIDENT_COLUMNS = (
    *("id", "series", "state", "reason", "severity", "start", "opened", "end", "peak", "peak_score"),
    *("channels", "flapping", "held_by"),
)


def chunk_of_frame(frame: pd.DataFrame, channels: tuple[str, ...]) -> Chunk:
    """Return the rows of a frame as columns, in the order of the frame.

    Args:
        frame: n rows with a DatetimeIndex (no zone: UTC), one column of numbers per channel, and optionally
            the columns `series` and `label` (1: anomalous). Rows whose series is missing are of the series
            named "series", and so are all rows without this column.
        channels: names of the columns to take.

    Returns:
        `values` is float64 [n, C], NaN where a value is missing or infinite.

    Raises:
        DetectorError: the index holds no times, a time is missing, or a channel is missing or no number.
    """
    timestamp_ns = _times_of(frame)
    missing = [name for name in channels if name not in frame.columns]
    if missing:
        raise DetectorError(f"the frame lacks the channels {missing}; the model needs {list(channels)}")
    names, codes = _series_of(frame)
    values = np.empty((len(frame), len(channels)))
    for at, name in enumerate(channels):
        values[:, at] = _numbers(frame, name)
    infinite = np.isinf(values)
    values[infinite] = np.nan
    has_label = LABEL in frame.columns
    label = (np.nan_to_num(_numbers(frame, LABEL)) != 0).astype(np.int8) if has_label else None
    return Chunk(timestamp_ns, names, codes, values, label, None, infinite.sum(axis=0))


def column_kinds(frame: pd.DataFrame) -> dict[str, Kind]:
    """Return what the columns of a frame hold, by the rules of `connectors.values`."""
    names = [name for name in dict.fromkeys(frame.columns) if name not in RESERVED]
    return {str(name): _kind_of(_column(frame, name)) for name in names}


def _column(frame: pd.DataFrame, name: Hashable) -> pd.Series:
    if (frame.columns == name).sum() > 1:
        raise DetectorError(f"the frame has the column {name!r} more than once; rename one of them")
    return frame[name]


def _kind_of(column: pd.Series) -> Kind:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(column.cat.categories)
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind in "mM":
        return "time"
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "other" if column.dtype.kind == "c" else "number"
    return kind_of_objects(column.dropna())


def _numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as float64 [n], NaN where missing. Raises DetectorError if it holds no numbers."""
    column = _column(frame, name)
    kind = _kind_of(column)
    if kind not in ("number", "empty"):
        example = column.dropna().iloc[0]
        raise DetectorError(
            f"the frame's column {name!r} is {kind} ({column.dtype}) such as {example!r}, not numbers;"
            " write its values as numbers"
        )
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        column = column.astype(object)
    found: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return found


def _series_of(frame: pd.DataFrame) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the names of the series, and int32 [n], the series of each row."""
    if SERIES not in frame.columns:
        return (SERIES,), np.zeros(len(frame), np.int32)
    codes, found = pd.factorize(_column(frame, SERIES))
    texts = [_series_name(one) for one in found]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(texts), codes)  # pandas gives -1 to rows whose series is missing
        texts.append(SERIES)
    number: dict[str, int] = {}
    place = np.array([number.setdefault(text, len(number)) for text in texts], np.int32)
    return tuple(number), place[codes] if texts else np.zeros(0, np.int32)


def _series_name(value: object) -> str:
    """Return the name that Parquet would give; whole numbers beside missing ones are floats in pandas."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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
            *(
                np.nan if one.known_peak is None else one.known_peak,
                ", ".join(channel.name for channel in one.channels),
            ),
            *(one.flapping, ", ".join(one.held_by)),
        )
        for one in incidents
    ]
    frame = pd.DataFrame(rows, columns=list(_INCIDENT_COLUMNS))
    for name in ("start", "opened", "end", "peak"):
        frame[name] = pd.to_datetime(frame[name], unit="ns", utc=True).astype("datetime64[ns, UTC]")
    return frame
