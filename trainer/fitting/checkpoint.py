"""The state of a training after an epoch: safetensors and JSON, never pickle."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from trainer.errors import TrainerError

_FILE = "state"
_MEMBER = "member-"


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


@dataclass(slots=True)
class TrainingState:
    """Everything that the next epoch depends on; `epoch` is the number of epochs done."""

    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    result: FitResult
    best: dict[str, torch.Tensor]
    epoch: int


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where one training keeps its state.

    `identity` stands for data and configuration: a state of another training is refused, as going on
    from it would give a model that nobody asked for.
    """

    directory: Path
    identity: str = ""

    def exists(self) -> bool:
        """Whether there is a state to go on from, of this training or of a member's."""
        return (self.directory / _FILE).exists() or any(self.directory.glob(f"{_MEMBER}*/{_FILE}"))

    def member(self, number: int) -> Checkpoints:
        """The state of one member's training, in a directory of its own."""
        return Checkpoints(self.directory / f"{_MEMBER}{number}", self.identity)

    def save(self, state: TrainingState) -> None:
        """Replace the state; a kill at any moment leaves the old or the new one. Raises TrainerError."""
        header = json.dumps(_description(state, self.identity)).encode()
        content = save({name: value.contiguous().cpu() for name, value in _tensors(state).items()})
        scratch = self.directory / f".{_FILE}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # One file, so that one rename replaces all of it: the description stands before the tensors.
            scratch.write_bytes(len(header).to_bytes(8, "little") + header + content)
            scratch.replace(self.directory / _FILE)
        except OSError as error:
            raise TrainerError(f"{self.directory}: cannot write the checkpoint: {error.strerror}") from error

    def load(self, state: TrainingState) -> bool:
        """Put `state` where the training was, if it was anywhere; says whether.

        Raises TrainerError where the state kept is damaged or of another training.
        """
        if not self.exists():
            return False
        path = self.directory / _FILE
        content = path.read_bytes()
        try:
            length = int.from_bytes(content[:8], "little")
            described = json.loads(content[8 : 8 + length])
            if described["identity"] != self.identity:
                raise ValueError("it is of other data or another configuration")
            _restore(state, described, load(content[8 + length :]))
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise TrainerError(
                f"{path}: this checkpoint cannot be resumed: {reason}; train without --resume"
            ) from error
        return True

    def clear(self) -> None:
        """Forget the state and the members': the training is over."""
        for member in self.directory.glob(f"{_MEMBER}*"):
            Checkpoints(member, self.identity).clear()
        for name in (_FILE, f".{_FILE}"):
            (self.directory / name).unlink(missing_ok=True)
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()


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

    state.module.load_state_dict(under("module/"))
    state.best = under("best/")
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in under("optimizer/").items():
        number, name = key.split("/")
        entries.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": entries, "param_groups": groups})
    state.result = FitResult(**described["result"])
    state.epoch = described["epoch"]
