"""Check hyperparameters that several families have, and list the activations and losses by name.

Nothing here imports torch: the description of a model is read where torch is not installed.
"""

from __future__ import annotations

from collections.abc import Collection

ACTIVATIONS = ("gelu", "relu", "silu", "elu", "tanh", "sigmoid", "leaky_relu", "identity")
LOSSES = ("mse", "mae", "huber")

_MOST_LAYERS = 64


def check_shared(latent: int | None, layers: int, nodes: int, activation: str, loss: str) -> None:
    """Check the hyperparameters that every family has.

    Raises:
        ValueError: A value is not allowed. The message names the hyperparameter and what it may be.
    """
    for name, value in (("latent", latent), ("layers", layers), ("nodes", nodes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if layers > _MOST_LAYERS:
        raise ValueError(f"layers is {layers}; it must be at most {_MOST_LAYERS}")
    check_one_of("activation", activation, ACTIVATIONS)
    check_one_of("loss", loss, LOSSES)


def check_one_of(name: str, choice: str, known: Collection[str]) -> None:
    """Check that the hyperparameter `name` has one of its `known` values.

    Raises:
        ValueError: `choice` is none of them. The message names the hyperparameter and its values.
    """
    if choice not in known:
        raise ValueError(f"{name} is {choice!r}; it must be one of {', '.join(known)}")
