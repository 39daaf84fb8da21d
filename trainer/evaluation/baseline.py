"""The rival of every model: the linear autoencoder, principal components of windows, with plain error.

The error of a row is the mean square of its residual over the channels. Nothing is whitened or smoothed.
`streamgauge evaluate` reports whether a model beats it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from detector.models import families as models
from detector.models.linear import LinearAutoencoder
from detector.scoring.preprocessing import fill_missing, scale_rows
from trainer.data.channel_statistics import channel_statistics
from trainer.data.history import History, Shares
from trainer.data.training_windows import TrainingWindows
from trainer.fitting.principal_components import fit_linear

WINDOW = 64
_BATCH = 256


def plain_linear_errors(
    history: History, values: NDArray[np.float64], window: int, causal: bool
) -> NDArray[np.float64]:
    """Return the error of each row of `values`, float64 [n]; NaN before the first window.

    Args:
        history: The model is fitted on all of it but the calibration part.
        values: float64 [n, C], one series, one row per interval, NaN where missing.
        window: Rows of a window.
        causal: Reconstruct a row from the window that ends at it; False: average over all windows with it.
    """
    segments = history.part("fit", Shares())
    statistics = channel_statistics(history, segments, window)
    windows = TrainingWindows(history, segments, statistics.center, statistics.scale, window)
    module = models.build("linear", {}, window, values.shape[1])
    assert isinstance(module, LinearAutoencoder)
    fit_linear(module, windows, 0)
    rows = scale_rows(values, statistics.center, statistics.scale)
    residual = rows - _expected(module, rows, window, causal)
    known = ~np.isnan(residual)
    square = np.where(known, residual, 0.0) ** 2
    with np.errstate(invalid="ignore"):
        errors: NDArray[np.float64] = square.sum(axis=1) / np.where(
            known.any(axis=1), known.sum(axis=1), np.nan
        )
    return errors


def _expected(
    module: torch.nn.Module, rows: NDArray[np.float32], window: int, causal: bool
) -> NDArray[np.float64]:
    """Return the value that the windows expect in each cell, float64 [n, C]; NaN where no window reaches."""
    total, count = np.zeros(rows.shape), np.zeros(len(rows))
    views = np.lib.stride_tricks.sliding_window_view(rows, window, axis=0).transpose(0, 2, 1)
    for at in range(0, len(views), _BATCH):
        with torch.inference_mode():
            y_BWC = module(
                torch.from_numpy(fill_missing(np.ascontiguousarray(views[at : at + _BATCH])))
            ).numpy()
        for place in range(window - 1 if causal else 0, window):
            span = slice(at + place, at + place + len(y_BWC))
            total[span] += y_BWC[:, place]
            count[span] += 1
    return total / np.where(count > 0, count, np.nan)[:, None]
