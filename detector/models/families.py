"""The model family: every member is a module of windows to windows, through a code.

`forward(x_BWC) -> x_BWC`, float32, any batch; B batch, W window, C channels, L numbers of a code. It is
`decode(encode(x_BWC), W)`, where the code is flat. NaN never reaches a module: the caller fills and masks
(see `detector.scoring.inference`). A family is a frozen `Config` dataclass of hyperparameters plus a module on one
page, listed here; a new one is covered by the contract tests as soon as it is listed.

A member may judge windows by residuals of its own (`OwnResidual`) and learn by a loss of its own
(`OwnLoss`); `reconstruct` and `training_loss` ask it then, so that no caller has to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, runtime_checkable

import torch

from detector.models import conv, deep, linear, mlp, recurrent, vae
from detector.models.blocks import LOSSES, masked_loss, mean_of_cells

__all__ = [
    "FAMILIES",
    "Autoencoder",
    "Family",
    "OwnLoss",
    "OwnResidual",
    "build",
    "reconstruct",
    "resolve",
    "training_loss",
]


class Autoencoder(Protocol):
    """What every member can do."""

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """The flat code of each window, float32 [B, L]."""

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """The window of each code, float32 [B, window, C]."""


@runtime_checkable
class OwnResidual(Protocol):
    """A member that judges a window by more than one reconstruction."""

    def residual(self, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Expected values and signed residuals, each [B, W, C]."""


@runtime_checkable
class OwnLoss(Protocol):
    """A member that learns by a loss of its own."""

    def cell_losses(
        self, x_BWC: torch.Tensor, target_BWC: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """The loss of each cell, [B, W, C]; its mean over the known cells is what training lowers."""


@dataclass(frozen=True, slots=True)
class Family:
    """A member: its hyperparameters and how its module is built from them."""

    config: Callable[..., Any]
    module: Callable[[Any, int, int], torch.nn.Module]


FAMILIES: dict[str, Family] = {
    "linear": Family(linear.Config, linear.LinearAutoencoder),
    "mlp": Family(mlp.Config, mlp.MlpAutoencoder),
    "deep": Family(deep.Config, deep.DeepAutoencoder),
    "conv": Family(conv.Config, conv.ConvAutoencoder),
    "lstm": Family(recurrent.Config, recurrent.LstmAutoencoder),
    "gru": Family(recurrent.Config, recurrent.GruAutoencoder),
    "vae": Family(vae.Config, vae.VariationalAutoencoder),
}


def resolve(family: str, given: Mapping[str, Any], window: int, num_channels: int) -> dict[str, Any]:
    """All hyperparameters of a family, what was not given (or None) set by its defaults.

    Raises ValueError for an unknown family or hyperparameter, or a value that it cannot have.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown model family {family!r}; known: {', '.join(FAMILIES)}")
    config = FAMILIES[family].config
    known = {f.name for f in fields(config)}  # type: ignore[arg-type]  # every Config is a dataclass
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"{family} has no hyperparameter {unknown[0]!r}; it has {', '.join(sorted(known))}")
    chosen = {name: value for name, value in given.items() if value is not None}
    return asdict(config(**chosen).resolved(window, num_channels))


def build(family: str, hyperparameters: Mapping[str, Any], window: int, num_channels: int) -> torch.nn.Module:
    """A module with fresh weights (seed torch before). Raises ValueError as `resolve` does."""
    complete = resolve(family, hyperparameters, window, num_channels)
    member = FAMILIES[family]
    return member.module(member.config(**complete), window, num_channels)


def reconstruct(module: torch.nn.Module, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a score is made of: expected values and signed residuals, each float32 [B, W, C].

    The residual is `x - expected`, unless the module has a `residual` of its own.
    """
    if isinstance(module, OwnResidual):
        return module.residual(x_BWC)
    y_BWC: torch.Tensor = module(x_BWC)
    return y_BWC, x_BWC - y_BWC


def training_loss(
    module: torch.nn.Module,
    loss: str,
    x_BWC: torch.Tensor,
    target_BWC: torch.Tensor,
    mask: torch.Tensor | None,
    trim: float = 0.0,
) -> torch.Tensor:
    """What training lowers: the mean loss of the cells of `target_BWC` where `mask` is True (None: all).

    The module sees `x_BWC`, which a denoising training has corrupted. `loss` names one of `LOSSES`; a module
    with `cell_losses` of its own is asked instead. `trim` is the share of the windows, the worst, that is
    left out (`detector.models.blocks.mean_of_cells`).
    """
    if isinstance(module, OwnLoss):
        return mean_of_cells(module.cell_losses(x_BWC, target_BWC, mask), mask, trim)
    y_BWC = module(x_BWC)
    if trim:
        return mean_of_cells(LOSSES[loss](y_BWC, target_BWC, reduction="none"), mask, trim)
    return masked_loss(loss, y_BWC, target_BWC, mask)
