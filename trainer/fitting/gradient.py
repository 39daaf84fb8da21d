"""Fitting: windows in, a module with the best weights out. The loop is plain and reproducible.

The same data, configuration and seed give the same weights on a CPU, also when the training was
interrupted and resumed: each epoch draws from a generator seeded by (seed, epoch), and all other state
is in the checkpoint.

Letters: B batch, W window, C channels, D cells of a flattened window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detector.models.families import training_loss
from detector.models.linear import LinearAutoencoder
from detector.models.vae import VariationalAutoencoder
from detector.scoring.preprocessing import fill_missing
from trainer.config import FitOptions
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult, TrainingState
from trainer.fitting.denoise import corrupted
from trainer.fitting.principal_components import _SAMPLE_WINDOWS, _batches, fit_linear
from trainer.progress import ProgressReport

_VALIDATION_WINDOWS = 4_096
_MIN_GAIN = 0.005
_LAST_RATE = 0.02
_FEWEST_WINDOWS, _MOST_WINDOWS, _SHARE_OF_WINDOWS = 2_560, 40_000, 8


@dataclass(frozen=True, slots=True)
class Halves:
    """The windows that train the weights, and those of later rows that say when to stop; `both` for a fit
    that needs no telling."""

    train: TrainingWindows
    validation: TrainingWindows
    both: TrainingWindows | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """What the module sees, what it has to give back, and where that is known (None: everywhere); all
    [B, W, C]."""

    x: torch.Tensor
    target: torch.Tensor
    mask: torch.Tensor | None


def pick_device(name: str) -> torch.device:
    """ "auto" is CUDA where present, else the CPU. Raises TrainerError for CUDA where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainerError("device cuda: this machine or this build of torch has no CUDA; use auto or cpu")
    return torch.device(name)


