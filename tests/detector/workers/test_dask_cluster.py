"""Work on a real local cluster: every item once, killed workers, errors, and workers that do not fit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from detector.artifact.registry import publish
from detector.errors import ClusterError, ConfigError
from detector.workers.dask_cluster import DaskWorkers, workers_on
from streamgauge import main
from tests.detector.offline.test_backtest import write
from tests.support.artifacts import make_artifact

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]


def squared(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def dies_once(number: int, marks: Path) -> int:
    """Is killed as by the out-of-memory killer, once for each marked number."""
    mark = marks / str(number)
    if mark.exists():
        mark.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed(number: int) -> int:
    return -number


def refused(number: int) -> int:
    raise LookupError(f"no {number}")


def meets(number: int, marks: Path) -> int:
    """Wait for an item that works at the same time in another process; return how many processes worked."""
    (marks / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(found := list(marks.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(found)


def num_threads(_: int) -> tuple[int, int]:
    import torch
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return torch.get_num_threads(), max(one["num_threads"] for one in threadpool_info())


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskWorkers]:
    """Two worker processes of this machine."""
    with workers_on("dask", 2) as found:
        yield found


def test_every_item_is_done_once_and_by_both_workers(workers: DaskWorkers) -> None:
    assert workers.num_workers == 2
    found = list(workers.results(squared, range(40), lambda number: (-number, 0)))
    assert sorted(one for one, _ in found) == [number * number for number in range(40)]
    pids = {pid for _, pid in found}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_an_item_of_a_killed_worker_is_done_by_another_one(workers: DaskWorkers, tmp_path: Path) -> None:
    (tmp_path / "3").touch()
    found = sorted(workers.results(partial(dies_once, marks=tmp_path), range(8), killed))
    assert found == list(range(8))
    assert list(tmp_path.iterdir()) == []  # it was killed indeed


def test_an_item_that_kills_its_workers_takes_no_other_with_it(workers: DaskWorkers) -> None:
    assert sorted(workers.results(dies, [2, 13, 3, 4], killed)) == [-13, 2, 3, 4]


def test_a_worker_uses_one_thread(workers: DaskWorkers) -> None:
    assert list(workers.results(num_threads, [0], lambda _: (0, 0))) == [(1, 1)]


def test_a_bug_is_not_hidden(workers: DaskWorkers) -> None:
    with pytest.raises(LookupError, match="no 7"):
        list(workers.results(refused, [7], killed))


def test_a_worker_of_another_release_that_joined_later_is_refused(workers: DaskWorkers) -> None:
    with (  # what has been connected already stands for a worker that was not there at the start
        mock.patch("detector.workers.dask_cluster.version", return_value="0.0.1"),
        pytest.raises(ConfigError, match=r"the worker tcp://\S+ has streamgauge .* this process has 0\.0\.1"),
    ):
        list(workers.results(squared, [7], lambda number: (number, 0)))


class Running:
    """A scheduler and workers in processes of their own, as on other machines."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[str]] = []
        scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._told(scheduler, "Scheduler at:").rpartition("/")[2]

    def work(self, *flags: str) -> None:
        """Start a worker and return when it is registered."""
        worker = self._start("worker", f"tcp://{self.address}", "--no-dashboard", "--no-nanny", *flags)
        self._told(worker, "Registered to:")

    def kill_scheduler(self) -> None:
        """kill -9."""
        self._started[0].kill()

    def close(self) -> None:
        """End everything that was started."""
        for process in self._started:
            process.kill()
            process.communicate()

    def _start(self, what: str, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dask", what, *flags]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_TEMPORARY_DIRECTORY": str(self._directory)}
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, cwd=self._directory
        )
        self._started.append(process)
        return process

    @staticmethod
    def _told(process: subprocess.Popen[str], words: str) -> str:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if words in line:
                return line.strip()
        raise AssertionError("".join(lines))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    cluster = Running(tmp_path)
    yield cluster
    cluster.close()


def test_a_running_cluster_is_used_and_one_that_does_not_fit_is_refused(running: Running) -> None:
    address = f"dask://{running.address}"
    with pytest.raises(ClusterError, match="has no worker"), workers_on(address):
        pass
    running.work("--nthreads", "1")
    with workers_on(address) as workers:
        ((number, pid),) = workers.results(squared, [6], lambda number: (number, 0))
        assert number == 36
        assert pid != os.getpid()
        running.kill_scheduler()
        with pytest.raises(ClusterError, match="connection to the scheduler is lost"):
            list(workers.results(squared, range(100_000), lambda number: (number, 0)))


def test_a_worker_that_joins_gets_an_item_while_another_one_works(running: Running, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    running.work("--nthreads", "1")
    with (
        mock.patch("detector.workers.dask_cluster._PATIENCE_SECONDS", 0.2),
        workers_on(f"dask://{running.address}") as workers,
        ThreadPoolExecutor(1) as aside,
    ):
        found = aside.submit(list, workers.results(partial(meets, marks=marks), [1, 2], killed))
        while not list(marks.iterdir()) and not found.done():
            time.sleep(0.01)
        running.work("--nthreads", "1")
        assert found.result() == [2, 2]


def test_a_scheduler_that_does_not_answer_is_no_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(make_artifact(), tmp_path / "pump")
    command = ["backtest", str(tmp_path / "pump"), str(write(tmp_path / "a.parquet"))]
    with socket.create_server(("127.0.0.1", 0)) as ended:
        place = f"dask://127.0.0.1:{ended.getsockname()[1]}"
    with mock.patch("detector.workers.dask_cluster._CONNECT_SECONDS", "500ms"):
        assert main([*command, "--on", place]) == 1
    assert f"--on {place}: no scheduler answers" in capsys.readouterr().err


def test_workers_of_several_threads_are_refused(running: Running) -> None:
    running.work("--nthreads", "2")
    with (
        pytest.raises(
            ConfigError, match="has 2 threads, of which one would work; start it with --nthreads 1"
        ),
        workers_on(f"dask://{running.address}"),
    ):
        pass


def test_workers_of_another_release_are_refused(running: Running) -> None:
    running.work("--nthreads", "1")
    with (
        mock.patch("detector.workers.dask_cluster.version", return_value="0.0.1"),
        pytest.raises(ConfigError, match=r"and this process has 0\.0\.1; install the same"),
        workers_on(f"dask://{running.address}"),
    ):
        pass
