"""List the families of autoencoders, build their modules, and compute their residuals and losses.

A module maps windows to windows through a code: `forward(x_BWC)` is `decode(encode(x_BWC), W)`, float32.
NaN never reaches a module: the caller fills and masks such cells (see `detector.scoring.preprocessing`).

A family is one file with a frozen `Config` dataclass of hyperparameters and a module, and one line in
`detector.models.listing`. The contract tests cover a new family as soon as it is listed. A family may define
its own residual (`OwnResidual`) and its own loss (`OwnLoss`). Callers need not know: they use `reconstruct`
and `training_loss`.

Letters: B batch, W window, C channels, L numbers of a code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import torch

from detector.models.blocks import LOSSES, masked_loss, mean_of_cells
from detector.models.configs.resolving import resolved
from detector.models.listing import FAMILY_CLASSES

__all__ = [
    "FAMILIES",
    "Autoencoder",
    "Family",
    "OwnLoss",
    "OwnResidual",
    "build",
    "cell_losses",
    "plain_reconstruction",
    "reconstruct",
    "reconstruction",
    "resolve",
    "training_loss",
]


Reconstruction = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Windows to expected values and signed residuals, float32 [B, W, C] each."""


class Autoencoder(Protocol):
    """Encode windows and decode codes: what every module can do."""

    def encode(self, x_BWC: torch.Tensor) -> torch.Tensor:
        """Return the flat code of each window, float32 [B, L]."""

    def decode(self, z_BL: torch.Tensor, window: int) -> torch.Tensor:
        """Return the window of each code, float32 [B, window, C]."""


@runtime_checkable
class OwnResidual(Protocol):
    """Compute residuals from more than one reconstruction: what only some modules do."""

    def residual(self, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return expected values and signed residuals, each float32 [B, W, C]."""


@runtime_checkable
class OwnLoss(Protocol):
    """Compute a special training loss: what only some modules do."""

    def cell_losses(
        self, x_BWC: torch.Tensor, target_BWC: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the loss of each cell, float32 [B, W, C]; training lowers the mean over the known cells."""


@dataclass(frozen=True, slots=True)
class Family:
    """Hold how to build a family: the class of its hyperparameters and the class of its module.

    `module` is called with a `config`, the rows of a window and the number of channels.
    """

    config: Callable[..., Any]
    module: Callable[[Any, int, int], torch.nn.Module]


def family_of(entry: str) -> Family:
    """Return the family of an entry of `FAMILY_CLASSES`, such as "linear:LinearAutoencoder"."""
    file, _, name = entry.partition(":")
    page = import_module(f"detector.models.{file}")
    return Family(page.Config, getattr(page, name))


FAMILIES: dict[str, Family] = {name: family_of(entry) for name, entry in FAMILY_CLASSES.items()}


def resolve(family: str, given: Mapping[str, Any], window: int, num_channels: int) -> dict[str, Any]:
    """Return all hyperparameters of a family, with defaults for those that are not given or None.

    Args:
        family: One of `FAMILIES`.
        given: Some of its hyperparameters, by name.
        window: Rows of a window.
        num_channels: Channels of the model.

    Raises:
        ValueError: The family or a hyperparameter is unknown, or a value is not allowed.

    >>> resolve("linear", {"fit": "gradient"}, window=16, num_channels=2)["latent"]
    4
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown model family {family!r}; known: {', '.join(FAMILIES)}")
    return resolved(family, FAMILIES[family].config, given, window, num_channels)


def build(family: str, hyperparameters: Mapping[str, Any], window: int, num_channels: int) -> torch.nn.Module:
    """Return a module with new random weights; seed torch before.

    Args:
        family: One of `FAMILIES`.
        hyperparameters: Some or all of its hyperparameters, by name.
        window: Rows of a window.
        num_channels: Channels of the model.

    Raises:
        ValueError: The family or a hyperparameter is unknown, or a value is not allowed.
    """
    complete = resolve(family, hyperparameters, window, num_channels)
    made_of = FAMILIES[family]
    return made_of.module(made_of.config(**complete), window, num_channels)


def reconstruct(module: torch.nn.Module, x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return expected values and signed residuals of windows, each float32 [B, W, C].

    The residual is `x - expected`, unless the module defines its own `residual`.

    Args:
        module: A module that `build` returned, in evaluation mode.
        x_BWC: Windows in the units of the model, float32, without NaN.
    """
    return reconstruction(module)(x_BWC)


def reconstruction(module: torch.nn.Module) -> Reconstruction:
    """Return what computes `reconstruct` with a module: for many calls, which need no check of it then."""
    return module.residual if isinstance(module, OwnResidual) else plain_reconstruction(module)


def plain_reconstruction(reconstruct_windows: Callable[[torch.Tensor], torch.Tensor]) -> Reconstruction:
    """Return a reconstruction whose residual is `x - expected`."""

    def plain(x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y_BWC = reconstruct_windows(x_BWC)
        return y_BWC, x_BWC - y_BWC

    return plain


def training_loss(
    module: torch.nn.Module,
    loss: str,
    x_BWC: torch.Tensor,
    target_BWC: torch.Tensor,
    mask: torch.Tensor | None,
    trim: float = 0.0,
) -> torch.Tensor:
    """Return the loss that training lowers: the mean over the known cells, a scalar.

    Args:
        module: A module that `build` returned.
        loss: One of `LOSSES`; ignored if the module defines its own `cell_losses`.
        x_BWC: Windows that the module sees, float32; denoising training has corrupted them.
        target_BWC: Windows that it should return, float32.
        mask: True in the cells of `target_BWC` that count, bool [B, W, C]; None if all count.
        trim: Share of the worst windows that is left out (`detector.models.blocks.mean_of_cells`).
    """
    if trim or isinstance(module, OwnLoss):
        return mean_of_cells(cell_losses(module, loss, x_BWC, target_BWC, mask), mask, trim)
    return masked_loss(loss, module(x_BWC), target_BWC, mask)


def cell_losses(
    module: torch.nn.Module,
    loss: str,
    x_BWC: torch.Tensor,
    target_BWC: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Return the loss of each cell, float32 [B, W, C]; the arguments are those of `training_loss`."""
    if isinstance(module, OwnLoss):
        return module.cell_losses(x_BWC, target_BWC, mask)
    return LOSSES[loss](module(x_BWC), target_BWC, reduction="none")
