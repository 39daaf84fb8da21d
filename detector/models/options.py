"""Choices that all families share: activations, losses and the checks of hyperparameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "identity": nn.Identity,
}

LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}


def masked_loss(
    name: str, output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Mean loss over the cells where `mask` is True (None: all); all tensors [batch, window, channels]."""
    if mask is None:
        return LOSSES[name](output, target)
    per_cell = LOSSES[name](output, target, reduction="none")
    return (per_cell * mask).sum() / mask.sum().clamp(min=1)


def check_shared(latent: int | None, layers: int, nodes: int, activation: str, loss: str) -> None:
    """Raises ValueError, naming the hyperparameter and what it may be."""
    for name, value in (("latent", latent), ("layers", layers), ("nodes", nodes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    for name, choice, known in (("activation", activation, ACTIVATIONS), ("loss", loss, LOSSES)):
        if choice not in known:
            raise ValueError(f"{name} is {choice!r}; it must be one of {', '.join(known)}")
