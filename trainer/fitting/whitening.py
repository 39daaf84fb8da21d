"""Estimation of the whitening of residuals, which `detector.models.whitening` applies.

Letters: N windows, W window, C channels, L channels that move.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from detector.models import families as models
from detector.models.whitening import Whitening
from detector.scoring.preprocessing import fill_missing
from trainer.data.training_windows import TrainingWindows

_WINDOWS = 8_192
_ROW_SHRINKAGE, _CHANNEL_SHRINKAGE = 0.03, 0.01
_FLOOR = 1e-6
_MIN_SCALE = 0.02
_ROUNDS = 2
_BATCH = 256
_MEMORY = 0.25


def fit_whitening(
    whitening: Whitening, autoencoder: torch.nn.Module, windows: TrainingWindows, fading: bool
) -> None:
    """Set `whitening` in place from windows that are spread over the history.

    Channels that never move in the history count in no distance, whatever the autoencoder makes of them. The
    distances are means over the cells of the others, near 1 however many channels stand still.

    Args:
        whitening: The matrices to set.
        autoencoder: A trained module on the CPU.
        windows: Windows to estimate the covariance from.
        fading: True: the newest rows of a window count most; False: all count equally (`fades`).
    """
    x_NWC, residual_NWC = _windows_and_residuals(autoencoder, windows)
    _, window, num_channels = x_NWC.shape
    living = np.arange(num_channels) if windows.living is None else windows.living
    weight_W = fading_weights(window) if fading else np.ones(window)
    whitening.scale.copy_(torch.from_numpy(_scale(residual_NWC)))
    _set_joint(whitening, residual_NWC[:, :, living], living, np.sqrt(weight_W))
    for channel in range(len(whitening.alone)):
        matrix = np.zeros((window, window))
        if channel in living:
            matrix = _inverse_root(_moment(x_NWC[:, :, channel]), _ROW_SHRINKAGE) * np.sqrt(weight_W)
        whitening.alone[channel].copy_(torch.from_numpy(matrix))


def _set_joint(
    whitening: Whitening,
    residual_NWL: NDArray[np.float64],
    living: NDArray[np.intp],
    weight_W: NDArray[np.float64],
) -> None:
    """Set the matrices of the joint distance from the residuals of living channels; the others get 0.

    The distance divides by all cells, so the matrices are greater where some do not count.
    """
    num, window, num_living = residual_NWL.shape
    num_channels = len(whitening.scale)
    share = np.sqrt(num_channels / num_living)
    if whitening.is_factored:
        rows, among = kronecker_factors(residual_NWL)
        channels = np.zeros((num_channels, num_channels))
        channels[np.ix_(living, living)] = among * share
        whitening.rows.copy_(torch.from_numpy(rows * weight_W))
        whitening.channels.copy_(torch.from_numpy(channels))
        return
    shrinkage = _ROW_SHRINKAGE if num_channels == 1 else _CHANNEL_SHRINKAGE
    matrix = _inverse_root(_moment(residual_NWL.reshape(num, -1)), shrinkage) * share
    cells = (np.arange(window)[:, None] * num_channels + living).ravel()
    joint = np.zeros((window * num_channels, window * num_channels))
    joint[np.ix_(cells, cells)] = matrix * np.repeat(weight_W, num_living)
    whitening.joint.copy_(torch.from_numpy(joint))


def fit_scale(whitening: Whitening, autoencoder: torch.nn.Module, windows: TrainingWindows) -> None:
    """Set only the usual residual of each channel, in place: the distance stays the plain mean of squares.

    Args:
        whitening: The matrices; only the scale changes.
        autoencoder: A trained module on the CPU.
        windows: Windows to estimate the residual from.
    """
    whitening.scale.copy_(torch.from_numpy(_scale(_windows_and_residuals(autoencoder, windows)[1])))


def fades(window: int, delay: int) -> bool:
    """Return whether the newest rows of a window count most, for verdicts that wait `delay` rows.

    A row is scored by the windows that end up to `delay` rows after it. While that is at most half of the
    window, it is among the newer rows of each of them (docs/decisions/0011).
    """
    return 2 * delay <= window


def fading_weights(window: int) -> NDArray[np.float64]:
    """Return weights of the rows of a window, float64 [W], mean 1.

    Weights fall by a factor of e per quarter of the window, from the newest row to the oldest. With equal
    weights a past event would keep the score high until it has left the window
    (docs/decisions/0011).
    """
    weight = np.exp(-np.arange(window)[::-1] / (_MEMORY * window))
    return weight / float(weight.mean())


def kronecker_factors(
    residual_NWC: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the whitening matrices of a matrix normal distribution: over rows [W, W], over channels [C, C].

    Each factor is estimated given the other, in turn (the flip-flop of Dutilleul, 1999), and shrunk.
    """
    num, window, num_channels = residual_NWC.shape
    rows = np.eye(window)
    channels = np.eye(num_channels)
    for _ in range(_ROUNDS):
        by_row_NCW = residual_NWC.transpose(0, 2, 1) @ rows
        across = _moment(by_row_NCW.transpose(0, 2, 1).reshape(num * window, num_channels))
        channels = _inverse_root(across, _CHANNEL_SHRINKAGE)
        by_channel_NWC = residual_NWC @ channels
        along = _moment(by_channel_NWC.transpose(0, 2, 1).reshape(num * num_channels, window))
        rows = _inverse_root(along, _ROW_SHRINKAGE)
    return rows, channels


def _windows_and_residuals(
    autoencoder: torch.nn.Module, windows: TrainingWindows
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return windows and their residuals, float64 [N, W, C] each, 0 where a value is missing."""
    x_NWC = windows.spread(_WINDOWS)
    residual_NWC = np.empty(x_NWC.shape)
    with torch.inference_mode():
        for at in range(0, len(x_NWC), _BATCH):
            part = x_NWC[at : at + _BATCH]
            _, residual_BWC = models.reconstruct(autoencoder, torch.from_numpy(fill_missing(part)))
            residual_NWC[at : at + _BATCH] = np.where(np.isnan(part), 0.0, residual_BWC.numpy())
    return np.nan_to_num(x_NWC, nan=0.0).astype(np.float64), residual_NWC


def _scale(residual_NWC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square residual per channel, float64 [C], with a floor.

    The floor keeps a nearly perfect channel from being blamed for tiny residuals.
    """
    scale: NDArray[np.float64] = np.maximum(np.sqrt((residual_NWC**2).mean(axis=(0, 1))), _MIN_SCALE)
    return scale


def _moment(x_NW: NDArray[np.float64]) -> NDArray[np.float64]:
    moment: NDArray[np.float64] = x_NW.T @ x_NW / len(x_NW)
    return moment


def _inverse_root(moment: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """Return the upper triangular A with A A^T the inverse of the shrunk `moment`.

    x A are the innovations of x: each holds what its cell adds to the cells before it. A moment of 0 is read
    as small, not as impossible.
    """
    size = len(moment)
    shrunk = (1.0 - shrinkage) * moment + (shrinkage * float(np.trace(moment)) / size + _FLOOR) * np.eye(size)
    lower = np.linalg.cholesky(shrunk)
    matrix: NDArray[np.float64] = np.linalg.inv(lower).T
    return matrix
