"""Training by gradients: windows in, a module with the best weights out.

Promise: the same data, configuration and seed give the same weights on a CPU, even after an interruption and
a resume. Each epoch draws from a generator seeded by (seed, epoch); the checkpoint holds all other state.

Letters: B batch, W window, C channels, D cells of a flattened window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from detector.artifact.spec import Member
from detector.models.execution.devices import pick_device
from detector.models.linear import LinearAutoencoder
from detector.models.memory import MemoryAutoencoder
from detector.models.vae import VariationalAutoencoder
from detector.scoring.preprocessing import fill_missing
from trainer.config import FitOptions
from trainer.data.training_windows import TrainingWindows
from trainer.errors import DivergedError, TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult, TrainingState
from trainer.fitting.cores import fit_cores
from trainer.fitting.parallel.examples import Example, example_of, shared
from trainer.fitting.parallel.group import Group, current_group, joint_work
from trainer.fitting.parallel.objective import Objective, check_precision, mean_of_all, parallel
from trainer.fitting.parallel.states import equal_state
from trainer.fitting.principal_components import fit_linear
from trainer.progress import ProgressReport

_VALIDATION_WINDOWS, _VALIDATION_BATCH = 4_096, 256
_CODE_WINDOWS = 4_096
_MIN_GAIN = 0.005
_LAST_RATE = 0.02
_OTHER_DRAWS = 1_000_000_007
_FEWEST_WINDOWS, _MOST_WINDOWS, _SHARE_OF_WINDOWS = 2_560, 40_000, 8


@dataclass(frozen=True, slots=True)
class TrainingAndValidation:
    """Hold the windows of one training.

    Attributes:
        train: Windows that the gradients are computed on.
        validation: Windows of later rows; their loss decides when to stop and which weights are best.
        both: The windows of both parts, for a fit that needs no validation.
    """

    train: TrainingWindows
    validation: TrainingWindows
    both: TrainingWindows


@dataclass(frozen=True, slots=True)
class Feed:
    """Supply a process with what it trains on.

    Attributes:
        epoch: Called with the number of an epoch, from 0; returns its examples.
        held_out: Examples whose loss decides when to stop.
    """

    epoch: Callable[[int], Iterator[Example]]
    held_out: list[Example]


def training_device(name: str) -> torch.device:
    """Return the device to train on, as `detector.models.execution.devices.pick_device` does.

    Of several processes, each has the device that it joined with.

    Raises:
        TrainerError: `name` is "cuda", and there is none.
    """
    group = current_group()
    if group is not None:
        return group.device
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainerError("device cuda: this machine or this build of torch has no CUDA; use auto or cpu")
    return pick_device(name)


def fit_module(
    module: torch.nn.Module,
    member: Member,
    windows: TrainingAndValidation,
    options: FitOptions,
    report: ProgressReport,
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Train the module of `member` in place: in closed form if it has one, else by `fit_gradient`.

    The linear family has no closed form for masked cells or trimmed windows. With these options it is trained
    by gradients, whatever its hyperparameter `fit` is. A memory is fitted as it is, since it has no input to
    disturb and one wild window moves no more than one core.
    """
    if isinstance(module, MemoryAutoencoder):
        fit_cores(module, windows.both, options.seed)
        return FitResult(stopped="closed_form")
    has_closed_form = member.hyperparameters.get("fit") == "closed" and options.mask == options.trim == 0
    if isinstance(module, LinearAutoencoder) and has_closed_form:
        fit_linear(module, windows.both, options.seed, options.noise)
        return FitResult(stopped="closed_form")
    group = current_group()
    if group is not None:
        check_precision(options, training_device(options.device))  # first: the others would fail by it too
        group.announce(
            {
                "member": {"family": member.family, "hyperparameters": member.hyperparameters}
                | {"window": windows.train.window},
                "num_channels": len(windows.train.center),
                "options": options.model_dump(mode="json"),
            }
        )
    return fit_gradient(module, member.hyperparameters["loss"], windows, options, report, checkpoints)


