"""Share activations, losses, identity matrices and checks of hyperparameters among all families."""

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


def identities(*shape: int) -> torch.Tensor:
    """Return identity matrices over the last two axes of `shape`, which are of one length, float32 [*shape].

    Use this in the constructors of modules, instead of `torch.eye` and `Tensor.repeat`. On the meta device
    those run in Python and import torch's compiler, which delays the start of the daemon by two seconds.

    >>> identities(2, 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    matrices = torch.zeros(*shape)
    matrices.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    return matrices


def masked_loss(
    name: str, output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean loss over the known cells, a scalar.

    Args:
        name: One of `LOSSES`.
        output: What the module returned, float32 [batch, window, channels].
        target: What it should have returned, of the same shape.
        mask: True in the cells that count, bool of the same shape; None if all count.
    """
    if mask is None:
        return LOSSES[name](output, target)
    per_cell = LOSSES[name](output, target, reduction="none")
    return (per_cell * mask).sum() / mask.sum().clamp(min=1)


def mean_of_cells(loss_BWC: torch.Tensor, mask: torch.Tensor | None, trim: float = 0.0) -> torch.Tensor:
    """Return the mean over the known cells of the batch without its worst windows, a scalar.

    The windows with the largest mean are left out, and their gradient is zero. Anomalies within the training
    data therefore have little influence (least trimmed squares: Rousseeuw, 1984; in steps of a gradient:
    Shen and Sanghavi, 2019).

    Args:
        loss_BWC: The loss of each cell, float32 [batch, window, channels].
        mask: True in the cells that count, bool of the same shape; None if all count.
        trim: Share of the windows that is left out, 0 to below 1; their number is rounded down.
    """
    total_B, num_B = window_sums(loss_BWC, mask)
    num_kept = len(loss_BWC) - int(trim * len(loss_BWC))
    kept = (total_B / num_B.clamp(min=1)).detach().argsort(stable=True)[:num_kept]
    return total_B[kept].sum() / num_B[kept].sum().clamp(min=1)


def window_sums(loss_BWC: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of each window, summed over its known cells, and the number of these; each [B].

    Args:
        loss_BWC: The loss of each cell, float32 [batch, window, channels].
        mask: True in the cells that count, bool of the same shape; None if all count.
    """
    known = torch.ones_like(loss_BWC) if mask is None else mask.to(loss_BWC.dtype)
    return (loss_BWC * known).flatten(1).sum(1), known.flatten(1).sum(1)
