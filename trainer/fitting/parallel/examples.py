"""Examples of a training, and their shares for several processes.

The first process makes the batches, as it would alone, and gives each process a part of each. So the windows,
their order and their noise do not depend on the number of processes.

Letters: B batch, S windows of a share, W window, C channels, P planes of a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from detector.scoring.preprocessing import fill_missing
from trainer.config import FitOptions
from trainer.fitting.denoise import corrupted
from trainer.fitting.parallel.group import Group

_END, _PLAIN, _TARGET, _MASK = 0, 1, 2, 4
"""What a share has: nothing, since the epoch ends; windows; a target of its own; a mask."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Describe the batch that an example is a share of.

    Attributes:
        num_windows: Windows of the batch.
        num_cells: Known cells of the batch.
        first: Number of the first window of this share. Those from `num_windows` on fill the share, unknown.
    """

    num_windows: int
    num_cells: int
    first: int


@dataclass(frozen=True, slots=True)
class Example:
    """Hold the input of a module, its target, and where the target is known; each [B, W, C].

    A mask of None means: known everywhere. `whole` is None in a training of one process.
    """

    x: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None
    whole: Whole | None = None


def example_of(
    device: torch.device, batch: NDArray[np.float32], options: FitOptions, rng: np.random.Generator
) -> Example:
    """Make an example of windows, NaN where missing: fill them as in scoring, corrupt them per `options`."""
    known = ~np.isnan(batch)
    mask = None if known.all() else torch.from_numpy(known).to(device)
    target_BWC = torch.from_numpy(fill_missing(batch)).to(device)
    if options.noise == options.mask == 0:
        return Example(target_BWC, target_BWC, mask)
    x_BWC = torch.from_numpy(corrupted(batch, options.noise, options.mask, rng)).to(device)
    return Example(x_BWC, target_BWC, mask)


def shared(examples: Iterator[Example], group: Group) -> Iterator[Example]:
    """Give every process its share of each example, and yield that of the first process, which calls this."""
    for one in examples:
        yield _sent(one, group)
    dist.broadcast(torch.zeros(4, dtype=torch.int64), 0)


def received(window: int, num_channels: int, group: Group) -> Iterator[Example]:
    """Yield the shares of this process until the first one ends the epoch."""
    while True:
        header = torch.zeros(4, dtype=torch.int64)
        dist.broadcast(header, 0)
        kind, size, num_windows, num_cells = header.tolist()
        if kind == _END:
            return
        planes_PSWC = torch.empty(_num_planes(kind), size, window, num_channels)
        dist.scatter(planes_PSWC, None, 0)
        yield _share(planes_PSWC, kind, Whole(num_windows, num_cells, size * group.place.rank), group)


def _sent(one: Example, group: Group) -> Example:
    num_windows, window, num_channels = one.x.shape
    size = -(-num_windows // group.place.size)
    filled = size * group.place.size - num_windows
    mask = one.mask
    if mask is None and filled:
        mask = torch.ones_like(one.x, dtype=torch.bool)
    has_target = one.target is not one.x
    kind = _PLAIN | (_TARGET if has_target else 0) | (_MASK if mask is not None else 0)
    num_cells = one.x.numel() if mask is None else int(mask.sum())
    dist.broadcast(torch.tensor([kind, size, num_windows, num_cells]), 0)
    planes = [one.x, *([one.target] if has_target else []), *([] if mask is None else [mask.float()])]
    all_PBWC = torch.nn.functional.pad(torch.stack(planes), (0, 0, 0, 0, 0, filled))
    parts = [part.contiguous() for part in torch.split(all_PBWC, size, dim=1)]
    own_PSWC = torch.empty(_num_planes(kind), size, window, num_channels)
    dist.scatter(own_PSWC, parts, 0)
    return _share(own_PSWC, kind, Whole(num_windows, num_cells, 0), group)


def _share(planes_PSWC: torch.Tensor, kind: int, whole: Whole, group: Group) -> Example:
    planes = iter(planes_PSWC.to(group.device))
    x_SWC = next(planes)
    target_SWC = next(planes) if kind & _TARGET else x_SWC
    return Example(x_SWC, target_SWC, next(planes) > 0 if kind & _MASK else None, whole)


def _num_planes(kind: int) -> int:
    return kind.bit_count()
