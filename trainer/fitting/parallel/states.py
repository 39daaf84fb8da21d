"""The state of a training, equal in all processes of a group."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist

from trainer.fitting.checkpoint import TrainingState, packed, unpack
from trainer.fitting.parallel.group import Group


def equal_state(state: TrainingState, group: Group) -> None:
    """Replace the state of every process by that of the first one, which may come from a checkpoint."""
    content = packed(state, "") if group.leads else b""
    length = torch.tensor([len(content)])
    dist.broadcast(length, 0)
    values = torch.empty(int(length), dtype=torch.uint8)
    if group.leads:
        values.copy_(torch.from_numpy(np.frombuffer(content, np.uint8).copy()))
    dist.broadcast(values, 0)
    if not group.leads:
        unpack(values.numpy().tobytes(), state, "")
