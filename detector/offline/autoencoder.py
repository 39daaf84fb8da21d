"""A trained model used as an autoencoder: windows to codes, and windows to their reconstructions.

Letters: N windows, B batch, W window, C channels, L latent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.models.execution.network import Runner
from detector.rows.windows import MIN_KNOWN_SHARE, NewRows, WindowBuffer
from detector.scoring.preprocessing import fill_missing
from detector.scoring.series_scales import SeriesScales

DEFAULT_ROUNDS = 3
ENOUGH_KNOWN = f"at least {MIN_KNOWN_SHARE:.0%} of its values known"
TOO_EMPTY = f"less than {MIN_KNOWN_SHARE:.0%} of their values known"


@dataclass(frozen=True, slots=True)
class Coder:
    """Run the ensemble's first member, in padded batches of one fixed size: no window depends on others."""

    runner: Runner
    batch_size: int

    @classmethod
    def of(cls, artifact: Artifact, device: str = "cpu") -> Coder:
        """Return the coder of a model on `device`: "cpu", "cuda" or "auto"."""
        return cls(artifact.module[0].on(device), artifact.spec.batch_size)

    def encode(self, x_NWC: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the codes of windows without NaN: float32 [N, W, C] to float32 [N, L]."""
        return self._batched(self.runner.encode, x_NWC)

    def decode(self, z_NL: NDArray[np.float32], window: int) -> NDArray[np.float32]:
        """Return the windows of codes: float32 [N, L] to float32 [N, W, C]."""
        return self._batched(lambda z_BL: self.runner.decode(z_BL, window), z_NL)

    def reconstruct(self, x_NWC: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the reconstructions of windows without NaN, float32 [N, W, C]."""
        return self._batched(self.runner.reconstruct, x_NWC)

    def complete(self, x_NWC: NDArray[np.float32], rounds: int) -> NDArray[np.float32]:
        """Return the windows with a value in every cell; known values stay unchanged.

        Missing cells start with the values that the engine would use. Then they take their reconstruction,
        `rounds` times. If the module is a projection, as the linear one is, this is expectation maximization
        (Dempster, Laird and Rubin, 1977; Roweis, 1998).
        """
        holed = np.flatnonzero(np.isnan(x_NWC).any(axis=(1, 2)))
        filled_NWC = fill_missing(x_NWC)
        if len(holed) == 0:
            return filled_NWC
        missing, part = np.isnan(x_NWC[holed]), filled_NWC[holed]
        for _ in range(rounds):
            part = np.where(missing, self.reconstruct(part), part)
        filled_NWC[holed] = part
        return filled_NWC

    def _batched(
        self, function: Callable[[NDArray[np.float32]], NDArray[np.float32]], values: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        size = self.batch_size
        batch = np.zeros((size, *values.shape[1:]), np.float32)
        parts = []
        for at in range(0, max(1, len(values)), size):
            num = min(size, len(values) - at)
            batch[:num], batch[num:] = values[at : at + num], 0.0
            parts.append(function(batch)[:num].copy())
        return np.concatenate(parts)


class WindowReader:
    """Read windows from stretches, in the model's units. Windows may begin in an earlier stretch."""

    def __init__(self, artifact: Artifact) -> None:
        spec = artifact.spec
        self._scales = SeriesScales(spec)
        self._num_named = 0
        self._window = spec.window
        self._tails = WindowBuffer(spec.window - 1, len(spec.channels))

    def ending(
        self, stretch: NewRows, due: NDArray[np.bool_], names: Sequence[str]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the windows that end at rows where `due` is True and that have enough known values.

        Call it once for every stretch.

        Args:
            stretch: n rows.
            due: bool [n], False where `stretch.age` is less than the window.
            names: The names of all series so far, by slot.

        Returns:
            The place of each window's last row in the stretch, intp [N]; and the windows, float32 [N, W, C],
            NaN where a value is missing.
        """
        new = names[self._num_named :]
        self._scales.name(np.arange(self._num_named, len(names), dtype=np.int32), new)
        self._num_named = len(names)
        flat, at = self._tails.flatten(stretch, self._scales.to_model(stretch.values, stretch.slot))
        ends = np.flatnonzero(due)
        rows_RCW = np.lib.stride_tricks.sliding_window_view(flat, self._window, axis=0)
        x_NWC = np.ascontiguousarray(rows_RCW[at[ends] - (self._window - 1)].transpose(0, 2, 1))
        enough = np.isnan(x_NWC).mean(axis=(1, 2)) <= 1 - MIN_KNOWN_SHARE
        return (ends, x_NWC) if enough.all() else (ends[enough], x_NWC[enough])

    def physical(self, scaled: NDArray[np.float32], slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Convert rows in the model's units to those of the channels.

        Args:
            scaled: Rows, float32 [n, C].
            slots: The series of each row, int32 [n].
        """
        return self._scales.to_channels(scaled.astype(np.float64), slots)
