"""A pandas frame as rows to train on, and what to pass instead of anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from connectors.names import columns_fault
from connectors.parquet.columns import LABEL
from connectors.parquet.reader import Chunk
from detector.errors import DetectorError
from detector.offline.frames import chunk_of_frame, column_kinds
from trainer.errors import TrainerError


def refuse(fault: str | None) -> None:
    """Raise TrainerError if there is a fault."""
    if fault is not None:
        raise TrainerError(f"cannot be trained: {fault}")


def wrong_type(data: object) -> str:
    """Explain what to pass instead of `data`."""
    kind = type(data).__name__
    accepted = "data must be a Parquet file, a directory, a list of them or a pandas DataFrame"
    if isinstance(data, pd.Series):
        return f"{accepted}, found Series: make a frame of one channel: data.to_frame('value')"
    if isinstance(data, np.ndarray):
        return (
            f"{accepted}, found ndarray: values need times: pd.DataFrame(values, columns=[...],"
            ' index=pd.date_range("2026-01-01", periods=len(values), freq="1s"))'
        )
    return f"{accepted}, found {kind}"


def chunk_to_train(frame: pd.DataFrame, channels: tuple[str, ...] | None) -> tuple[Chunk, tuple[str, ...]]:
    """Return the rows of a frame and the names of their channels; `channels` None: all columns of numbers.

    Raises:
        TrainerError: The frame cannot be used; the message says why.
    """
    try:
        numeric = tuple(name for name, kind in column_kinds(frame).items() if kind == "number")
        wanted = channels or numeric
        if wanted:
            refuse(columns_fault(wanted))
        missing = [name for name in wanted if name not in frame.columns]
        if missing or not wanted:
            raise TrainerError(
                f"the frame lacks numeric channels{': ' + ', '.join(missing) if missing else ''}"
            )
        chunk = chunk_of_frame(frame.drop(columns=LABEL, errors="ignore"), wanted)
    except DetectorError as error:
        raise TrainerError(str(error)) from error
    return chunk, wanted
