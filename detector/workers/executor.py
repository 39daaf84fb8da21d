"""What runs independent items elsewhere: one small interface, behind which a cluster stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a function on items in other processes, on this machine or on others."""

    @property
    def num_workers(self) -> int:
        """How many items are worked on at a time now; at least 1."""

    def results(
        self, work: Callable[[Item], Result], items: Sequence[Item], died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        """Yield `work(item)` of every item as results arrive; items start in the order given.

        Promise: `work` may run again if its process was killed, and one result of each item is yielded. An
        exception of `work` is raised here and ends the iteration; what had not ended is cancelled.

        Args:
            work: A function of a module or a partial of one, as it is pickled. It uses one thread.
            items: Work items, also pickled.
            died: Makes the result of an item whose processes were killed again and again.
        """
