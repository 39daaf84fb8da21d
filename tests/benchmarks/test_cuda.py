"""The comparison of a GPU with the CPU: what it takes for equal, and what it does without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks.cuda.__main__ import NO_GPU, Agreement, Row, agreement, frame_of, main, table, trained


def test_without_a_gpu_it_states_that_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(sys, "argv", ["cuda"])
    assert main() == 2
    assert capsys.readouterr() == ("", f"{NO_GPU}\n")


@pytest.mark.parametrize(
    ("found", "holds"),
    [((0, 3, 0, 9e-4), True), ((1, 3, 0, 0.0), False), ((0, 3, 1, 0.0), False), ((0, 3, 0, 2e-3), False)],
)
def test_states_incidents_and_scores_decide(found: tuple[int, int, int, float], holds: bool) -> None:
    assert Agreement("conv", 10, *found).holds == holds


def test_the_faults_of_the_stream_become_incidents_that_are_compared() -> None:
    """On the CPU with itself: nothing differs, and there is something that could."""
    artifact = trained("linear", frame_of(800, 1), "cpu")
    found = agreement(artifact, "linear", frame_of(800, 2, faults=2), "cpu")
    assert found.holds
    assert found.rows == 800
    assert found.incidents_cpu >= 1
    lines = table([Row("scoring", 100.0, 250.0)], [found], "a GPU").splitlines()
    assert lines[4] == "| scoring | 100 | 250 | 2.50 |"
    assert lines[-1] == f"| linear | 800 | 0 | {found.incidents_cpu} | 0 | 0.0e+00 |"
