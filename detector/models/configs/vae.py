"""Describe the variational autoencoder by its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from detector.models.configs import conv, deep
from detector.models.configs.checks import check_one_of, check_shared

BACKBONES = ("dense", "conv")
SCORES = ("expected", "probability", "mean")
LOG_VARIANCE = (-8.0, 4.0)
"""Bounds of the logarithm of the decoder's variance."""
CODE_LOG_VARIANCE = (-12.0, 4.0)
"""Bounds of the logarithm of a code's variance."""


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the hyperparameters of the family.

    latent      length of the code; None: an eighth of the window's cells, 1 to 64
    activation  of the backbone, and between it and the code
    layers      of the backbone
    nodes       of the backbone
    loss        mse: the decoder is Gaussian
    backbone    dense (`deep`) or conv
    beta        weight of the KL divergence; a greater one keeps less of a window in its code
    score       expected, probability or mean: see the top of this file
    draws       number of codes that score a window; even, as they come in pairs of opposite sign
    """

    latent: int | None = None
    activation: str = "gelu"
    layers: int = 2
    nodes: int = 64
    loss: str = "mse"
    backbone: str = "dense"
    beta: float = 1.0
    score: str = "expected"
    draws: int = 8

    def __post_init__(self) -> None:
        check_shared(self.latent, self.layers, self.nodes, self.activation, self.loss)
        check_one_of("backbone", self.backbone, BACKBONES)
        check_one_of("score", self.score, SCORES)
        if self.loss != "mse":
            raise ValueError(f"loss is {self.loss!r}; the decoder of vae is Gaussian, so it must be mse")
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta is {self.beta}; it must be at least 0")
        if self.draws < 2 or self.draws % 2:
            raise ValueError(f"draws is {self.draws}; it must be even and at least 2")

    def resolved(self, window: int, num_channels: int) -> Self:
        """Return the same hyperparameters with every None replaced by a number that suits the data.

        Args:
            window: Rows of a window.
            num_channels: Channels of the model.
        """
        return replace(self, latent=self.latent or min(64, max(1, window * num_channels // 8)))

    def backbone_config(self, window: int, num_channels: int) -> conv.Config | deep.Config:
        """Return the hyperparameters of the backbone; the code stands between its two halves."""
        if self.backbone == "conv":
            strided = conv.Config(activation=self.activation, layers=self.layers, nodes=self.nodes)
            return strided.resolved(window, num_channels)
        assert self.latent is not None
        width = max(self.latent, self.nodes >> self.layers)
        return deep.Config(latent=width, activation=self.activation, layers=self.layers, nodes=self.nodes)
