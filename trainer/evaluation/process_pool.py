"""Independent work in processes of its own, a core each, where one that dies takes no other with it."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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
    each process. When a process is killed (out of memory), the items in work at that moment are done
    again, each in a process of its own, and the rest goes on; what kills that one too becomes
    `died(item)`. What `work` raises is raised here, and the rest is given up.
    """
    left = deque(items)
    while left:
        lost = yield from _until_killed(work, left, min(num_processes, len(left)))
        for item in lost:
            yield _alone(work, item, died)


def _until_killed(
    work: Callable[[Item], Result], left: deque[Item], num_processes: int
) -> Generator[Result, None, list[Item]]:
    """Takes items off `left` until none is left or a process is killed; returns those then in work."""
    lost: list[Item] = []
    working: dict[Future[Result], Item] = {}
    with _pool(num_processes) as pool:
        while working or (left and not lost):
            while left and not lost and len(working) < num_processes:
                item = left.popleft()
                try:
                    working[pool.submit(work, item)] = item
                except BrokenProcessPool:
                    lost.append(item)
            for future in wait(working, return_when=FIRST_COMPLETED).done:
                item = working.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(item)
                else:
                    yield future.result()
    return lost


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
