"""Faults in the held-out rows are left out and named: they do not set the threshold of later faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.contamination import contaminated, exceeded, main
from detector.artifact.spec import Artifact
from trainer import fit
from trainer.config import DataOptions, TrainConfig
from trainer.errors import TrainerError

NOISE, ROWS = 0.1, 1_200


def plant(num_rows: int, seed: int) -> np.ndarray:
    """Return two sines with noise, float64 [rows, 2]."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(num_rows)[:, None] / np.array([25.0, 40.0]) + rng.uniform(0, 6, 2)
    return np.sin(angle) + NOISE * rng.standard_normal((num_rows, 2))


def trained(values: np.ndarray, **options: object) -> Artifact:
    times = pd.date_range("2026-01-01", periods=len(values), freq="min", tz="UTC")
    config = TrainConfig(data=DataOptions.model_validate(options))
    return fit(pd.DataFrame(values, times, ["a", "b"]), model="linear", window=24, config=config)


def faulty(seed: int = 0, rows: int = 20, size: float = 20.0, before_end: int = 0) -> np.ndarray:
    values = plant(ROWS, seed)
    values[ROWS - before_end - rows : ROWS - before_end, 0] += size * NOISE
    return values


@given(
    st.integers(0, 2**16), st.integers(2, 30), st.floats(15, 60) | st.floats(-60, -15), st.integers(0, 150)
)
@settings(max_examples=6, deadline=None)
def test_a_fault_in_the_held_out_rows_hides_no_later_fault(
    seed: int, rows: int, size: float, before_end: int
) -> None:
    artifact = trained(faulty(seed, rows, size, before_end))
    stream = plant(300, seed + 1)
    stream[250:260, 0] += 15 * NOISE
    assert exceeded(artifact, stream)[250:260].any()
    assert artifact.spec.training["left_out"]["rows"] >= rows


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_left_out_of_a_clean_history(seed: int) -> None:
    assert trained(plant(ROWS, seed)).spec.training["left_out"]["entries"] == []


def test_a_change_that_lasts_is_no_fault() -> None:
    values = plant(ROWS, 0)
    values[ROWS - 200 :, 0] += 20 * NOISE
    reasons = [one["detail"] for one in trained(values).spec.training["left_out"]["entries"]]
    assert not any("errors of the model" in detail for detail in reasons)


def test_such_rows_are_kept_or_refused_as_the_user_says() -> None:
    kept = trained(faulty(), suspicious="keep").spec
    (entry,) = kept.training["left_out"]["entries"]
    assert entry["kept"]
    highest = [
        max(level.high for level in spec.members[0].settled) for spec in (kept, trained(faulty()).spec)
    ]
    assert highest[0] > highest[1] + 1.0  # scores are in units of these levels
    with pytest.raises(TrainerError, match=r"suspicious rows: .*errors of the model .*data\.normal"):
        trained(faulty(), suspicious="fail")


def test_rows_that_the_user_calls_normal_stay() -> None:
    normal = [["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"]]
    assert trained(faulty(), normal=normal).spec.training["left_out"]["entries"] == []


@given(
    st.integers(0, 99), st.floats(0.005, 0.05), st.sampled_from(["anywhere", "end"]), st.integers(400, 900)
)
@settings(max_examples=20, deadline=None)
def test_the_benchmark_contaminates_the_share_that_it_says(
    seed: int, share: float, place: str, rows: int
) -> None:
    clean = plant(rows, seed)
    changed = np.flatnonzero((contaminated(clean, share, place, seed) != clean).any(axis=1))
    assert 0 < len(changed) <= round(share * rows)
    assert place == "anywhere" or changed.min() >= rows - round(share * rows)


def test_the_quick_slice_of_the_benchmark_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 0
    assert capsys.readouterr().out.count("| linear |") == 2
