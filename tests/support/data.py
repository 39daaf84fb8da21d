"""Labelled series beside the checkout, where there are any; tests that want them skip without."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

DATA = Path(os.environ.get("STREAMGAUGE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def labelled_files(dataset: str) -> list:
    """The data set's files, or one parameter that skips with the reason."""
    files = sorted((DATA / dataset).glob("*.parquet"))
    return files or [pytest.param(Path(dataset), marks=pytest.mark.skip(reason=f"no {DATA / dataset}"))]


def need(path: str) -> Path:
    """The file or directory below the data, or a skip with the reason."""
    if not (DATA / path).exists():
        pytest.skip(f"no {DATA / path}")
    return DATA / path


def read_labelled(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels, the first channel's values, and the VUS buffer."""
    table = pq.read_table(path)
    channel = next(name for name in table.column_names if name not in ("timestamp", "label", "split"))
    buffer = int((table.schema.metadata or {}).get(b"vus_window", b"100"))
    return table["label"].to_numpy().astype(np.int64), table[channel].to_numpy(), min(buffer, 60)
