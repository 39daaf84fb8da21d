"""No silent deafness: a plain fault is found, or the user was told before it that it might not be."""

from __future__ import annotations

import pytest

from tests.silence.judge import judge
from tests.silence.run import corruption_of

_FAST, _ALL = 50, 1000


def check(seed: int) -> None:
    outcome = judge(seed, corruption_of(seed))
    assert not outcome.is_silent, f"neither found nor told; repeat it: {outcome.command}"


@pytest.mark.parametrize("seed", range(_FAST))
def test_a_fault_is_found_or_was_told_of(seed: int) -> None:
    check(seed)


@pytest.mark.silence
@pytest.mark.parametrize("seed", range(_FAST, _ALL))
def test_a_fault_is_found_or_was_told_of_in_many_seeds(seed: int) -> None:
    check(seed)


@pytest.mark.parametrize("seed", range(3))
def test_in_clean_data_the_fault_is_found_and_nothing_is_told(seed: int) -> None:
    outcome = judge(seed, "nothing")
    assert outcome.found
    told = [one for one in outcome.told if "hardly_watched" not in one]  # is said of clean data too
    assert told == []


def test_the_judge_notices_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.silence.judge.with_fault", lambda case: case.stream)
    assert judge(0, "nothing").is_silent
