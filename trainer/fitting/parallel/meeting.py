"""How the processes of a training find each other in the store of the launcher.

After a restart the store still has what earlier processes wrote. So each process asks under a name that was
never used before, and the first process answers with the name of this start. All later keys begin with it.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import Protocol, cast

from torch.distributed import distributed_c10d
from torch.distributed.rendezvous import rendezvous

from trainer.errors import ProcessError
from trainer.fitting.parallel.launch import Launch

_ASKING, _ANSWER, _PRESENT = "streamgauge/asking/{}", "streamgauge/answer/{}", "streamgauge/present/{}/{}"
_PAUSE = 0.02


class Store(Protocol):
    """Keep what processes write for each other: the store of torch.distributed."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def check(self, keys: list[str], /) -> bool: ...
    def wait(self, keys: list[str], timeout: timedelta, /) -> None: ...
    def compare_set(self, key: str, expected: str, desired: str, /) -> bytes: ...


def met(place: Launch, words: str | None, timeout: timedelta) -> tuple[Store, str]:
    """Wait for the other processes; return a store of this start alone, and what the first process states.

    Args:
        place: The place of this process.
        words: What the first process states to all; None in the others.
        timeout: How long to wait.

    Raises:
        ProcessError: Not all processes came within the timeout.
        RuntimeError: The store cannot be reached.
        ValueError: The environment does not state where the store is.
    """
    found, _, _ = next(rendezvous("env://", place.rank, place.size, timeout=timeout))
    store = cast(Store, found)
    if words is None:
        own = uuid.uuid4().hex
        store.set(_ASKING.format(place.rank), own)
        store.wait([_ANSWER.format(own)], timeout)
        start, _, words = store.get(_ANSWER.format(own)).decode().partition(" ")
        store.set(_PRESENT.format(start, place.rank), "")
    else:
        start = uuid.uuid4().hex
        _answer_all(store, place, f"{start} {words}", timeout)
    return cast(Store, distributed_c10d.PrefixStore(start, found)), words


def _answer_all(store: Store, place: Launch, answer: str, timeout: timedelta) -> None:
    """Answer each process that asks, until all are present."""
    present = [_PRESENT.format(answer.partition(" ")[0], rank) for rank in range(1, place.size)]
    answered = set[bytes]()
    end = time.monotonic() + timeout.total_seconds()
    while not store.check(present):
        for key in (_ASKING.format(rank) for rank in range(1, place.size)):
            name = store.get(key) if store.check([key]) else b""
            if name and name not in answered:
                store.set(_ANSWER.format(name.decode()), answer)
                answered.add(name)
        if time.monotonic() > end:
            missing = [rank for rank, key in enumerate(present, 1) if not store.check([key])]
            raise ProcessError(
                f"{place.name} waited {timeout.total_seconds():g} s for process {missing[0]}; start as many"
                " processes as torchrun was given, and let each host reach the first one"
            )
        time.sleep(_PAUSE)
