"""The processes of one training, joined by torch.distributed.

The first process leads: it has the data, and decides and writes everything. The others follow: they wait for
a training by gradients, and compute their shares of its batches. Messages outside of an epoch go through the
store of the launcher, as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist

from trainer.errors import DivergedError, ProcessError, TrainerError
from trainer.fitting.parallel.launch import Launch, timeout_seconds

if TYPE_CHECKING:
    from trainer.fitting.parallel.meeting import Store

_IDLE = timedelta(days=1)
"""How long a process waits for the first one while that one reads, calibrates or describes."""
_FAILED, _WORK = "failed", "work/{}"
_OF_OTHERS = ("gloo", "nccl", "connection", "timed out", "timeout", "socket")


@dataclass(slots=True)
class Group:
    """Hold the processes that train together, as one of them sees them.

    Attributes:
        place: The place of this process.
        device: Where this process computes.
        store: What all processes can read and write.
        num_works: Trainings that the first process has announced so far.
    """

    place: Launch
    device: torch.device
    store: Store
    num_works: int = 0

    @property
    def leads(self) -> bool:
        """Return whether this is the process that has the data."""
        return self.place.rank == 0

    def announce(self, work: Mapping[str, Any] | None) -> None:
        """Give all processes the next training; None: there is none left."""
        self.store.set(_WORK.format(self.num_works), json.dumps(work))
        self.num_works += 1

    def next_work(self) -> dict[str, Any] | None:
        """Wait for the next training that the first process announces; None: there is none left."""
        key = _WORK.format(self.num_works)
        self.store.wait([key], _IDLE)
        self.num_works += 1
        work: dict[str, Any] | None = json.loads(self.store.get(key))
        return work

    def is_first_to_fail(self, reason: str) -> bool:
        """Record why this process ends, and return whether no other one has failed before."""
        own = f"{self.place.name}: {reason}"
        try:
            return bool(self.store.compare_set(_FAILED, "", own) == own.encode())
        except RuntimeError:  # the store is gone with the launcher of the first host
            return True


_GROUP: ContextVar[Group | None] = ContextVar("group", default=None)


def current_group() -> Group | None:
    """Return the group that this process has joined; None: it trains alone."""
    return _GROUP.get()


@contextmanager
def joined(place: Launch, device: str | None) -> Iterator[Group]:
    """Join the processes of a training while the context lasts.

    An error of any process ends all of them. Only the first one to fail raises it; the others exit silently.

    Args:
        place: The place of this process.
        device: "auto", "cpu" or "cuda"; None: what the first process states.

    Raises:
        TrainerError: This process has no such device.
        ProcessError: The processes did not find each other, or another one was lost.
    """
    group = _met(place, device)
    token = _GROUP.set(group)
    try:
        group.device = _device(group.device.type, place)
        with joint_work():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if group.device.type == "cuda" else "gloo",
                timeout=timedelta(seconds=timeout_seconds()),
                world_size=place.size,
                rank=place.rank,
                store=cast(Any, group.store),
            )
        yield group
        dist.destroy_process_group()
    except Exception as error:
        if not group.is_first_to_fail(str(error)):
            raise SystemExit(1) from None
        raise
    finally:
        _GROUP.reset(token)


@contextmanager
def leading(place: Launch, device: str) -> Iterator[None]:
    """Lead the processes of a training while the context lasts; the others end with it. Alone: do nothing.

    Args:
        place: The place of this process, the first one.
        device: "auto", "cpu" or "cuda", for all processes.

    Raises:
        TrainerError: This process has no such device.
        ProcessError: The processes did not find each other, or another one was lost.
    """
    if not place.several:
        yield
        return
    with joined(place, device) as group:
        yield
        group.announce(None)


@contextmanager
def joint_work() -> Iterator[None]:
    """Turn what ends the work of one process alone into an error that ends the training.

    A divergence is not such an error, because all processes find it in the same epoch.
    """
    try:
        yield
    except DivergedError:
        raise
    except (RuntimeError, ArithmeticError, MemoryError) as error:
        group = current_group()
        if group is None:
            raise
        text = _reason(error)
        if isinstance(error, dist.DistError) or any(word in text.lower() for word in _OF_OTHERS):
            raise ProcessError(
                f"{group.place.name} lost another one ({text}); with --max-restarts torchrun goes on from the"
                " last epoch"
            ) from error
        raise ProcessError(f"{group.place.name} failed: {type(error).__name__}: {text}") from error


def _met(place: Launch, device: str | None) -> Group:
    """Return the group after the first process has stated the kind of device."""
    from trainer.fitting.parallel.meeting import met  # some builds of torch cannot import it

    own = None if device is None else _device(device, place)
    try:
        store, kind = met(place, None if own is None else own.type, timedelta(seconds=timeout_seconds()))
    except (ValueError, RuntimeError) as error:
        raise ProcessError(f"{place.name} did not find the others: {_reason(error)}") from error
    return Group(place, own or torch.device(kind), store)


def _reason(error: BaseException) -> str:
    """Return the first sentence of an error, without the place in the source that gloo states."""
    text = re.sub(r"^\[[^\]]*\]\s*", "", " ".join(str(error).split()))
    return text.partition(". ")[0][:200]


def _device(name: str, place: Launch) -> torch.device:
    """Return the device of this process: on a host with CUDA, one GPU for each process."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    num = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.local_rank >= num:
        raise TrainerError(
            f"{place.name} needs a GPU of its own, and this host has {num}; start as many processes a host as"
            " it has GPUs (--nproc-per-node), or train with --device cpu"
        )
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)
    return device
