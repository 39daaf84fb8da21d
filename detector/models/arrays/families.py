"""List the families that NumPy can compute, and build them from weights.

Letters: B batch, W window, C channels, L numbers of a code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from detector.models.arrays.conv import ConvArrays
from detector.models.arrays.dense import DeepArrays, LinearArrays, MlpArrays
from detector.models.arrays.layers import F32, Shapes
from detector.models.arrays.memory import MemoryArrays
from detector.models.arrays.recurrent import GruArrays, LstmArrays
from detector.models.arrays.vae import VariationalArrays
from detector.models.configs import conv, deep, linear, memory, mlp, recurrent, vae
from detector.models.configs.resolving import resolved
from detector.models.execution.choice import REMEDY


class ArrayAutoencoder(Protocol):
    """Encode windows and decode codes, as the module of the family does in torch."""

    def __call__(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""

    def encode(self, x_BWC: F32) -> F32:
        """Return the flat code of each window, float32 [B, L]."""

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""


@runtime_checkable
class OwnArrayResidual(Protocol):
    """Compute residuals from more than one reconstruction: what only some families do."""

    def residual(self, x_BWC: F32) -> tuple[F32, F32]:
        """Return expected values and signed residuals, each float32 [B, W, C]."""


@dataclass(frozen=True, slots=True)
class ArrayFamily:
    """Hold how NumPy builds a family.

    config   class of its hyperparameters
    arrays   called with a config, the rows of a window, the number of channels and the weights by name
    shapes   called with the first three: the shapes of the weights by name, in the order of the module
    """

    config: Callable[..., Any]
    arrays: Callable[[Any, int, int, Mapping[str, F32]], ArrayAutoencoder]
    shapes: Callable[[Any, int, int], Shapes]


ARRAY_FAMILIES = {
    "linear": ArrayFamily(linear.Config, LinearArrays, LinearArrays.shapes),
    "mlp": ArrayFamily(mlp.Config, MlpArrays, MlpArrays.shapes),
    "deep": ArrayFamily(deep.Config, DeepArrays, DeepArrays.shapes),
    "conv": ArrayFamily(conv.Config, ConvArrays, ConvArrays.shapes),
    "lstm": ArrayFamily(recurrent.Config, LstmArrays, LstmArrays.shapes),
    "gru": ArrayFamily(recurrent.Config, GruArrays, GruArrays.shapes),
    "vae": ArrayFamily(vae.Config, VariationalArrays, VariationalArrays.shapes),
    "memory": ArrayFamily(memory.Config, MemoryArrays, MemoryArrays.shapes),
}


def config_of(
    family: str, given: Mapping[str, Any], window: int, num_channels: int
) -> tuple[ArrayFamily, Any]:
    """Return how a family is built, and its complete hyperparameters.

    Raises:
        ValueError: NumPy does not know the family, a hyperparameter is unknown, or a value is not allowed.
    """
    if family not in ARRAY_FAMILIES:
        raise ValueError(
            f"NumPy computes {', '.join(ARRAY_FAMILIES)} and not {family!r}; if PyTorch does, {REMEDY}"
        )
    found = ARRAY_FAMILIES[family]
    return found, found.config(**resolved(family, found.config, given, window, num_channels))


def reconstruct(arrays: ArrayAutoencoder, x_BWC: F32) -> tuple[F32, F32]:
    """Return expected values and signed residuals of windows, each float32 [B, W, C]."""
    if isinstance(arrays, OwnArrayResidual):
        return arrays.residual(x_BWC)
    y_BWC = arrays(x_BWC)
    return y_BWC, x_BWC - y_BWC
