"""Whether a training goes on from a checkpoint: by --resume, or because torchrun started it again."""

from __future__ import annotations

from pathlib import Path

from trainer.fitting.checkpoint import Checkpoints
from trainer.fitting.parallel.launch import Launch


def checkpoints_of(directory: Path, demanded: bool, place: Launch) -> tuple[Checkpoints, bool]:
    """Return the checkpoints of a training, and whether it goes on from them. Else they are removed.

    A training goes on without being asked if the checkpoint states the run of this process. The count of
    restarts alone does not show it: torchrun counts on each host, and not when a host joins.

    Args:
        directory: Where the checkpoints are.
        demanded: Whether a person asked to resume.
        place: The place of this process, the first one of its training.

    Raises:
        TrainerError: The id of the run cannot be written.
    """
    checkpoints = Checkpoints(directory, demanded=demanded)
    started_again = place.restarts > 0 or bool(place.run)
    goes_on = demanded or (started_again and checkpoints.run() == place.run)
    if not goes_on:
        checkpoints.clear()
    if started_again:
        checkpoints.state_run(place.run)
    return checkpoints, goes_on
