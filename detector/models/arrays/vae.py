"""The variational autoencoder in NumPy, as far as it scores; its module in torch is in `detector.models.vae`.

To train it and to draw windows from it takes torch.

Letters: B batch, W window, C channels, H features of the backbone, L latent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.models.arrays.conv import ConvArrays
from detector.models.arrays.dense import DeepArrays
from detector.models.arrays.layers import ACTIVATIONS, F32, Shapes, dense, dense_shapes
from detector.models.configs import conv
from detector.models.configs.vae import CODE_LOG_VARIANCE, LOG_VARIANCE, Config

_BACKBONE = "backbone."


class VariationalArrays:
    """Encode windows to distributions of codes, between the two halves of a backbone."""

    def __init__(self, config: Config, window: int, num_channels: int, weights: Mapping[str, F32]) -> None:
        inner = {
            name.removeprefix(_BACKBONE): one for name, one in weights.items() if name.startswith(_BACKBONE)
        }
        chosen = config.backbone_config(window, num_channels)
        self._backbone: ConvArrays | DeepArrays
        if isinstance(chosen, conv.Config):
            self._backbone = ConvArrays(chosen, window, num_channels, inner)
        else:
            self._backbone = DeepArrays(chosen, window, num_channels, inner)
        self._score, self._activate = config.score, ACTIVATIONS[config.activation]
        self._posterior = weights["posterior.1.weight"], weights["posterior.1.bias"]
        self._features = weights["features.0.weight"], weights["features.0.bias"]
        self._noise_KL = weights["noise"]
        self._deviation_C = np.sqrt(np.exp(np.clip(weights["log_variance"], *LOG_VARIANCE)))

    @staticmethod
    def shapes(config: Config, window: int, num_channels: int) -> Shapes:
        """Return the shapes of the weights by name, in the order of the module."""
        assert config.latent is not None
        latent, chosen = config.latent, config.backbone_config(window, num_channels)
        if isinstance(chosen, conv.Config):
            inner = ConvArrays.shapes(chosen, window, num_channels)
            assert chosen.latent is not None
            num_features = chosen.latent * -(-window // 2**chosen.layers)
        else:
            inner = DeepArrays.shapes(chosen, window, num_channels)
            assert chosen.latent is not None
            num_features = chosen.latent
        return {
            "log_variance": (num_channels,),
            "noise": (config.draws, latent),
            "code_mean": (latent,),
            "code_factor": (latent, latent),
            "noise_memory": (num_channels,),
            **{f"{_BACKBONE}{name}": shape for name, shape in inner.items()},
            **dense_shapes("posterior.1", num_features, 2 * latent),
            **dense_shapes("features.0", latent, num_features),
        }

    def encode(self, x_BWC: F32) -> F32:
        """Return the mean code of each window, float32 [B, L]."""
        return self._distribution(x_BWC)[0]

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the mean window of each code, float32 [B, W, C]."""
        return self._backbone.decode(self._activate(dense(z_BL, *self._features)), window)

    def __call__(self, x_BWC: F32) -> F32:
        """Return the window of the mean code, float32 [B, W, C]."""
        return self.decode(self.encode(x_BWC), x_BWC.shape[1])

    def residual(self, x_BWC: F32) -> tuple[F32, F32]:
        """Return expected values and signed residuals, each float32 [B, W, C], as `score` selects."""
        if self._score == "mean":
            y_BWC = self(x_BWC)
            return y_BWC, x_BWC - y_BWC
        mean_BL, log_variance_BL = self._distribution(x_BWC)
        spread_BL = np.exp(0.5 * log_variance_BL)
        y_BWC, square_BWC = np.zeros_like(x_BWC), np.zeros_like(x_BWC)
        for noise_L in self._noise_KL:  # one draw at a time needs less memory
            drawn_BWC = self.decode(mean_BL + spread_BL * noise_L, x_BWC.shape[1])
            y_BWC += drawn_BWC / len(self._noise_KL)
            square_BWC += np.square(x_BWC - drawn_BWC) / len(self._noise_KL)
        r_BWC = np.copysign(np.sqrt(square_BWC), x_BWC - y_BWC)
        return y_BWC, r_BWC / self._deviation_C if self._score == "probability" else r_BWC

    def _distribution(self, x_BWC: F32) -> tuple[F32, F32]:
        """Return mean and log-variance of the code of each window, each float32 [B, L]."""
        features_BH = self._activate(np.ascontiguousarray(self._backbone.encode(x_BWC)))
        mean_BL, log_variance_BL = np.split(dense(features_BH, *self._posterior), 2, axis=1)
        return mean_BL, np.clip(log_variance_BL, *CODE_LOG_VARIANCE)
