"""The fit of a memory: k-means over windows of the history (Lloyd, 1982).

Letters: N windows, W window, C channels, D cells of a flattened window, K cores.
"""

from __future__ import annotations

import torch

from detector.models.memory import MemoryAutoencoder, nearest
from detector.scoring.preprocessing import fill_missing
from trainer.data.training_windows import TrainingWindows

_WINDOWS, _CELLS = 8_192, 1 << 23
_ROUNDS = 10
_WINDOWS_A_CORE = 8
"""With fewer windows a core would be one of them, and their residuals would say nothing of later rows."""


def fit_cores(module: MemoryAutoencoder, windows: TrainingWindows, seed: int) -> None:
    """Set `module` to the means of groups of similar windows, each without its level.

    Missing values are filled as in scoring. A history with few windows gives fewer groups than the module has
    cores; these are then repeated.

    Args:
        module: Trained in place, on the CPU.
        windows: Windows to fit.
        seed: Seed of the first cores, which are windows drawn at random.
    """
    num_cores, num_cells = module.cores.shape
    x_NWC = torch.from_numpy(fill_missing(windows.spread(min(_WINDOWS, _CELLS // num_cells))))
    x_ND = (x_NWC - x_NWC.mean(1, keepdim=True)).flatten(1)
    num_groups = max(1, min(num_cores, len(x_ND) // _WINDOWS_A_CORE))
    drawn = torch.randperm(len(x_ND), generator=torch.Generator().manual_seed(seed))[:num_groups]
    cores_KD = x_ND[drawn]
    for _ in range(_ROUNDS):
        moved_KD = _means(cores_KD, x_ND)
        if torch.equal(moved_KD, cores_KD):
            break
        cores_KD = moved_KD
    with torch.no_grad():
        module.cores.copy_(cores_KD[torch.arange(num_cores) % num_groups])
    module.eval()


def _means(cores_KD: torch.Tensor, x_ND: torch.Tensor) -> torch.Tensor:
    """Return the mean of the windows nearest to each core, float32 [K, D]; a core without any stays."""
    nearest_N = nearest(cores_KD, x_ND)
    num_K1 = torch.bincount(nearest_N, minlength=len(cores_KD))[:, None]
    total_KD = torch.zeros_like(cores_KD).index_add_(0, nearest_N, x_ND)
    return torch.where(num_K1 > 0, total_KD / num_K1.clamp(min=1), cores_KD)
