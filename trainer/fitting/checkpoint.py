"""The state of a training after an epoch: safetensors and JSON, never pickle."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from trainer.errors import TrainerError

logger = logging.getLogger(__name__)
_FILE, _RUN = "state", "run"
_MEMBER = "member-"


@dataclass(slots=True)
class FitResult:
    """Hold the course of a training.

    Attributes:
        train_losses, validation_losses: One loss per epoch; empty for a closed form.
        best_epoch: Epoch of the lowest validation loss, counted from 0.
        gain_epoch: Last epoch whose validation loss was lower than all before by more than noise.
        stopped: Reason of the end: "max_epochs", "early_stopping" or "closed_form".
    """

    train_losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    gain_epoch: int = 0
    stopped: str = "max_epochs"

    @property
    def best_loss(self) -> float:
        """Return the lowest validation loss; NaN before the first epoch."""
        return self.validation_losses[self.best_epoch] if self.validation_losses else math.nan


@dataclass(slots=True)
class TrainingState:
    """Hold everything that the next epoch depends on; `epoch` is the number of finished epochs."""

    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    result: FitResult
    best: dict[str, torch.Tensor]
    epoch: int


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Save and load the state of one training in a directory.

    The state of another training is never resumed: it would give a model that nobody asked for.

    Attributes:
        directory: Where the files are.
        identity: A digest of data and configuration.
        demanded: Whether a person asked to resume. If so, a state that does not fit is an error; else it is
            removed, and the training starts again.
    """

    directory: Path
    identity: str = ""
    demanded: bool = True

    def exists(self) -> bool:
        """Return whether there is a state to resume, of this training or of a member of its ensemble."""
        return (self.directory / _FILE).exists() or any(self.directory.glob(f"{_MEMBER}*/{_FILE}"))

    def member(self, number: int) -> Checkpoints:
        """Return the checkpoints of one member of the ensemble, in a directory of their own."""
        return replace(self, directory=self.directory / f"{_MEMBER}{number}")

    def run(self) -> str:
        """Return the id of the run that saves here; empty if it has none."""
        path = self.directory / _RUN
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def state_run(self, run: str) -> None:
        """Write the id of the run that saves here. Raises TrainerError if it cannot be written."""
        scratch = self.directory / f".{_RUN}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            scratch.write_text(run, encoding="utf-8")
            scratch.replace(self.directory / _RUN)
        except OSError as error:
            raise TrainerError(f"{self.directory}: cannot write the checkpoint: {error.strerror}") from error

    def save(self, state: TrainingState) -> None:
        """Replace the saved state.

        Promise: a kill at any moment leaves the old state or the new one. Raises TrainerError if it cannot be
        written.
        """
        content = packed(state, self.identity)
        scratch = self.directory / f".{_FILE}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(content)  # one file, so that one rename replaces all
            scratch.replace(self.directory / _FILE)
        except OSError as error:
            raise TrainerError(f"{self.directory}: cannot write the checkpoint: {error.strerror}") from error

    def load(self, state: TrainingState) -> bool:
        """Restore `state` from the saved one; return False if none was saved.

        Raises:
            TrainerError: The saved state is damaged or belongs to another training, and was demanded.
        """
        if not self.exists():
            return False
        first = state.best
        path = self.directory / _FILE
        content = path.read_bytes()
        try:
            unpack(content, state, self.identity)
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            if not self.demanded:
                logger.warning("%s: %s; the training starts from the beginning", path, reason)
                path.unlink(missing_ok=True)
                state.module.load_state_dict(first)  # a damaged one may be restored in part
                state.best = first
                return False
            raise TrainerError(
                f"{path}: this checkpoint cannot be resumed: {reason}; train without --resume"
            ) from error
        return True

    def clear(self) -> None:
        """Remove the id of the run and the saved state, also that of the members of its ensemble."""
        for member in self.directory.glob(f"{_MEMBER}*"):
            Checkpoints(member, self.identity).clear()
        for name in (_FILE, f".{_FILE}", _RUN, f".{_RUN}"):
            (self.directory / name).unlink(missing_ok=True)
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()


def packed(state: TrainingState, identity: str) -> bytes:
    """Return a state as bytes: length of the header, header, tensors."""
    header = json.dumps(_description(state, identity)).encode()
    content = save({name: value.contiguous().cpu() for name, value in _tensors(state).items()})
    return len(header).to_bytes(8, "little") + header + content


def unpack(content: bytes, state: TrainingState, identity: str) -> None:
    """Restore `state` from the bytes of `packed`.

    Raises:
        ValueError, KeyError, TypeError, RuntimeError, SafetensorError: The bytes are damaged, or are the
            state of another training.
    """
    length = int.from_bytes(content[:8], "little")
    described = json.loads(content[8 : 8 + length])
    if described["identity"] != identity:
        raise ValueError("it belongs to other data or another configuration")
    _restore(state, described, load(content[8 + length :]))


def _description(state: TrainingState, identity: str) -> dict[str, Any]:
    return {"identity": identity, "epoch": state.epoch, "result": asdict(state.result)}


def _tensors(state: TrainingState) -> dict[str, torch.Tensor]:
    tensors = {f"module/{name}": value for name, value in state.module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for number, entry in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in entry.items()}
    return tensors


def _restore(state: TrainingState, described: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    result, epoch = FitResult(**described["result"]), described["epoch"]
    state.module.load_state_dict(under("module/"))
    state.best = under("best/")
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in under("optimizer/").items():
        number, name = key.split("/")
        entries.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": entries, "param_groups": groups})
    state.result, state.epoch = result, epoch
