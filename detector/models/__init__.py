"""The model family: every member is a module of windows to windows.

`forward(x_BWC) -> x_BWC`, float32, any batch; B batch, W window, C channels. NaN never reaches a
module: the caller fills and masks (see `detector.scoring`). A family is a frozen `Config` dataclass
of hyperparameters plus a module on one page, listed here; a new one is covered by the contract
tests as soon as it is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from detector.models import conv, linear, lstm

__all__ = ["FAMILIES", "Family", "build", "resolve"]


@dataclass(frozen=True, slots=True)
class Family:
    """A member: its hyperparameters and how its module is built from them."""

    config: Callable[..., Any]
    module: Callable[[Any, int, int], torch.nn.Module]


FAMILIES: dict[str, Family] = {
    "conv": Family(conv.Config, conv.ConvAutoencoder),
    "lstm": Family(lstm.Config, lstm.LstmAutoencoder),
    "linear": Family(linear.Config, linear.LinearAutoencoder),
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
