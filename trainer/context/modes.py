"""Take the modes of operation of a training: configured, found in the history, or only proposed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from detector.artifact.modes import Condition, Mode, Modes, check_modes
from trainer.config import TrainConfig
from trainer.context.find_modes import found_modes
from trainer.context.judged_history import judged_history, modes_of
from trainer.context.learn_modes import learnt
from trainer.data.history import History
from trainer.errors import TrainerError


@dataclass(frozen=True, slots=True)
class Operating:
    """Hold the modes of a training.

    Attributes:
        history: What the model may learn; without modes it is the history as it was.
        modes: The modes of the model; None: it has none.
        proposed: Modes that the history shows and that nobody asked for; None: there are none.
    """

    history: History
    modes: Modes | None = None
    proposed: Modes | None = None

    def record(self) -> dict[str, Any]:
        """Return what the training record keeps about them, as plain values."""
        return {} if self.proposed is None else {"proposed_modes": asdict(self.proposed)}


def configured_modes(config: TrainConfig, channels: tuple[str, ...]) -> Modes | None:
    """Return the conditions of the configured modes; None where none are configured.

    Raises:
        TrainerError: A mode names a channel that the data do not have.
    """
    if isinstance(config.modes, str):
        return None
    modes = Modes(
        tuple(
            Mode(one.name, tuple(Condition(name, *bounds) for name, bounds in one.when.items()), one.judge)
            for one in config.modes
        )
    )
    try:
        check_modes(modes, channels)
    except ValueError as error:
        raise TrainerError(f"[[modes]]: {error}") from error
    return modes


def operating(history: History, config: TrainConfig, max_gap: int) -> Operating:
    """Return the modes of a history, and what of it the model may learn.

    Args:
        history: The cleaned history.
        config: Options of the training.
        max_gap: Rows in sequence without a value that a window may bridge.

    Raises:
        TrainerError: A mode names a channel that the data do not have.
        TooLittleDataError: No row is judged.
    """
    modes = configured_modes(config, history.channels)
    if modes is None:
        modes = found_modes(history)
    if modes is None:
        return Operating(history)
    modes = replace(modes, hold_rows=max(1, max_gap))
    decided = modes_of(history, modes)
    modes = learnt(modes, decided, _settle_rows(config, history.interval_ns))
    if config.modes == "off":
        return Operating(history, proposed=modes)
    return Operating(judged_history(decided, modes, max_gap), modes)


def _settle_rows(config: TrainConfig, interval_ns: int) -> dict[str, int]:
    """Return the configured rows after a change that are not judged, by mode."""
    if isinstance(config.modes, str):
        return {}
    return {
        one.name: math.ceil(one.settle * 1e9 / interval_ns) for one in config.modes if one.settle is not None
    }
