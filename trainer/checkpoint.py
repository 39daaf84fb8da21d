"""The state of a training after an epoch: safetensors and JSON, never pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from trainer.errors import TrainerError

if TYPE_CHECKING:
    from trainer.fitting import FitResult

_TENSORS = "state.safetensors"


@dataclass(slots=True)
class Checkpoint:
    """Everything that the next epoch depends on; `epoch` is the number of epochs done."""

    module: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.ReduceLROnPlateau
    result: FitResult
    best: dict[str, torch.Tensor]
    epoch: int


def save_checkpoint(state: Checkpoint, directory: Path) -> None:
    """Replace the checkpoint in `directory`; a kill at any moment leaves the old or the new one."""
    optimizer = state.optimizer.state_dict()
    tensors = {f"module/{name}": value for name, value in state.module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for number, entry in optimizer["state"].items():
        tensors |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in entry.items()}
    schedule = {
        k: v for k, v in state.schedule.state_dict().items() if isinstance(v, int | float | bool | list)
    }
    described = {
        "epoch": state.epoch,
        "result": asdict(state.result),
        "learning_rates": [group["lr"] for group in optimizer["param_groups"]],
        "schedule": schedule,
    }
    directory.mkdir(parents=True, exist_ok=True)
    content = save({name: value.contiguous().cpu() for name, value in tensors.items()})
    # One file, so that one rename replaces all of it: the description stands before the tensors.
    header = json.dumps(described).encode()
    scratch = directory / f".{_TENSORS}"
    scratch.write_bytes(len(header).to_bytes(8, "little") + header + content)
    scratch.replace(directory / _TENSORS)


def load_checkpoint(state: Checkpoint, directory: Path) -> None:
    """Go on from the checkpoint in `directory`, if there is one.

    Raises TrainerError where it is damaged or of another model.
    """
    path = directory / _TENSORS
    if not path.exists():
        return
    content = path.read_bytes()
    try:
        length = int.from_bytes(content[:8], "little")
        described = json.loads(content[8 : 8 + length])
        tensors = load(content[8 + length :])
        _restore(state, described, tensors)
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainerError(
            f"{path}: this checkpoint cannot be resumed ({' '.join(str(error).split())[:200]});"
            " delete it, or train without --resume"
        ) from error


def clear_checkpoint(directory: Path) -> None:
    """Delete the checkpoint: the training is over."""
    (directory / _TENSORS).unlink(missing_ok=True)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _restore(state: Checkpoint, described: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    state.module.load_state_dict(under("module/"))
    state.best = under("best/")
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in under("optimizer/").items():
        number, name = key.split("/")
        entries.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, described["learning_rates"], strict=True):
        group["lr"] = rate
    state.optimizer.load_state_dict({"state": entries, "param_groups": groups})
    state.schedule.load_state_dict(described["schedule"])
    state.result = type(state.result)(**described["result"])
    state.epoch = described["epoch"]
