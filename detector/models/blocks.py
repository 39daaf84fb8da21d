"""Choices that all families share: activations, losses and the checks of hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Collection

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


_MOST_LAYERS = 64


def masked_loss(
    name: str, output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Mean loss over the cells where `mask` is True (None: all); all tensors [batch, window, channels]."""
    if mask is None:
        return LOSSES[name](output, target)
    per_cell = LOSSES[name](output, target, reduction="none")
    return (per_cell * mask).sum() / mask.sum().clamp(min=1)


def mean_of_cells(loss_BWC: torch.Tensor, mask: torch.Tensor | None, trim: float = 0.0) -> torch.Tensor:
    """Mean over the cells where `mask` is True (None: all), the worst windows left out.

    `trim` is the share of the windows of the batch, rounded down, that is left out: those with the
    largest mean. Their gradient is zero, so what a batch holds of anomalies teaches nothing (least
    trimmed squares, Rousseeuw, 1984; in steps of a gradient, Shen and Sanghavi, 2019).
    """
    known = torch.ones_like(loss_BWC) if mask is None else mask.to(loss_BWC.dtype)
    total_B, num_B = (loss_BWC * known).flatten(1).sum(1), known.flatten(1).sum(1)
    num_kept = len(loss_BWC) - int(trim * len(loss_BWC))
    kept = (total_B / num_B.clamp(min=1)).detach().argsort(stable=True)[:num_kept]
    return total_B[kept].sum() / num_B[kept].sum().clamp(min=1)


def check_shared(latent: int | None, layers: int, nodes: int, activation: str, loss: str) -> None:
    """Raises ValueError, naming the hyperparameter and what it may be."""
    for name, value in (("latent", latent), ("layers", layers), ("nodes", nodes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if layers > _MOST_LAYERS:
        raise ValueError(f"layers is {layers}; it must be at most {_MOST_LAYERS}")
    check_one_of("activation", activation, ACTIVATIONS)
    check_one_of("loss", loss, LOSSES)


def check_one_of(name: str, choice: str, known: Collection[str]) -> None:
    """Raises ValueError, naming the hyperparameter and its values, where `choice` is none of them."""
    if choice not in known:
        raise ValueError(f"{name} is {choice!r}; it must be one of {', '.join(known)}")
