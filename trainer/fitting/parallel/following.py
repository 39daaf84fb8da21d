"""What every process but the first does: compute its shares of each training by gradients."""

from __future__ import annotations

from typing import Any

import torch

from detector.models import families as models
from trainer.config import FitOptions
from trainer.errors import DivergedError
from trainer.fitting.gradient import Feed, first_state, train_epochs
from trainer.fitting.parallel.examples import received
from trainer.fitting.parallel.group import Group, joined, joint_work
from trainer.fitting.parallel.launch import Launch
from trainer.fitting.parallel.objective import check_precision
from trainer.fitting.parallel.states import equal_state


def follow(place: Launch) -> int:
    """Join the processes of a training, and work with the first one until it has no more to do.

    The process needs neither data nor configuration: it gets windows, weights and options from the first one.
    It prints nothing, and returns the exit code.

    Raises:
        TrainerError: This process has no such device, or no arithmetic in the wanted precision.
        ProcessError: This process failed, or another one was lost.
    """
    try:
        with joined(place, None) as group, joint_work():
            while (work := group.next_work()) is not None:
                _train(work, group)
    except KeyboardInterrupt:
        return 130  # the first process prints that it was interrupted
    return 0


def _train(work: dict[str, Any], group: Group) -> None:
    """Take part in one training by gradients."""
    options = FitOptions.model_validate(work["options"])
    check_precision(options, group.device)
    torch.set_num_threads(options.threads)
    family, window = work["member"]["family"], work["member"]["window"]
    hyperparameters, num_channels = work["member"]["hyperparameters"], work["num_channels"]
    module = models.build(family, hyperparameters, window, num_channels).to(group.device)
    state = first_state(module, options)
    equal_state(state, group)
    held_out = list(received(window, num_channels, group))
    try:
        train_epochs(
            state,
            hyperparameters["loss"],
            Feed(lambda number: received(window, num_channels, group), held_out),
            options,
        )
    except DivergedError:
        return  # the first process knows it too, and leaves the member out
