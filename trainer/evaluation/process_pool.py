"""Independent work items in separate processes, one core each; a killed process loses no other item."""

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
    """Yield `work(item)` of every item as results arrive; items start in the order given.

    Promise: a killed process (out of memory) costs at most the item that killed it. The items in progress at
    that moment run again, each in its own process. An item whose own process is killed yields `died(item)`.
    An exception of `work` is raised here and ends the iteration.

    Args:
        work: A function of a module or a partial of one, as it is pickled.
        items: Work items, also pickled.
        num_processes: Processes at a time; torch uses one thread in each.
        died: Makes the result of an item whose own process was killed.
    """
    left = deque(items)
    while left:
        lost = yield from _until_killed(work, left, min(num_processes, len(left)))
        for item in lost:
            yield _alone(work, item, died)


def _until_killed(
    work: Callable[[Item], Result], left: deque[Item], num_processes: int
) -> Generator[Result, None, list[Item]]:
    """Process items of `left` until it is empty or a process is killed; return the items then in progress."""
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
