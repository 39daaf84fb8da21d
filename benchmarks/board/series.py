"""Labelled files as the peers read them, and how a score is ranked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.offline.measuring.measures import auc_pr, autocorrelation_period, vus_pr
from trainer.evaluation.labelled import Labelled, read_labelled


@dataclass(frozen=True, slots=True)
class Series:
    """One labelled file.

    Attributes:
        rows: float32 [n, C] in spreads of the training rows, without NaN: missing values repeat the last one.
        train: bool [n], the rows to fit on.
        window: A length that suits the data: the period of the training rows.
        labelled: The file as `streamgauge evaluate` reads it.
    """

    rows: NDArray[np.float32]
    train: NDArray[np.bool_]
    window: int
    labelled: Labelled


def read(path: Path) -> Series:
    """Read a file. Everything that depends on the data is taken from its training rows."""
    labelled = read_labelled(path, None)
    train = labelled.train
    values = _filled(labelled.values)
    scale = values[train].std(axis=0)
    rows = (values - values[train].mean(axis=0)) / np.where(scale > 1e-9, scale, 1.0)
    return Series(rows.astype(np.float32), train, autocorrelation_period(values[train, 0]), labelled)


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values with missing ones replaced by the last known one, or by 0 before the first."""
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, filled, 0.0)


def ranked(labelled: Labelled, score: NDArray[np.float64]) -> dict[str, float]:
    """Return VUS-PR and AUC-PR of a score of every row, float64 [n]."""
    return {
        "vus_pr": vus_pr(labelled.label, score, labelled.buffer),
        "auc_pr": auc_pr(labelled.label, score),
    }
