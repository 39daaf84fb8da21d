"""Build the networks that the description of an artifact names, for the executor that computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Member
from detector.models.execution.choice import NUMPY

if TYPE_CHECKING:
    from detector.models.ensemble import Ensemble
    from detector.models.execution.network import Network

Shapes = dict[str, tuple[int, ...]]


def build_members(members: Sequence[Member], num_channels: int) -> Ensemble:
    """Return the ensemble in torch with new random weights; seed torch before.

    Args:
        members: Description of each member.
        num_channels: Number of channels of the model.

    Raises:
        ValueError: A family is unknown, or has no such hyperparameter or value.
    """
    from detector.models import families as models
    from detector.models.ensemble import Ensemble, EnsembleMember
    from detector.models.whitening import Whitening

    return Ensemble(
        EnsembleMember(
            models.build(member.family, member.hyperparameters, member.window, num_channels),
            Whitening(member.window, num_channels),
        )
        for member in members
    )


def shapes_of(members: Sequence[Member], num_channels: int, executor: str) -> Shapes:
    """Return the shapes of all weights by name. No memory is allocated for the weights.

    Args:
        members: Description of each member.
        num_channels: Number of channels of the model.
        executor: "torch" or "numpy".

    Raises:
        ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError: The description cannot be built.
    """
    if executor == NUMPY:
        return _array_shapes(members, num_channels)
    import torch

    with torch.device("meta"):
        module = build_members(members, num_channels)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def network_of(
    members: Sequence[Member], num_channels: int, executor: str, weights: Mapping[str, NDArray[np.float32]]
) -> Network:
    """Return the networks with their weights, ready for inference on the CPU.

    Args:
        members: Description of each member.
        num_channels: Number of channels of the model.
        executor: "torch" or "numpy".
        weights: The weights by name; their shapes are those of `shapes_of`.

    Raises:
        ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError: The description cannot be built.
    """
    if executor == NUMPY:
        return _array_network(members, num_channels, weights)
    import torch

    with torch.device("cpu"):
        module = build_members(members, num_channels)
    module.load_state_dict({name: torch.from_numpy(one.copy()) for name, one in weights.items()})
    return module.eval()


def _array_shapes(members: Sequence[Member], num_channels: int) -> Shapes:
    from detector.models.arrays.families import config_of
    from detector.models.arrays.whitening import WhiteningArrays

    found: Shapes = {}
    for at, member in enumerate(members):
        family, config = config_of(member.family, member.hyperparameters, member.window, num_channels)
        parts = {
            "autoencoder": family.shapes(config, member.window, num_channels),
            "whitening": WhiteningArrays.shapes(member.window, num_channels),
        }
        found |= {
            f"{_place(at)}{part}.{name}": shape for part, one in parts.items() for name, shape in one.items()
        }
    return found


def _array_network(
    members: Sequence[Member], num_channels: int, weights: Mapping[str, NDArray[np.float32]]
) -> Network:
    from detector.models.arrays.ensemble import ArrayEnsemble, ArrayMember
    from detector.models.arrays.families import config_of
    from detector.models.arrays.whitening import WhiteningArrays

    def below(place: str) -> dict[str, NDArray[np.float32]]:
        return {name.removeprefix(place): one for name, one in weights.items() if name.startswith(place)}

    built = []
    for at, member in enumerate(members):
        family, config = config_of(member.family, member.hyperparameters, member.window, num_channels)
        autoencoder = family.arrays(config, member.window, num_channels, below(f"{_place(at)}autoencoder."))
        whitening = WhiteningArrays(member.window, num_channels, below(f"{_place(at)}whitening."))
        built.append(ArrayMember(autoencoder, whitening))
    names = _array_shapes(members, num_channels)
    return ArrayEnsemble(built, {name: weights[name] for name in names})


def _place(at: int) -> str:
    """Return the beginning of the names of the weights of a member."""
    return f"members.{at}."
