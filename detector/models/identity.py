"""Identity matrices that cost nothing on torch's meta device.

`torch.eye` and `Tensor.repeat` are Python there: the first of them imports torch's compiler, which kept a
starting daemon waiting for two seconds. These are C++ on every device.
"""

from __future__ import annotations

import torch


def identities(*shape: int) -> torch.Tensor:
    """float32 [*shape]: identity matrices over the last two axes, which are of one length."""
    matrices = torch.zeros(*shape)
    matrices.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    return matrices
