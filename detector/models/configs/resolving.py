"""Complete and check the hyperparameters of a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any


def resolved(
    family: str, config: Callable[..., Any], given: Mapping[str, Any], window: int, num_channels: int
) -> dict[str, Any]:
    """Return all hyperparameters of a family, with defaults for those that are not given or None.

    Args:
        family: Its name, for messages.
        config: The class of its hyperparameters.
        given: Some of its hyperparameters, by name.
        window: Rows of a window.
        num_channels: Channels of the model.

    Raises:
        ValueError: A hyperparameter is unknown, or a value is not allowed.
    """
    known = {f.name for f in fields(config)}  # type: ignore[arg-type]  # every Config is a dataclass
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"{family} has no hyperparameter {unknown[0]!r}; it has {', '.join(sorted(known))}")
    chosen = {name: value for name, value in given.items() if value is not None}
    return asdict(config(**chosen).resolved(window, num_channels))