def fit_module(
    module: torch.nn.Module,
    hyperparameters: Mapping[str, Any],
    windows: Halves,
    options: FitOptions,
    report: ProgressReport,
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Train `module` in place, in closed form where it has one, else by `fit_gradient`.

    The linear family has none for masked cells or trimmed windows: those are trained by gradients whatever
    its `fit` says.
    """
    has_closed_form = hyperparameters.get("fit") == "closed" and options.mask == options.trim == 0
    if isinstance(module, LinearAutoencoder) and has_closed_form:
        fit_linear(module, windows.both or windows.train, options.seed, options.noise)
        return FitResult(stopped="closed_form")
    return fit_gradient(module, hyperparameters["loss"], windows, options, report, checkpoints)


def fit_gradient(
    module: torch.nn.Module,
    loss: str,
    windows: Halves,
    options: FitOptions,
    report: ProgressReport,
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Train `module` in place; it ends with the weights that did best on the validation windows.

    With `options.noise` or `options.mask` it learns to give back clean windows from corrupted ones, and
    the validation windows are corrupted too, once and for all: what says when to stop is what is learnt.
    `options.trim` leaves out the worst windows in training and validation alike, as both come from the same
    history. With `checkpoints` the state after each epoch is kept there, and a state found there is gone on
    from. Raises TrainerError when the loss stops being a number.
    """
    device = pick_device(options.device)
    module.to(device).train()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    spread = windows.validation.spread(_VALIDATION_WINDOWS)
    fixed = np.random.default_rng([options.seed, 0, 2])
    held_out = [_example(device, part, options, fixed) for part in _batches(spread, 256)]
    state = TrainingState(module, optimizer, FitResult(), module.state_dict(), 0)
    if checkpoints is not None and checkpoints.load(state):
        report(state.epoch / options.max_epochs, f"resumed after {_words(state.result)}", notable=True)
    while state.epoch < options.max_epochs and not _has_converged(state, options):
        rng = np.random.default_rng([options.seed, state.epoch])
        torch.manual_seed(options.seed * 100_003 + state.epoch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options, state.epoch)
        train_loss = _epoch(state, loss, _epoch_batches(windows.train, options, rng), options, device)
        _note(state, train_loss, evaluate_loss(module, loss, held_out, options.trim))
        if checkpoints is not None:
            checkpoints.save(state)
        report(state.epoch / options.max_epochs, _words(state.result))
    if _has_converged(state, options):
        state.result.stopped = "early_stopping"
        report(1.0, f"stopped early: {_words(state.result)}", notable=True)
    module.load_state_dict(state.best)
    module.eval()
    if isinstance(module, VariationalAutoencoder):
        x_BWC = fill_missing(windows.train.spread(_SAMPLE_WINDOWS))
        module.fit_samples(torch.from_numpy(x_BWC).to(device))
    return state.result


def learning_rate(options: FitOptions, epoch: int) -> float:
    """The rate of an epoch (from 0): half a cosine, down to a fiftieth of the first one's after the last."""
    falling = (1.0 + math.cos(math.pi * epoch / options.max_epochs)) / 2.0
    return options.learning_rate * (_LAST_RATE + (1.0 - _LAST_RATE) * falling)


def evaluate_loss(module: torch.nn.Module, loss: str, examples: list[Example], trim: float = 0.0) -> float:
    """Mean loss over batches, in evaluation mode."""
    module.eval()
    with torch.inference_mode():
        losses = [training_loss(module, loss, e.x, e.target, e.mask, trim).item() for e in examples]
    module.train()
    return float(np.mean(losses)) if losses else math.nan


def _epoch(
    state: TrainingState,
    loss: str,
    batches: Iterator[NDArray[np.float32]],
    options: FitOptions,
    device: torch.device,
) -> float:
    """One pass of gradient steps; the mean loss of the batches."""
    total, num = torch.zeros((), dtype=torch.float64, device=device), 0  # there: no wait for each step
    rng = np.random.default_rng([options.seed, state.epoch, 1])  # its own, so that batches stay the same
    for batch in batches:
        one = _example(device, batch, options, rng)
        value = training_loss(state.module, loss, one.x, one.target, one.mask, options.trim)
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        torch.nn.utils.clip_grad_norm_(state.module.parameters(), options.clip_norm)
        state.optimizer.step()
        total, num = total + value.detach(), num + 1
    return total.item() / max(1, num)


def _epoch_batches(
    train: TrainingWindows, options: FitOptions, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """One pass, or several where the history is so short that a pass is only a few steps."""
    share = len(train) // _SHARE_OF_WINDOWS
    at_most = options.windows_per_epoch or min(_MOST_WINDOWS, max(_FEWEST_WINDOWS, share))
    steps = 0
    while steps < options.min_steps_per_epoch:
        for batch in train.shuffled(options.batch_size, rng, at_most):
            steps += 1
            yield batch


def _note(state: TrainingState, train_loss: float, validation_loss: float) -> None:
    """Book an epoch; keep the weights where they are the best so far."""
    result = state.result
    if not math.isfinite(train_loss) or not math.isfinite(validation_loss):
        raise TrainerError(
            f"training diverged in epoch {state.epoch + 1}: loss {train_loss:g}, validation"
            f" {validation_loss:g}; lower fit.learning_rate or fit.clip_norm"
        )
    result.train_losses.append(train_loss)
    result.validation_losses.append(validation_loss)
    before = min(result.validation_losses[:-1], default=math.inf)
    if validation_loss < before * (1 - _MIN_GAIN):
        result.gain_epoch = state.epoch
    if state.epoch == 0 or validation_loss < before:
        result.best_epoch = state.epoch
        state.best = {name: value.detach().clone() for name, value in state.module.state_dict().items()}
    state.epoch += 1


def _has_converged(state: TrainingState, options: FitOptions) -> bool:
    return state.epoch - 1 - state.result.gain_epoch >= options.patience


def _words(result: FitResult) -> str:
    if not result.train_losses:
        return ""
    return (
        f"epoch {len(result.train_losses)}, loss {result.train_losses[-1]:.4f},"
        f" validation {result.validation_losses[-1]:.4f} (best {result.best_loss:.4f})"
    )


def _example(
    device: torch.device, batch: NDArray[np.float32], options: FitOptions, rng: np.random.Generator
) -> Example:
    """Windows with NaN where missing, filled as in scoring; corrupted where `options` say so."""
    known = ~np.isnan(batch)
    mask = None if known.all() else torch.from_numpy(known).to(device)
    target_BWC = torch.from_numpy(fill_missing(batch)).to(device)
    if options.noise == options.mask == 0:
        return Example(target_BWC, target_BWC, mask)
    x_BWC = torch.from_numpy(corrupted(batch, options.noise, options.mask, rng)).to(device)
    return Example(x_BWC, target_BWC, mask)
