"""What `torchrun` states in the environment of each process. Light: torch is not imported."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from trainer.errors import TrainerError

TIMEOUT_VARIABLE = "STREAMGAUGE_PROCESS_TIMEOUT"
"""Environment variable: seconds that a process waits for another one within an epoch."""
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Launch:
    """Hold the place of this process among those of one training.

    Attributes:
        rank: Number of the process, counted from 0; the first one leads.
        size: Processes of the training, on all hosts.
        local_rank: Number of the process on its host.
        restarts: How often torchrun has started the processes of this host again after a failure.
        run: The id that torchrun gave its job (--rdzv-id), on all hosts; empty if it has none of its own.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    restarts: int = 0
    run: str = ""

    @property
    def several(self) -> bool:
        """Return whether the training has other processes too."""
        return self.size > 1

    @property
    def name(self) -> str:
        """Return the process in words, for messages."""
        return f"process {self.rank} of {self.size} on {socket.gethostname()}"


def launched() -> Launch:
    """Return the place of this process; without a launcher it is the only one.

    Other launchers and schedulers set RANK too. It counts only with a WORLD_SIZE of several processes.

    Raises:
        TrainerError: The environment has a number that is none, or a rank beyond the size.
    """
    if not os.environ.get(_SIZE):
        return Launch()
    if _number(_SIZE, 1) == 1:
        return Launch(restarts=_number(_RESTARTS, 0), run=_run())
    place = Launch(
        _number(_RANK, 0), _number(_SIZE, 1), _number("LOCAL_RANK", 0), _number(_RESTARTS, 0), _run()
    )
    if place.several and _RANK not in os.environ:
        raise TrainerError(
            f"the environment has WORLD_SIZE={place.size} and no RANK; start the processes with torchrun, or"
            " unset WORLD_SIZE"
        )
    if not 0 <= place.rank < place.size:
        raise TrainerError(f"RANK={place.rank} is no process of WORLD_SIZE={place.size}")
    return place


def refuse_several(verb: str) -> None:
    """End a command that would do the same in every process, if torchrun started several.

    Without RANK or WORLD_SIZE no process has a place, so a variable of another scheduler stops nothing.

    Raises:
        TrainerError: torchrun started several processes, and this is the first one.
        SystemExit: This is another one.
    """
    if not (os.environ.get(_RANK) and os.environ.get(_SIZE)):
        return
    place = launched()
    if place.rank > 0:
        raise SystemExit(2)
    if place.several:
        raise TrainerError(
            f"`{verb}` runs in one process: start it without torchrun; only `streamgauge train` uses several"
        )


def timeout_seconds() -> float:
    """Return the seconds that a process waits for another one within an epoch.

    Raises:
        TrainerError: The environment states no positive number.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else _TIMEOUT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise TrainerError(f"{TIMEOUT_VARIABLE}={text} is no positive number of seconds")
    return seconds


_RANK, _SIZE, _RESTARTS = "RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"
_NO_RUN = "none"  # what torchrun states without --rdzv-id and --standalone, in every job


def _run() -> str:
    run = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return "" if run == _NO_RUN else run


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    try:
        return int(text) if text else default
    except ValueError as error:
        raise TrainerError(
            f"{name}={text!r} in the environment is no number; start the processes with torchrun, or unset"
            f" {_SIZE}"
        ) from error
