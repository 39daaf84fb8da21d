"""Work in processes: all of it is done, and one that is killed takes no other with it."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from trainer.evaluation.process_pool import in_processes


def squared(number: int) -> int:
    """Dies as the out-of-memory killer ends a process, at 13."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def killed(number: int) -> int:
    return -number


def num_threads(_: int) -> int:
    return torch.get_num_threads()


def refused(number: int) -> int:
    raise LookupError(f"no {number}")


def test_a_killed_process_is_reported_and_the_rest_is_done() -> None:
    assert sorted(in_processes(squared, [2, 13, 3], 1, killed)) == [-13, 4, 9]


def test_torch_has_one_thread_in_each() -> None:
    assert list(in_processes(num_threads, [0], 1, killed)) == [1]


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(LookupError, match="no 7"):
        list(in_processes(refused, [7], 1, killed))
