"""The difference between rows and their approximation, channel by channel, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class ReconstructionError:
    """Sum up differences over rows. A cell counts if both sides have a value.

    Spreads are merged block by block (Chan, Golub and LeVeque, 1983), so that a large mean costs no digits.
    """

    def __init__(self, channels: tuple[str, ...], scale: NDArray[np.float64]) -> None:
        """Start without rows. `scale`, float64 [C], makes channels of different units comparable in `r2`."""
        self._channels = channels
        self._scale = scale
        self._count = np.zeros(len(channels))
        self._mean = np.zeros(len(channels))
        self._spread = np.zeros(len(channels))
        self._squares = np.zeros(len(channels))

    def add(self, actual: NDArray[np.float64], approximate: NDArray[np.float64]) -> None:
        """Add n rows: float64 [n, C] each, physical units, NaN where unknown."""
        known = ~np.isnan(actual) & ~np.isnan(approximate)
        count = known.sum(axis=0)
        mean = np.where(known, actual, 0.0).sum(axis=0) / np.maximum(count, 1)
        spread = np.square(np.where(known, actual - mean, 0.0)).sum(axis=0)
        total = self._count + count
        shift = mean - self._mean
        self._spread += spread + shift**2 * self._count * count / np.maximum(total, 1)
        self._mean += shift * count / np.maximum(total, 1)
        self._count = total
        self._squares += np.square(np.where(known, actual - approximate, 0.0)).sum(axis=0)

    @property
    def rmse(self) -> NDArray[np.float64]:
        """Return the root mean square error, float64 [C], in each channel's unit; NaN without any cell."""
        return np.sqrt(_ratio(self._squares, self._count))

    @property
    def share(self) -> NDArray[np.float64]:
        """Return `rmse` divided by the channel's standard deviation, float64 [C]; NaN if it never varies."""
        return np.sqrt(_ratio(self._squares, self._spread))

    @property
    def r2(self) -> float:
        """Return the share of the variance that is kept, of all channels in units of `scale`; NaN if none."""
        squares, spread = (float((part / self._scale**2).sum()) for part in (self._squares, self._spread))
        return 1.0 - squares / spread if spread > 0 else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values, None where a figure is unknown."""
        columns = zip(self._channels, self.rmse.tolist(), self.share.tolist(), strict=True)
        channels = {name: {"rmse": _known(rmse), "share": _known(share)} for name, rmse, share in columns}
        return {"r2": _known(self.r2), "channels": channels}


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
