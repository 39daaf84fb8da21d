"""The families of dense layers in NumPy: linear, mlp and deep.

Their modules in torch are in `detector.models.linear`, `mlp` and `deep`.

Letters: B batch, W window, C channels, L latent, D cells of a window.
"""

from __future__ import annotations

from collections.abc import Mapping

from detector.models.arrays.layers import (
    ACTIVATIONS,
    F32,
    Shapes,
    dense,
    dense_shapes,
    stack_of,
    stack_shapes,
)
from detector.models.configs import deep, linear, mlp


class LinearArrays:
    """Map flattened windows to their coordinates along the components, and back."""

    def __init__(
        self, config: linear.Config, window: int, num_channels: int, weights: Mapping[str, F32]
    ) -> None:
        self._down = weights["encoder.weight"], weights["encoder.bias"]
        self._up = weights["decoder.weight"], weights["decoder.bias"]

    @staticmethod
    def shapes(config: linear.Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        assert config.latent is not None
        num_cells = window * num_channels
        return dense_shapes("encoder", num_cells, config.latent) | dense_shapes(
            "decoder", config.latent, num_cells
        )

    def encode(self, x_BWC: F32) -> F32:
        """Return the code of each window, float32 [B, L]."""
        return dense(x_BWC.reshape(len(x_BWC), -1), *self._down)

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, W, C]."""
        return dense(z_BL, *self._up).reshape(len(z_BL), window, -1)

    def __call__(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


class MlpArrays:
    """Encode windows by one dense layer and decode them by another."""

    def __init__(
        self, config: mlp.Config, window: int, num_channels: int, weights: Mapping[str, F32]
    ) -> None:
        self._down = weights["encoder.0.weight"], weights["encoder.0.bias"]
        self._up = weights["decoder.0.weight"], weights["decoder.0.bias"]
        self._activate, self._output = ACTIVATIONS[config.activation], ACTIVATIONS[config.output]

    @staticmethod
    def shapes(config: mlp.Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        assert config.latent is not None
        num_cells = window * num_channels
        return stack_shapes("encoder", [num_cells, config.latent]) | stack_shapes(
            "decoder", [config.latent, num_cells]
        )

    def encode(self, x_BWC: F32) -> F32:
        """Return the values of the hidden nodes, float32 [B, L]."""
        return self._activate(dense(x_BWC.reshape(len(x_BWC), -1), *self._down))

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, W, C]."""
        return self._output(dense(z_BL, *self._up)).reshape(len(z_BL), window, -1)

    def __call__(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])


class DeepArrays:
    """Encode and decode windows by several dense layers."""

    def __init__(
        self, config: deep.Config, window: int, num_channels: int, weights: Mapping[str, F32]
    ) -> None:
        num_layers = config.layers + 1
        self._encoder = stack_of(weights, "encoder", num_layers, config.activation)
        self._decoder = stack_of(weights, "decoder", num_layers, config.activation)
        self._output = ACTIVATIONS[config.output]

    @staticmethod
    def shapes(config: deep.Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        assert config.latent is not None
        widths = [window * num_channels, *config.widths(), config.latent]
        return stack_shapes("encoder", widths) | stack_shapes("decoder", widths[::-1])

    def encode(self, x_BWC: F32) -> F32:
        """Return the code of each window, float32 [B, L]."""
        return self._encoder(x_BWC.reshape(len(x_BWC), -1))

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, W, C]."""
        return self._output(self._decoder(z_BL)).reshape(len(z_BL), window, -1)

    def __call__(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])
