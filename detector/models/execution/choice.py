"""Choose what computes the networks of a model: PyTorch where it is installed, else NumPy."""

from __future__ import annotations

from importlib.util import find_spec

from detector.errors import ConfigError

VARIABLE = "STREAMGAUGE_EXECUTOR"
"""The environment variable that forces one of `EXECUTORS`."""
TORCH, NUMPY = "torch", "numpy"
EXECUTORS = (TORCH, NUMPY)
REMEDY = "install it: pip install 'streamgauge[train]'"


def choose(forced: str | None) -> str:
    """Return one of `EXECUTORS`. Nothing is imported for that.

    Args:
        forced: The value of the environment variable; None or empty: torch where it is installed.

    Raises:
        ConfigError: The value is another one, or it is torch and PyTorch is not installed.

    >>> choose("numpy")
    'numpy'
    """
    if forced and forced not in EXECUTORS:
        raise ConfigError(f"{VARIABLE} is {forced!r}; it must be one of {', '.join(EXECUTORS)}, or not set")
    is_installed = find_spec("torch") is not None
    if forced == TORCH and not is_installed:
        raise ConfigError(f"{VARIABLE} is torch, but PyTorch is not installed; unset it, or {REMEDY}")
    return forced or (TORCH if is_installed else NUMPY)
