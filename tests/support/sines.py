"""Noisy sines, a linear model trained on them, and tables of them: for the autoencoder verbs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from detector.artifact.spec import Artifact
from trainer import fit
from trainer.config import DataOptions, ModelOptions, TrainConfig

CHANNELS = ["flow", "pressure", "speed"]
NOISE = np.array([0.3, 0.02, 5.0])
WINDOW, LATENT = 24, 4


def clean(num_rows: int, start: int = 0) -> np.ndarray:
    """Three sines of different centres and amplitudes, float64 [rows, 3]."""
    angle = np.arange(start, start + num_rows)[:, None] * 0.2 + np.array([0.0, 1.0, 2.5])
    return np.array([100.0, -2.0, 0.0]) + np.array([3.0, 0.2, 50.0]) * np.sin(angle)


def frame_of(num_rows: int = 1200, seed: int = 0, start: int = 0) -> pd.DataFrame:
    """The same with noise, a row a second."""
    values = clean(num_rows, start) + NOISE * np.random.default_rng(seed).standard_normal((num_rows, 3))
    index = pd.date_range("2026-01-01", periods=start + num_rows, freq="s", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index[start:], columns=CHANNELS)


def write(path: Path, frame: pd.DataFrame, row_group_size: int | None = None) -> Path:
    """The frame as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame.reset_index(), preserve_index=False)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


@cache
def linear_artifact() -> Artifact:
    """Principal components of the windows of `frame_of()`; max_gap is 5."""
    model = ModelOptions(family="linear", window=WINDOW, latent=LATENT)
    return fit(frame_of(), config=TrainConfig(model=model, data=DataOptions(max_gap=5)))
