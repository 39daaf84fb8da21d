"""The public face of the trainer: its names, what it refuses, and the progress that it shows."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trainer
from trainer import EvaluationOptions, EvaluationResult, TrainConfig, TrainerError, evaluate, fit
from trainer.config import FitOptions, ModelOptions

LINEAR = TrainConfig(model=ModelOptions(family="linear", window=8), fit=FitOptions(refit=False))


def frame_of(num_rows: int = 300) -> pd.DataFrame:
    """Two noisy waves, one row per minute."""
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(num_rows)[:, None] / 6 + [0.0, 1.0]) + 0.05 * rng.standard_normal((num_rows, 2))
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "pressure"])


def labelled(path: Path) -> None:
    """One channel with an event in its test part."""
    frame = frame_of(600)[["flow"]].reset_index()
    frame["label"] = ((frame.index >= 500) & (frame.index < 510)).astype(np.int8)
    frame.loc[frame["label"] == 1, "flow"] += 3.0
    frame["split"] = np.where(frame.index < 300, "train", "test")
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


# Names


def test_every_public_name_is_listed_by_dir_and_has_a_docstring() -> None:
    assert set(trainer.__all__) <= set(dir(trainer))
    assert {"fit", "evaluate", "TrainConfig", "TrainerError", "TooLittleDataError"} <= set(trainer.__all__)
    assert all(getattr(trainer, name).__doc__ for name in trainer.__all__)


def test_importing_the_trainer_loads_no_torch() -> None:
    code = "import sys, trainer; print({'torch', 'pandas', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'trainer' has no attribute 'train'"):
        _ = trainer.train  # type: ignore[attr-defined]


# fit


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            np.zeros((300, 2)),
            r"found ndarray: values need times: pd.DataFrame\(values, .*index=pd.date_range",
        ),
        (frame_of()["flow"], r"found Series: make a frame of one channel: data.to_frame\('value'\)$"),
        (7, r"^data must be a Parquet file, a directory, a list of them or a pandas DataFrame, found int$"),
        ([frame_of()], r"found list$"),
    ],
)
def test_fit_names_the_remedy_for_data_of_another_type(data: object, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        fit(data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "LSTM",
            r"^model.family: unknown family 'LSTM'; did you mean 'lstm'\? Known: ensemble, .*memory$",
        ),
        ("ensembel", r"'ensembel'; did you mean 'ensemble'\?"),
        ("forest-17", r"^model.family: unknown family 'forest-17'; known: ensemble, linear, .*memory$"),
    ],
)
def test_fit_suggests_the_family_that_was_meant(model: str, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        fit(frame_of(), model=model)


def test_an_unknown_family_is_refused_before_the_history_is_read() -> None:
    with pytest.raises(TrainerError, match="unknown family"):
        fit(frame_of(1), model="convv")  # a single row has no interval


def test_fit_shows_its_progress_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAMGAUGE_PROGRESS", raising=False)
    fit(frame_of(), config=LINEAR)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("STREAMGAUGE_PROGRESS", "1")
    fit(frame_of(), config=LINEAR)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("training linear:   0% reading the history\n")
    assert err.endswith("training linear: 100% calibrating\n")


def test_fit_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.delenv("STREAMGAUGE_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(frame_of(), config=LINEAR)
    assert "training linear" in terminal.getvalue()


# evaluate


def test_evaluate_gives_a_frame_of_figures_per_file(tmp_path: Path) -> None:
    labelled(tmp_path / "a.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    options = EvaluationOptions(family="linear", window=16)
    found = evaluate(str(tmp_path), options)
    assert isinstance(found, EvaluationResult)
    assert found.files.index.tolist() == ["a.parquet"]
    figures = found.files.loc["a.parquet"]
    assert figures["vus_pr"] > 3 * figures["random_vus_pr"]
    assert (figures["rows"], figures["train_rows"], figures["events"]) == (600, 300, 1)
    assert (figures["judged_rows"], figures["judged_test_rows"]) == (600 - 15, 300 - 15)
    assert found.pooled.model.vus_pr == pytest.approx(figures["vus_pr"])
    assert found.pooled.alarms.events_found == figures["event_recall"] == 1
    assert [failure.file for failure in found.failures] == ["broken.parquet"]
    assert repr(found).startswith("EvaluationResult(linear: 1 files, 1 failed; mean VUS-PR 0.")
    assert len(repr(found)) < 120


def test_an_evaluation_without_figures_has_an_empty_frame(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    found = evaluate(tmp_path, EvaluationOptions(family="linear"))
    assert found.files.empty
    assert {"vus_pr", "linear_vus_pr", "random_auc_roc", "f1", "fit_seconds"} <= set(found.files.columns)
    assert "0 files, 1 failed" in repr(found)


def test_evaluate_refuses_what_cannot_be_done(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"no \*\.parquet, \*\.csv or \*\.csv\.gz file"):
        evaluate(tmp_path)
    with pytest.raises(TrainerError, match="did you mean 'conv'"):
        evaluate(tmp_path, EvaluationOptions(family="Conv"))
    with pytest.raises(TrainerError, match="must be at least 1"):
        evaluate(tmp_path, jobs=0)
