"""Workers of Dask: a cluster of this machine alone, or one that runs elsewhere.

Only this module knows Dask. Functions and items are pickled: anyone who reaches the scheduler runs any code.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from detector.errors import ClusterError, ConfigError
from detector.models.execution.threads import limit_blas, use_one_thread
from detector.workers.executor import Item, Result

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)
LOCAL = "dask"
_ADDRESS = re.compile(r"dask(\+tls)?://([^/]+:\d+)/?")
_CONNECT_SECONDS, _PATIENCE_SECONDS = "20s", 10.0
_SAME = ("streamgauge", "numpy", "torch", "pyarrow")
"""Packages whose versions may change the last bits of a result."""
_TURN = threading.Lock()


@contextmanager
def workers_on(address: str, at_a_time: int | None = None) -> Iterator[DaskWorkers]:
    """Give the workers of a cluster while the context lasts.

    Args:
        address: "dask": a cluster of this machine, which ends with the context; "dask://HOST:PORT", or with
            TLS "dask+tls://HOST:PORT": the scheduler of a running one.
        at_a_time: Most items at a time; None: one for each worker, on this machine one for each core.

    Raises:
        ConfigError: The address is wrong, Dask is not installed, or a worker would compute something else.
        ClusterError: The scheduler does not answer, or has no workers.
    """
    place = _place_of(address)
    if at_a_time is not None and at_a_time < 1:
        raise ConfigError(f"--jobs {at_a_time}: must be at least 1")
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise ConfigError(f"--on {address} needs Dask: pip install 'streamgauge[cluster]'") from error
    if place is None:
        with _local(at_a_time or os.cpu_count() or 1) as client:
            yield DaskWorkers(client, address, at_a_time)
        return
    try:
        client = distributed.Client(place, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"--on {address}: no scheduler answers; check that `dask scheduler` runs there, and its port"
        ) from error
    with client:
        _check_workers(client, address)
        yield DaskWorkers(client, address, at_a_time)


def _place_of(address: str) -> str | None:
    """Return the scheduler of an address as Dask names it; None for a cluster of this machine."""
    if address == LOCAL:
        return None
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigError(f"--on {address}: write dask, or the scheduler such as dask://scheduler:8786")
    return f"{'tls' if found[1] else 'tcp'}://{found[2]}"


@contextmanager
def _local(num_workers: int) -> Iterator[Client]:
    """Start a cluster of this machine: no limit of memory, and two tries of each item."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(num_workers)
        yield client


class DaskWorkers:
    """The workers of a cluster, as an `Executor`. They may come and go while items run.

    Args:
        client: A connection to the scheduler; it stays the caller's.
        address: What the user calls the cluster, for messages.
        at_a_time: Most items at a time; None: one for each worker.
    """

    def __init__(self, client: Client, address: str, at_a_time: int | None) -> None:
        self._client, self._address, self._at_a_time = client, address, at_a_time

    @property
    def num_workers(self) -> int:
        """How many items are worked on at a time now; at least 1."""
        num = self._num_connected()
        return max(1, num if self._at_a_time is None else min(num, self._at_a_time))

    def results(
        self, work: Callable[[Item], Result], items: Sequence[Item], died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        """Yield `work(item)` of every item as results arrive; see `Executor.results`.

        Dask gives the item of a killed worker to another one, as often as `allowed-failures` of the scheduler
        states. An item beyond that is tried once more at the end, when no other one can be the cause.
        """
        lost = yield from self._all_but_killed(work, items)
        for item in lost:
            if (yield from self._all_but_killed(work, [item])):
                yield died(item)

    def _all_but_killed(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[Result, None, list[Item]]:
        """Yield results as they arrive; return the items whose workers were killed."""
        from distributed import KilledWorker

        left, lost, ours = deque(items), [], _about()
        working: dict[Future, Item] = {}
        try:
            while left or working:
                for _ in range(min(len(left), self.num_workers - len(working))):
                    item = left.popleft()
                    working[self._client.submit(_run, work, item, ours, pure=False)] = item
                for future in self._done(working):
                    item = working.pop(future)
                    try:
                        with self._connected():
                            found: Result = future.result()
                    except KilledWorker:
                        lost.append(item)
                    else:
                        yield found
        finally:
            for future in working:
                future.cancel()
        return lost

    def _done(self, working: dict[Future, Item]) -> list[Future]:
        """Wait until some futures are done; return them, or none after a while: workers may have joined."""
        from distributed import wait

        try:
            with self._connected(), self._client.as_current():
                return list(wait(list(working), _PATIENCE_SECONDS, "FIRST_COMPLETED").done)
        except TimeoutError:
            if not self._num_connected():
                logger.warning("%s has no worker now; waiting for one", self._address)
            return []

    def _num_connected(self) -> int:
        with self._connected():
            try:
                return len(self._client.nthreads())
            except OSError as error:
                raise CancelledError from error

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Raise ClusterError if the scheduler is gone."""
        from distributed.comm.core import CommClosedError

        try:
            yield
        except (CommClosedError, CancelledError) as error:
            raise ClusterError(
                f"--on {self._address}: the connection to the scheduler is lost; start it, and run this again"
            ) from error


def _run(work: Callable[[Item], Result], item: Item, ours: dict[str, str]) -> Result:
    """Do the work in a worker, one item at a time and in one thread, as a process of its own does.

    Raises ConfigError if this worker, which may have joined later, would compute something else.
    """
    from distributed import get_worker

    if other := _difference(ours, _about()):
        raise ConfigError(f"the worker {get_worker().address} {other}")
    with _TURN:  # a worker that joined later may have several threads, and trainings share torch's seed
        use_one_thread()
        limit_blas()
        return work(item)


def _about() -> dict[str, str]:
    """Return the versions of what computes, in this process."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _SAME:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _difference(ours: dict[str, str], theirs: dict[str, str]) -> str | None:
    """Return in what a worker differs, and the remedy; None if it computes the same."""
    for name, one in ours.items():
        if theirs[name] != one:
            return (
                f"has {name} {theirs[name]}, and this process has {one};"
                " install the same, because results may differ in their last bits"
            )
    return None


def _check_workers(client: Client, address: str) -> None:
    """Refuse workers that would compute something else, or too little. Raises ConfigError, ClusterError."""
    threads = client.nthreads()
    if not threads:
        raise ClusterError(f"--on {address}: the scheduler has no worker; start `dask worker` processes")
    for worker, num in threads.items():
        if num != 1:
            raise ConfigError(
                f"--on {address}: the worker {worker} has {num} threads, of which one would work;"
                " start it with --nthreads 1, and several with --nworkers"
            )
    ours = _about()
    found: dict[str, Any] = client.run(_about, on_error="return")
    for worker, theirs in found.items():
        if not isinstance(theirs, dict):
            raise ConfigError(
                f"--on {address}: the worker {worker} cannot run Streamgauge: {theirs};"
                " install streamgauge[cluster,train] of this release there"
            )
        if other := _difference(ours, theirs):
            raise ConfigError(f"--on {address}: the worker {worker} {other}")
