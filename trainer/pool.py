"""Independent work in processes of its own, a core each, where one that dies takes no other with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    num_processes: int,
    died: Callable[[Item], Result],
) -> Iterator[Result]:
    """`work(item)` of every item as they come, started in the order given.

    Both are pickled, so `work` is a function of a module or a partial of one. Torch has one thread in
    each process. When a process is killed (out of memory), the items that were lost with it are done
    again, each in a process of its own; what kills that one too becomes `died(item)`. What `work` raises
    is raised here, and the rest is given up.
    """
    lost: list[Item] = []
    waiting: dict[Future[Result], Item] = {}
    with _pool(num_processes) as pool:
        try:
            for item in items:
                try:
                    waiting[pool.submit(work, item)] = item
                except BrokenProcessPool:
                    lost.append(item)
            for future in as_completed(waiting):
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(waiting[future])
                else:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    for item in lost:
        yield _alone(work, item, died)


def _alone(work: Callable[[Item], Result], item: Item, died: Callable[[Item], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(work, item).result()
        except BrokenProcessPool:
            return died(item)


def _pool(num_processes: int) -> ProcessPoolExecutor:
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(num_processes, context, initializer=torch.set_num_threads, initargs=(1,))
