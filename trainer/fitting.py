"""Fitting: windows in, a module with the best weights out. The loop is plain and reproducible.

The same data, configuration and seed give the same weights on a CPU, also when the training was
interrupted and resumed: each epoch draws from a generator seeded by (seed, epoch), and all other state
is in the checkpoint.

Letters: B batch, W window, C channels, D cells of a flattened window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detector.models.linear import LinearAutoencoder
from detector.models.options import masked_loss
from detector.scoring import fill_missing
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.config import FitOptions
from trainer.progress import Report
from trainer.sampling import Windows

_VALIDATION_WINDOWS = 4_096
_EXACT_CELLS = 4_096
_LINEAR_WINDOWS = 40_000
_MIN_GAIN = 0.005


@dataclass(slots=True)
class FitResult:
    """What the training did; losses by epoch, the best one's epoch (from 0), and the last epoch that
    was better than those before by more than noise."""

    train_losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    gain_epoch: int = 0
    stopped: str = "max_epochs"

    @property
    def best_loss(self) -> float:
        return self.validation_losses[self.best_epoch] if self.validation_losses else math.nan


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where present, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def fit_gradient(
    module: torch.nn.Module,
    loss: str,
    train: Windows,
    validation: Windows,
    options: FitOptions,
    report: Report,
    checkpoint: Path | None = None,
) -> FitResult:
    """Train `module` in place; it ends with the weights that did best on `validation`.

    With `checkpoint` (a directory) the state after each epoch is kept there, and a state found there
    is gone on from.
    """
    device = pick_device(options.device)
    module.to(device).train()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=max(1, options.patience // 3)
    )
    held_out = [_to(device, part) for part in _batches(validation.spread(_VALIDATION_WINDOWS), 256)]
    state = Checkpoint(module, optimizer, schedule, FitResult(), module.state_dict(), 0)
    if checkpoint is not None:
        load_checkpoint(state, checkpoint)
    while state.epoch < options.max_epochs and not _has_converged(state, options):
        rng = np.random.default_rng([options.seed, state.epoch])
        torch.manual_seed(options.seed * 100_003 + state.epoch)
        train_loss = _epoch(state, loss, _epoch_batches(train, options, rng), options, device)
        _note(state, train_loss, evaluate_loss(module, loss, held_out))
        report(state.epoch / options.max_epochs, _words(state.result))
        if checkpoint is not None:
            save_checkpoint(state, checkpoint)
    report(1.0, _words(state.result))
    state.result.stopped = "max_epochs" if state.epoch >= options.max_epochs else "early_stopping"
    module.load_state_dict(state.best)
    module.eval()
    return state.result


def fit_linear(module: LinearAutoencoder, train: Windows, seed: int) -> None:
    """Fit in closed form: the principal components of the windows, missing values filled as in scoring.

    Exact (an eigendecomposition of the covariance) up to 4,096 cells a window, by a randomised
    decomposition of a sample above (Halko, Martinsson and Tropp, 2011).
    """
    rng = np.random.default_rng([seed, 0])
    num_latent = module.encoder.out_features
    mean, components = _principal(train.shuffled(2_048, rng, _LINEAR_WINDOWS), num_latent)
    with torch.no_grad():
        module.encoder.weight.copy_(components.T)
        module.encoder.bias.copy_(-(components.T @ mean))
        module.decoder.weight.copy_(components)
        module.decoder.bias.copy_(mean)
    module.eval()


def evaluate_loss(
    module: torch.nn.Module, loss: str, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> float:
    """Mean loss over batches of (windows [B, W, C], mask [B, W, C])."""
    module.eval()
    with torch.inference_mode():
        losses = [masked_loss(loss, module(x_BWC), x_BWC, mask).item() for x_BWC, mask in batches]
    module.train()
    return float(np.mean(losses)) if losses else math.nan


def _epoch(
    state: Checkpoint,
    loss: str,
    batches: Iterator[NDArray[np.float32]],
    options: FitOptions,
    device: torch.device,
) -> float:
    total, num = 0.0, 0
    for batch in batches:
        x_BWC, mask = _to(device, batch)
        value = masked_loss(loss, state.module(x_BWC), x_BWC, mask)
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        torch.nn.utils.clip_grad_norm_(state.module.parameters(), options.clip_norm)
        state.optimizer.step()
        total, num = total + value.item(), num + 1
    return total / max(1, num)


def _epoch_batches(
    train: Windows, options: FitOptions, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """One pass, or several where the history is so short that a pass is only a few steps."""
    steps = 0
    while steps < options.min_steps_per_epoch:
        for batch in train.shuffled(options.batch_size, rng, options.windows_per_epoch):
            steps += 1
            yield batch


def _note(state: Checkpoint, train_loss: float, validation_loss: float) -> None:
    """Book an epoch; keep the weights where they are the best so far."""
    result = state.result
    result.train_losses.append(train_loss)
    result.validation_losses.append(validation_loss)
    before = min(result.validation_losses[:-1], default=math.inf)
    if validation_loss < before * (1 - _MIN_GAIN):
        result.gain_epoch = state.epoch
    if state.epoch == 0 or validation_loss < before:
        result.best_epoch = state.epoch
        state.best = {name: value.detach().clone() for name, value in state.module.state_dict().items()}
    state.schedule.step(validation_loss)
    state.epoch += 1


def _has_converged(state: Checkpoint, options: FitOptions) -> bool:
    return state.epoch - 1 - state.result.gain_epoch >= options.patience


def _words(result: FitResult) -> str:
    if not result.train_losses:
        return ""
    return (
        f"epoch {len(result.train_losses)}, loss {result.train_losses[-1]:.4f},"
        f" validation {result.validation_losses[-1]:.4f} (best {result.best_loss:.4f})"
    )


def _to(device: torch.device, batch: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows filled as in scoring, and the mask of the cells that have a value."""
    mask = torch.from_numpy(~np.isnan(batch)).to(device)
    return torch.from_numpy(fill_missing(batch)).to(device), mask


def _batches(windows: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for at in range(0, len(windows), size):
        yield windows[at : at + size]


def _principal(batches: Iterator[NDArray[np.float32]], num_latent: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [D] and components [D, latent] of flattened windows, float32."""
    flat = [torch.from_numpy(fill_missing(batch)).flatten(1) for batch in batches]
    x_ND = torch.cat(flat)
    mean_D = x_ND.mean(0, dtype=torch.float64)
    if x_ND.shape[1] > _EXACT_CELLS:
        torch.manual_seed(0)
        _, _, components = torch.pca_lowrank(x_ND, q=num_latent, center=True)
        return mean_D.float(), components
    covariance = torch.zeros(x_ND.shape[1], x_ND.shape[1], dtype=torch.float64)
    for part in x_ND.split(4_096):
        centred = part.double() - mean_D
        covariance += centred.T @ centred
    _, vectors = torch.linalg.eigh(covariance)
    return mean_D.float(), vectors[:, -num_latent:].flip(1).float()
