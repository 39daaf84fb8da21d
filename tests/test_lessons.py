"""Faults that other anomaly detectors shipped, each excluded by a test.

Faults of a single part are tested with that part: the list at the end names the files.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from connectors.wide_json.decoder import JsonWideCodec, Raw
from detector import Detector, State
from detector.artifact.spec import Artifact
from trainer import fit
from trainer.config import FitOptions, TrainConfig

QUICK = TrainConfig(fit=FitOptions(max_epochs=2, windows_per_epoch=2_000))


def frame(num_rows: int = 600, **columns: np.ndarray) -> pd.DataFrame:
    """Two noisy channels a minute apart."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(num_rows) / 7)
    data = {
        "a": wave + 0.1 * rng.standard_normal(num_rows),
        "b": 2 * wave + 0.1 * rng.standard_normal(num_rows),
    }
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC")
    return pd.DataFrame({**data, **columns}, index=index)


@pytest.fixture(scope="module")
def trained() -> Artifact:
    return fit(frame(), window=16, config=QUICK)


def test_one_row_at_a_time_scores_as_all_at_once(trained: Artifact) -> None:
    """A batch's score differed from a single one's elsewhere."""
    detector, data = Detector(trained), frame(80)
    whole = detector.score(data)["score"].to_numpy()
    for num_rows in (1, 17, 40, 79):
        part = detector.score(data.iloc[:num_rows])["score"].to_numpy()
        np.testing.assert_array_equal(part, whole[:num_rows])


def test_a_call_shorter_than_the_window_is_warming_not_an_error(trained: Artifact) -> None:
    found = Detector(trained).score(frame(5))
    assert found["state"].tolist() == ["warming"] * 5
    assert found["score"].isna().all()


def test_the_order_of_columns_never_changes_a_score(trained: Artifact) -> None:
    data = frame(100)
    straight, swapped = (Detector(trained).score(data[order])["score"] for order in (["a", "b"], ["b", "a"]))
    pd.testing.assert_series_equal(straight, swapped)


def test_the_order_of_keys_in_a_message_never_changes_a_value(trained: Artifact) -> None:
    codec = JsonWideCodec(trained.spec.channel_names)
    values = [
        json.dumps({"series": "x", "timestamp": 1_767_225_600_000, "values": cells}).encode()
        for cells in ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0})
    ]
    raw = [Raw("t", 0, at, 1_767_225_600_000, None, value) for at, value in enumerate(values)]
    first, second = codec.decode(raw).readings.values
    np.testing.assert_array_equal(first, second)


def test_a_channel_constant_in_training_gives_no_nan_and_its_change_is_seen() -> None:
    """NaN, or score 0 for ever, elsewhere."""
    artifact = fit(frame(b=np.full(600, 5.0)), window=16, config=QUICK)
    data = frame(200, b=np.where(np.arange(200) < 150, 5.0, 7.5))
    scores = Detector(artifact).score(data)["score"].to_numpy()
    assert np.isfinite(scores[16:]).all()
    assert scores[152] > 1.0 > scores[16:140].max()


def test_a_frame_constant_in_every_channel_can_be_trained_on_and_scored() -> None:
    still = frame(a=np.zeros(600), b=np.full(600, 3.0))
    scores = Detector(fit(still, window=16, config=QUICK)).score(still)
    assert np.isfinite(scores["score"][16:]).all()
    assert set(scores["state"][16:]) == {"ok"}


def highest_level(artifact: Artifact) -> float:
    """The logarithm of the largest distance that counts as usual: scores are in its units."""
    return max(level.high for member in artifact.spec.members for level in member.settled)


def test_the_threshold_comes_from_rows_that_trained_no_weights() -> None:
    """In-sample thresholds elsewhere. Here the last rows move the threshold; without `refit`, no weight."""
    quiet, wild = frame(), frame()
    wild.iloc[-60:] += np.random.default_rng(1).standard_normal((60, 2))
    config = QUICK.model_copy(update={"fit": QUICK.fit.model_copy(update={"refit": False})})
    first, second = (fit(data, window=16, config=config) for data in (quiet, wild))
    for name, weights in first.module.state_dict().items():
        np.testing.assert_array_equal(weights.numpy(), second.module.state_dict()[name].numpy())
    assert highest_level(second) > highest_level(first) + np.log(1.5)


def test_a_hole_is_not_filled_and_then_scored(trained: Artifact) -> None:
    """Filled with 0 and flagged elsewhere."""
    data = frame(120)
    data.iloc[60:63] = np.nan
    found = Detector(trained).score(data)
    assert found["state"].iloc[60:63].tolist() == [State.GAP.label] * 3
    assert found["score"].iloc[60:63].isna().all()
    whole = Detector(trained).score(frame(120))["score"]
    assert found["score"].iloc[63:80].max() < 1.25 * whole.iloc[63:80].max() < 1.25


def test_recovery_after_a_silence_is_not_flagged(trained: Artifact) -> None:
    data = frame(200)
    silent = pd.concat([data.iloc[:80], data.iloc[120:]])
    found = Detector(trained).score(silent)
    after = found[found.index >= data.index[120]]
    assert after["state"].iloc[:7].tolist() == ["warming"] * 7  # of the shortest window of 8
    assert set(after["state"].iloc[7:15]) == {"ok"}


def test_an_artifact_holds_no_pickle(trained: Artifact, tmp_path: Path) -> None:
    from detector.artifact.registry import publish

    saved = publish(trained, tmp_path / "pump")
    names = {path.name for path in (tmp_path / "pump" / saved.version).iterdir()}
    assert names == {
        "model.safetensors",
        "artifact.json",
        "calibration.parquet",
        "held_out.parquet",
        "model_card.md",
        "sample.parquet",
    }


WHERE_ELSE = """
look-ahead                       tests/trainer/evaluation/test_evaluate.py
warming is not normal            tests/detector/engine/test_engine.py
unreadable artifact              tests/detector/artifact/test_storage.py
unknown is absent in metrics     tests/detector/metrics/test_recorder.py
unbounded labels                 tests/detector/metrics/test_recorder.py
credentials shown                tests/detector/config/test_load.py
silence is staleness             tests/detector/engine/test_engine.py
late readings counted            tests/detector/rows/test_grid.py
"""


def test_the_other_lessons_are_where_the_list_states() -> None:
    for line in WHERE_ELSE.strip().splitlines():
        assert (Path(__file__).parents[1] / line.split()[-1]).exists()