def fit_gradient(
    module: torch.nn.Module,
    loss: str,
    windows: TrainingAndValidation,
    options: FitOptions,
    report: ProgressReport,
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Train `module` in place; it ends with the weights of the lowest validation loss.

    With `options.noise` or `options.mask` the module learns to restore clean windows from corrupted ones. The
    validation windows are then corrupted too, once, so that the stopping rule measures the same task.
    `options.trim` leaves out the worst windows of training and validation.

    Args:
        module: An autoencoder with initial weights.
        loss: Name of a loss in `detector.models.blocks.LOSSES`.
        windows: What to train on, and what decides when to stop.
        options: Options of the training loop.
        report: Receives the share done and a line of figures after each epoch.
        checkpoints: Where the state after each epoch is saved; a state found there is resumed.

    In a group, this is the process that leads. The others call `train_epochs` on their shares.

    Raises:
        TrainerError: The loss is no longer finite, or a checkpoint cannot be read or written.
        ProcessError: Another process of the training was lost.
    """
    device, group = training_device(options.device), current_group()
    check_precision(options, device)
    state = _begun(module.to(device), options, report, checkpoints)

    def finished(state: TrainingState) -> None:
        if checkpoints is not None:
            checkpoints.save(state)
        report(state.epoch / options.max_epochs, _progress_text(state.result))

    with joint_work():
        if group is None:
            feed = _feed(windows, options, device)
        else:
            feed = _shared_feed(state, windows, options, group)
        train_epochs(state, loss, feed, options, finished)
    if _has_converged(state, options):
        state.result.stopped = "early_stopping"
        report(1.0, f"stopped early: {_progress_text(state.result)}", notable=True)
    _end(state, windows.train, device)
    return state.result


def first_state(module: torch.nn.Module, options: FitOptions) -> TrainingState:
    """Return the state of a module before the first epoch, in training mode."""
    module.train()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, foreach=True
    )
    return TrainingState(module, optimizer, FitResult(), _weights(module), 0)


def train_epochs(
    state: TrainingState,
    loss: str,
    feed: Feed,
    options: FitOptions,
    finished: Callable[[TrainingState], None] = lambda state: None,
) -> None:
    """Train until the last epoch, or until the validation loss gains nothing more.

    All processes of a group call this at the same time, with equal states, and come to equal losses.

    Args:
        state: Continued in place.
        loss: Name of a loss in `detector.models.blocks.LOSSES`.
        feed: What this process trains on.
        options: Options of the training loop.
        finished: Called after each epoch.

    Raises:
        DivergedError: The loss is no longer finite.
    """
    while state.epoch < options.max_epochs and not _has_converged(state, options):
        _next_epoch(state, loss, feed, options)
        finished(state)


def _begun(
    module: torch.nn.Module, options: FitOptions, report: ProgressReport, checkpoints: Checkpoints | None
) -> TrainingState:
    """Return the state before the first epoch, or the one that a checkpoint holds."""
    state = first_state(module, options)
    if checkpoints is not None and checkpoints.load(state):
        text = f"resumed after {_progress_text(state.result)}"
        report(state.epoch / options.max_epochs, text, notable=True)
    return state


def _next_epoch(state: TrainingState, loss: str, feed: Feed, options: FitOptions) -> None:
    """Train for one epoch and measure the loss on held-out windows; both become part of the state."""
    group = current_group()
    # A variational module draws codes: those of other processes must not be the same.
    other = 0 if group is None else group.place.rank * _OTHER_DRAWS
    torch.manual_seed(options.seed * 100_003 + state.epoch + other)
    for parameters in state.optimizer.param_groups:
        parameters["lr"] = learning_rate(options, state.epoch)
    objective = Objective(state.module, loss, options)
    train_loss = _epoch(state, objective, feed.epoch(state.epoch), options)
    _record_epoch(state, train_loss, evaluate_loss(objective, feed.held_out))


def _end(state: TrainingState, train: TrainingWindows, device: torch.device) -> None:
    """Put the best weights into the module; a variational one also fits where its codes lie."""
    module = state.module
    module.load_state_dict(state.best)
    module.eval()
    if isinstance(module, VariationalAutoencoder):
        x_BWC = fill_missing(train.spread(_CODE_WINDOWS))
        module.fit_samples(torch.from_numpy(x_BWC).to(device))


def learning_rate(options: FitOptions, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0.

    The rate falls along half a cosine; after the last epoch it would be a fiftieth of the first rate.
    """
    falling = (1.0 + math.cos(math.pi * epoch / options.max_epochs)) / 2.0
    return options.learning_rate * (_LAST_RATE + (1.0 - _LAST_RATE) * falling)


def evaluate_loss(objective: Objective, examples: list[Example]) -> float:
    """Return the mean loss over batches, in evaluation mode."""
    objective.eval()
    with torch.inference_mode():
        losses = mean_of_all(torch.tensor([objective(one).item() for one in examples], dtype=torch.float64))
    objective.train()
    return float(np.mean(losses)) if losses else math.nan


def _feed(windows: TrainingAndValidation, options: FitOptions, device: torch.device) -> Feed:
    """Return what a process trains on that trains alone."""

    def epoch(number: int) -> Iterator[Example]:
        rng = np.random.default_rng([options.seed, number])
        # A generator of its own: noise must not change the batches.
        noise = np.random.default_rng([options.seed, number, 1])
        for batch in _epoch_batches(windows.train, options, rng):
            yield example_of(device, batch, options, noise)

    return Feed(epoch, _validation_examples(windows.validation, options, device))


def _shared_feed(
    state: TrainingState, windows: TrainingAndValidation, options: FitOptions, group: Group
) -> Feed:
    """Give the other processes the state and their shares, and return what this one trains on."""
    alone = _feed(windows, options, torch.device("cpu"))
    equal_state(state, group)
    held_out = list(shared(iter(alone.held_out), group))
    return replace(alone, epoch=lambda number: shared(alone.epoch(number), group), held_out=held_out)


def _validation_examples(
    windows: TrainingWindows, options: FitOptions, device: torch.device
) -> list[Example]:
    spread = windows.spread(_VALIDATION_WINDOWS)
    rng = np.random.default_rng([options.seed, 0, 2])
    starts = range(0, len(spread), _VALIDATION_BATCH)
    return [example_of(device, spread[at : at + _VALIDATION_BATCH], options, rng) for at in starts]


def _epoch(
    state: TrainingState, objective: Objective, examples: Iterator[Example], options: FitOptions
) -> float:
    """Take one pass of gradient steps and return the mean loss of the batches."""
    # A tensor: `.item()` at every step would synchronise the device.
    total, num = torch.zeros((), dtype=torch.float64, device=next(state.module.parameters()).device), 0
    joint = parallel(objective)
    for one in examples:
        value = joint(one)
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(state.module.parameters(), options.clip_norm)
        state.optimizer.step()
        total, num = total + value.detach(), num + 1
    return mean_of_all(total.reshape(1))[0] / max(1, num)


def _epoch_batches(
    train: TrainingWindows, options: FitOptions, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Yield the batches of one pass, or of several if a short history makes a pass of a few steps only."""
    share = len(train) // _SHARE_OF_WINDOWS
    at_most = options.windows_per_epoch or min(_MOST_WINDOWS, max(_FEWEST_WINDOWS, share))
    steps = 0
    while steps < options.min_steps_per_epoch:
        for batch in train.shuffled(options.batch_size, rng, at_most):
            steps += 1
            yield batch


def _record_epoch(state: TrainingState, train_loss: float, validation_loss: float) -> None:
    """Add an epoch to the result; keep the weights if they are the best so far."""
    result = state.result
    if not math.isfinite(train_loss) or not math.isfinite(validation_loss):
        raise DivergedError(
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
        state.best = _weights(state.module)
    state.epoch += 1


def _weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _has_converged(state: TrainingState, options: FitOptions) -> bool:
    return state.epoch - 1 - state.result.gain_epoch >= options.patience


def _progress_text(result: FitResult) -> str:
    if not result.train_losses:
        return ""
    return (
        f"epoch {len(result.train_losses)}, loss {result.train_losses[-1]:.4f},"
        f" validation {result.validation_losses[-1]:.4f} (best {result.best_loss:.4f})"
    )
