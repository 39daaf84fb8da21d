"""Pick the device of torch."""

from __future__ import annotations

import torch


def pick_device(name: str) -> torch.device:
    """Return the torch device for "cpu", "cuda" or "auto" (CUDA if there is one).

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
