"""A training names what it leaves out, publishes what fits its threshold, and refuses what readers refuse."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import trainer.ensemble_training as training
from connectors.errors import ConnectorError
from connectors.names import MAX_SERIES_LENGTH
from connectors.recording.directory import RecordingDirectory
from connectors.recording.topics import RecordedTopic
from connectors.wide_json.decoder import JsonWideCodec
from detector import Detector
from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact
from detector.errors import ArtifactError
from streamgauge import main
from tests.support.artifacts import make_artifact
from trainer import fit
from trainer.config import DataOptions, FitOptions, ModelOptions, TrainConfig
from trainer.errors import TrainerError
from trainer.evaluation import evaluate
from trainer.fitting.checkpoint import FitResult

TWO_LINEAR = TrainConfig(model=ModelOptions(members=("linear:16", "linear:8")))
QUICK = TrainConfig(fit=FitOptions(max_epochs=1, windows_per_epoch=500))


def times(num_rows: int) -> pd.DatetimeIndex:
    return pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC")


def plant(num_rows: int = 300, seed: int = 0) -> pd.DataFrame:
    wave = np.sin(np.arange(num_rows) * 2 * np.pi / 44)
    noise = 0.1 * np.random.default_rng(seed).standard_normal((num_rows, 2))
    return pd.DataFrame({"a": 10 + wave, "b": 5 + 2 * wave}, times(num_rows)) + noise


def notes_of(artifact: Artifact) -> list[str]:
    return list(artifact.spec.training.get("notes", []))


def test_clean_history_gives_no_note() -> None:
    artifact = fit(plant(), config=TWO_LINEAR)
    assert notes_of(artifact) == []
    assert "In training" not in artifact.card


@given(st.integers(0, 2**16), st.integers(1, 24), st.sampled_from([0.0, 7.5, -1e9]))
@settings(max_examples=6, deadline=None)
def test_constant_channels_beside_a_nearly_constant_one_can_be_trained(
    seed: int, num_constant: int, value: float
) -> None:
    busy = (np.random.default_rng(seed).random(600) < 0.01).astype(float)
    frame = pd.DataFrame({f"c{at:02d}": np.full(600, value) for at in range(num_constant)}, times(600))
    artifact = fit(frame.assign(x=busy), model="linear", config=QUICK)
    assert all(bool(torch.isfinite(values).all()) for values in artifact.module.state_dict().values())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("linalg.eigh: The algorithm failed to converge"),
        np.linalg.LinAlgError("Matrix is not positive definite"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        FloatingPointError("overflow"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("failing", [16, 8])
def test_a_member_whose_computation_fails_is_left_out_and_named(error: Exception, failing: int) -> None:
    whiten = training.fit_whitening

    def sometimes(whitening: object, autoencoder: object, windows: object, fading: bool) -> None:
        if getattr(windows, "window") == failing:  # noqa: B009  # of several kinds in other tests
            raise error
        whiten(whitening, autoencoder, windows, fading)  # type: ignore[arg-type]

    with patch.object(training, "fit_whitening", sometimes):
        artifact = fit(plant(), config=TWO_LINEAR)
    (note,) = notes_of(artifact)
    assert note.startswith(f"linear ({failing} rows) was left out: {type(error).__name__}")
    assert [member.window for member in artifact.spec.members] == [24 - failing]
    assert note in artifact.card


def test_a_training_without_a_member_left_fails_with_all_reasons() -> None:
    with (
        patch.object(training, "fit_whitening", side_effect=np.linalg.LinAlgError("singular")),
        pytest.raises(TrainerError, match=r"^no model could be trained: .*16 rows.*singular.*8 rows.*; look"),
    ):
        fit(plant(), config=TWO_LINEAR)


def unlike(num_rows: int, seed: int, noise: float) -> pd.DataFrame:
    """A history that repeats itself to the last digit, until its newest fifth has noise."""
    wave = np.sin(np.arange(num_rows) * 2 * np.pi / 20)
    late = np.arange(num_rows) >= num_rows * 0.8
    drawn = np.random.default_rng(seed).standard_normal(num_rows) * noise
    return pd.DataFrame({"a": wave + late * drawn}, times(num_rows))


WITHOUT_REFIT = TrainConfig(fit=FitOptions(refit=False))


def continued(num_rows: int, seed: int, noise: float, fault: float = 0.0) -> pd.DataFrame:
    """The 400 rows after such a history, with ten faulty rows in their middle."""
    wave = np.sin((num_rows + np.arange(400)) * 2 * np.pi / 20)
    values = wave + noise * np.random.default_rng(seed + 1).standard_normal(400)
    values[200:210] += fault
    return pd.DataFrame({"a": values}, times(num_rows + 400)[num_rows:])


@given(st.integers(0, 2**16), st.sampled_from([500, 900, 1_200]), st.sampled_from([0.1, 0.3, 1.0]))
@example(5292, 500, 0.1)
@settings(max_examples=6, deadline=None)
def test_a_refit_with_far_smaller_errors_on_unseen_rows_has_their_threshold(
    seed: int, num_rows: int, noise: float
) -> None:
    """The threshold of the first training, to which the newest rows were strange, would hide every fault.

    With 500 rows it comes from 50, the newest half of the held-out ones, and is far less certain.
    """
    shape = num_rows, seed, noise
    artifact = fit(unlike(*shape), model="linear", window=32)
    without = fit(unlike(*shape), model="linear", window=32, config=WITHOUT_REFIT)
    assert any("from the newest half of the held-out rows" in note for note in notes_of(artifact))
    assert artifact.spec.members[0].settled[0].high < without.spec.members[0].settled[0].high - 1.0
    scores = Detector(artifact).score(continued(*shape))["score"].to_numpy()
    size = (60 if num_rows == 500 else 20) * noise
    faulty = Detector(artifact).score(continued(*shape, fault=size))["score"].to_numpy()
    assert np.nanmean(scores > 1.0) < 0.02
    assert np.nanmax(faulty[200:210]) > 1.0
    assert "newest half of the held-out rows" in artifact.card


@pytest.mark.parametrize("moved", [(2.0, 2.0), (-3.0, 1.0), (0.0, np.inf), (1.0, -3.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_refit_that_raises_the_errors_of_unseen_rows_is_taken_back(
    moved: tuple[float, float], seed: int
) -> None:
    """The threshold belongs to the published weights, which are those of a training without a refit."""
    with patch.object(training, "_shift", side_effect=[np.array([2.0, 2.0]), np.array(moved)]):
        artifact = fit(unlike(500, seed, 0.1), model="linear", window=32)
    without = fit(unlike(500, seed, 0.1), model="linear", window=32, config=WITHOUT_REFIT)
    assert any("taken back" in note for note in notes_of(artifact))
    weights, expected = artifact.module.state_dict(), without.module.state_dict()
    assert artifact.spec.window == without.spec.window
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert artifact.spec.threshold == without.spec.threshold
    assert artifact.spec.members == without.spec.members


@pytest.mark.parametrize("moved", [((0.9, -0.9),), ((5.0, 5.0), (0.5, 0.9))])
def test_a_refit_that_leaves_the_errors_of_unseen_rows_keeps_the_threshold(
    moved: tuple[tuple[float, float], ...],
) -> None:
    with patch.object(training, "_shift", side_effect=list(map(np.array, moved))):
        artifact = fit(unlike(500, 0, 0.1), model="linear", window=32)
    without = fit(unlike(500, 0, 0.1), model="linear", window=32, config=WITHOUT_REFIT)
    assert artifact.spec.threshold == without.spec.threshold
    weights, expected = artifact.module.state_dict(), without.module.state_dict()
    assert not all(torch.equal(weights[name], expected[name]) for name in expected)


def test_an_overfitted_member_is_left_out_and_named() -> None:
    def gaps(artifact: Artifact, windows: object) -> list[float]:
        return [np.log(11.0), np.log(9.0)]

    with patch.object(training, "_optimism", gaps):
        artifact = fit(plant(), config=TWO_LINEAR)
    (note,) = notes_of(artifact)
    assert note.startswith("linear (16 rows) was left out: its errors are 11 times as large on held-out rows")
    assert artifact.spec.window == 8


def test_a_window_that_learns_a_short_history_by_heart_is_halved() -> None:
    def gaps(artifact: Artifact, windows: object) -> list[float]:
        return [np.log(11.0) if artifact.spec.window > 20 else 0.0]

    with patch.object(training, "_optimism", gaps):
        artifact = fit(plant(), model="linear", window=64)
        long = fit(plant(700), model="linear", window=64)
    assert artifact.spec.window == 16
    assert [note[:50] for note in notes_of(artifact)] == [
        "the window of 64 rows was shortened to 32: the mod",
        "the window of 32 rows was shortened to 16: the mod",
    ]
    assert long.spec.window == 64
    assert notes_of(long)[0].startswith("all members have far larger errors on held-out rows")


@pytest.mark.parametrize("name", [r"\Processor(_Total)\% Processor Time", 'a"b', "two\nlines", "%", "°C"])
def test_a_name_that_trains_is_published_loaded_and_decoded(name: str, tmp_path: Path) -> None:
    fit(plant().rename(columns={"a": name}), model="linear", window=16, out=tmp_path / "m")
    channels = open_artifact(tmp_path / "m").spec.channel_names
    assert channels == (name, "b")
    assert JsonWideCodec(channels).channels == channels
    assert RecordedTopic(RecordingDirectory(tmp_path, "t"), channels, (0, 1)).channels == channels


@pytest.mark.parametrize("name", ["", "label"])
def test_a_channel_that_no_reader_takes_is_refused_before_the_training(name: str, tmp_path: Path) -> None:
    frame = plant().rename(columns={"a": name})
    with pytest.raises(TrainerError, match=r"^cannot be trained: channel .*; (re)?name it"):
        fit(frame, out=tmp_path / "m", config=TrainConfig(data=DataOptions(channels=(name, "b"))))
    assert not (tmp_path / "m").exists()
    with pytest.raises(ConnectorError, match="--channels"):
        RecordedTopic(RecordingDirectory(tmp_path, "t"), (name, "b"), (0, 1))


@pytest.mark.parametrize("series", ["", "x" * (MAX_SERIES_LENGTH + 1)])
def test_a_series_that_no_message_can_carry_is_refused(series: str) -> None:
    with pytest.raises(TrainerError, match=r"^cannot be trained: .*series.* name"):
        fit(plant().assign(series=series))


@pytest.mark.parametrize(
    ("model", "place"),
    [({"window": 1}, "model.window"), ({"members": ("linear", "conv:1")}, "model.members: 'conv:1'")],
)
def test_a_window_of_one_row_is_refused(model: dict[str, object], place: str) -> None:
    with pytest.raises((TrainerError, ValueError), match=r"one row shows no course"):
        fit(plant(), config=TrainConfig(model=ModelOptions.model_validate(model)))


@pytest.mark.parametrize("value", [1e200, 1e308])
def test_values_without_a_finite_spread_are_refused_with_their_channel(value: float) -> None:
    frame = plant()
    frame.iloc[::2, 1] = value
    frame.iloc[1::2, 1] = -value
    with np.errstate(all="ignore"), pytest.raises(TrainerError, match=r"'b'.*no finite spread"):
        fit(frame, model="linear", window=16)


def test_what_readers_refuse_is_not_published(tmp_path: Path) -> None:
    entry = tmp_path / "m"
    good = publish(fit(plant(), model="linear", window=16), entry)
    bad = fit(plant(seed=1), model="linear", window=16)
    next(bad.module.parameters()).data[0] = float("nan")
    with pytest.raises(ArtifactError, match=r"not published, as readers would refuse .* not finite"):
        publish(bad, entry)
    assert open_artifact(entry).version == good.version
    assert [path.name for path in entry.iterdir() if path.is_dir()] == [good.version]


def test_a_file_that_fails_costs_no_other_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        frame = plant(400).assign(label=0, split=["train"] * 300 + ["test"] * 100)
        frame.rename_axis("timestamp").reset_index().to_parquet(tmp_path / f"{name}.parquet")
    real = evaluate.evaluate_file

    def failing(path: Path, *rest: object) -> object:
        if path.stem == "bad":
            raise np.linalg.LinAlgError("Singular matrix")
        return real(path, *rest)  # type: ignore[arg-type]

    with patch.object(evaluate, "evaluate_file", failing):
        assert main(["evaluate", str(tmp_path), "--model", "linear", "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "1 files evaluated, 1 failed" in printed
    assert "LinAlgError: Singular matrix" in printed


def test_the_first_of_the_members_that_are_left_reads_every_window() -> None:
    """The expected values are its own: with a stride there were none, and no reader took the model."""
    artifact = make_artifact(family="deep", more=(("linear", 8, 4), ("linear", 4, 2)))
    results = tuple(FitResult() for _ in artifact.spec.members)
    trained = training.Trained(artifact.spec.members, artifact.module, results, ())
    left = trained.only([1, 2], ("left out: deep",))
    assert [(one.family, one.window, one.stride) for one in left.members] == [
        ("linear", 8, 1),
        ("linear", 4, 2),
    ]
