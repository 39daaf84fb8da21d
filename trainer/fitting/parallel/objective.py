"""The training loss as a module, which DistributedDataParallel can wrap.

Letters: B windows of a batch or of a share, W window, C channels.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from detector.models.blocks import window_sums
from detector.models.families import cell_losses, training_loss
from trainer.config import FitOptions
from trainer.errors import TrainerError
from trainer.fitting.parallel.examples import Example, Whole
from trainer.fitting.parallel.group import current_group


class Objective(torch.nn.Module):
    """Compute the loss of an example: of a whole batch, or of the share of this process.

    The mean over the processes is then the loss of the whole batch. Its gradient is therefore the mean of
    their gradients, which DistributedDataParallel computes.
    """

    def __init__(self, module: torch.nn.Module, loss: str, options: FitOptions) -> None:
        super().__init__()
        self.module = module
        self._loss, self._trim = loss, options.trim
        self._reduced = options.precision == "bfloat16"

    def forward(self, one: Example) -> torch.Tensor:
        """Return the loss, a scalar."""
        # Validation is in float32, as scores are.
        reduced = self._reduced and self.module.training
        with torch.autocast(one.x.device.type, torch.bfloat16) if reduced else nullcontext():
            if one.whole is None:
                return training_loss(self.module, self._loss, one.x, one.target, one.mask, self._trim)
            return self._share(one, one.whole)

    def _share(self, one: Example, whole: Whole) -> torch.Tensor:
        losses_BWC = cell_losses(self.module, self._loss, one.x, one.target, one.mask)
        total_B, num_B = window_sums(losses_BWC, one.mask)
        if not self._trim:
            return total_B.sum() * (dist.get_world_size() / max(1, whole.num_cells))
        kept = _kept((total_B / num_B.clamp(min=1)).detach(), whole, self._trim)
        num = num_B[kept].sum()
        dist.all_reduce(num)
        return total_B[kept].sum() * dist.get_world_size() / num.clamp(min=1)


def parallel(objective: Objective) -> torch.nn.Module:
    """Return the objective with gradients that are the mean over all processes; alone: the objective itself.

    The weights of the first process replace those of the others. Make it once an epoch: how it adds up then
    depends on nothing before, and a resumed training gives the same bits.
    """
    if current_group() is None:
        return objective
    return DistributedDataParallel(objective)


def mean_of_all(values: torch.Tensor) -> list[float]:
    """Return the mean over all processes of float64 [n]; alone: the values. All processes get equal bits."""
    group = current_group()
    if group is not None:
        dist.all_reduce(values)
        values = (values / group.place.size).cpu()
        dist.broadcast(values, 0)
    found: list[float] = values.tolist()
    return found


def check_precision(options: FitOptions, device: torch.device) -> None:
    """Raise TrainerError if the device does not compute in the precision of the options."""
    if options.precision == "float32":
        return
    if device.type == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if not has_it:
        kind = "GPU" if device.type == "cuda" else "processor"
        raise TrainerError(
            f'fit.precision: this {kind} has no arithmetic in bfloat16; set fit.precision = "float32"'
        )


def _kept(means_B: torch.Tensor, whole: Whole, trim: float) -> torch.Tensor:
    """Return which windows of this share are not among the worst of the whole batch, int64."""
    number = torch.arange(whole.first, whole.first + len(means_B), device=means_B.device)
    means_B = torch.where(number < whole.num_windows, means_B, math.inf)
    every = [torch.empty_like(means_B) for _ in range(dist.get_world_size())]
    dist.all_gather(every, means_B)
    num_kept = whole.num_windows - int(trim * whole.num_windows)
    kept = torch.cat(every).argsort(stable=True)[:num_kept] - whole.first
    return kept[(kept >= 0) & (kept < len(means_B))]
