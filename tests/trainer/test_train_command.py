"""`streamgauge train` and `trainer.fit`: history in, a published artifact out, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import ParquetError
from detector import Detector
from detector.artifact.registry import open_artifact
from detector.journal import read_journal
from detector.lifecycle.versions import registered
from streamgauge import main
from trainer import fit
from trainer.config import DataOptions, FitOptions, ModelOptions, TrainConfig, override
from trainer.errors import TooLittleDataError, TrainerError

SECOND = 10**9
TINY = TrainConfig(
    model=ModelOptions(family="conv", nodes=8, layers=1, window=8),
    fit=FitOptions(max_epochs=2, min_steps_per_epoch=2, batch_size=32),
)


def frame_of(num_rows: int = 300, seed: int = 0, start: str = "2026-01-01") -> pd.DataFrame:
    """Two channels a minute, indexed by time."""
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0])
    values = np.sin(angle) + rng.normal(0, 0.05, angle.shape)
    index = pd.date_range(start, periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "pressure"])


def write(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame.reset_index(), preserve_index=False), path)
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Two series in Hive partitions, one of them in two files whose rows are not in order."""
    frame = frame_of()
    write(
        tmp_path / "history" / "series=pump-1" / "b.parquet", frame.iloc[150:].sample(frac=1, random_state=0)
    )
    write(tmp_path / "history" / "series=pump-1" / "a.parquet", frame.iloc[:160])
    write(tmp_path / "history" / "series=pump-2" / "a.parquet", frame_of(200, seed=1)[["pressure", "flow"]])
    return tmp_path / "history"


def train(*arguments: object) -> int:
    """A quick training; of a small convolutional model where no other family is asked for."""
    quick = ("--model", "conv", "--max-epochs", "2", "--window", "8", "--nodes", "8", "--layers", "1")
    return main(["train", *quick, *map(str, arguments)])


# The command


@pytest.mark.parametrize("family", ["conv", "lstm"])
def test_training_publishes_an_artifact_and_prints_the_next_command(
    family: str, history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "models" / "pump"
    assert train(history, "--out", entry, "--model", family) == 0
    artifact = open_artifact(entry)
    out, err = capsys.readouterr()
    assert f"{family} over 2 channels, window 8, one row every 60 s, 500 rows" in out
    assert "2 epochs (max epochs), best " in out
    assert f"published {entry}, version {artifact.version}" in out
    assert out.endswith(f"next: streamgauge backtest {entry} DATA\n      streamgauge inspect {entry}\n")
    assert "training pump: " in err
    spec = artifact.spec
    assert (spec.name, spec.family, spec.channel_names) == ("pump", family, ("flow", "pressure"))
    assert spec.training["num_series"] == 2
    assert len(spec.training["train_losses"]) == len(spec.training["validation_losses"]) == 2
    assert "# pump" in artifact.card
    kept = {artifact.version, "current", "journal.jsonl", ".lock"}
    assert {path.name for path in entry.iterdir()} == kept


def test_a_second_training_is_a_candidate_until_somebody_wants_it(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    linear = ["--out", str(entry), "--model", "linear"]
    assert main(["train", str(history), *linear, "--window", "16", "--who", "ann", "--why", "a start"]) == 0
    first = open_artifact(entry).version
    assert f"version {first}: in use, as the first version of this name\n" in capsys.readouterr().out
    assert main(["train", str(history), *linear, "--window", "2"]) == 0, "by mistake"
    out = capsys.readouterr().out
    (candidate,) = registered(entry).candidates
    assert f"candidate version {candidate.name}; {first} stays in use. To use it:" in out
    assert f"next: streamgauge backtest {entry}/{candidate.name} DATA\n" in out
    assert open_artifact(entry).version == first
    assert main(["train", str(history), *linear, "--window", "8", "--promote", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["in_use"]
    assert open_artifact(entry).version == summary["version"] != first
    published = read_journal(entry).events[0]
    assert (published.who, published.why) == ("ann", "a start")
    assert published.figures["model"] == "linear, window 16"
    assert published.figures["from"] == "2026-01-01T00:00:00Z"
    assert published.figures["until"] == "2026-01-01T05:00:00Z"


def test_the_linear_model_is_fitted_without_epochs(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", "linear", "--window", "8", "--out", str(tmp_path / "m")]
    assert main(["train", str(history), *arguments]) == 0
    assert "\nsolved directly, no epochs\n" in capsys.readouterr().out


def test_the_outcome_as_json_is_one_document_on_standard_output(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(history, "--out", tmp_path / "m", "--json", "--alarm-budget", "2/day") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["version"] == open_artifact(tmp_path / "m").version
    assert summary["alarm_budget"] == "2/day"
    assert summary["channels"] == ["flow", "pressure"]
    assert summary["epochs"] == 2


def test_a_budget_in_all_is_shared_by_the_series_of_the_history(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "m"
    arguments = ["--model", "linear", "--window", "8", "--out", str(entry)]
    assert main(["train", str(history), *arguments, "--alarm-budget", "6/hour in all"]) == 0
    spec = open_artifact(entry).spec
    budget = f"6/hour in all of {spec.training['num_series']} series"
    assert spec.threshold.alarm_budget == budget
    assert f"for {budget.replace(' in', ' false alarms in')}\n" in capsys.readouterr().out
    again = ["--alarm-budget", "6/hour in all of 900 series", "--promote"]
    assert main(["calibrate", str(entry), *again]) == 0
    assert "for 6/hour in all of 900 series" in capsys.readouterr().out
    before, after = spec.threshold.limit, open_artifact(entry).spec.threshold.limit
    assert before is not None
    assert after is not None
    # The other half of the budget is for evidence that adds up.
    assert after.alarms_a_row == pytest.approx(6 / 60 / 900 / 2)
    assert before.alarms_a_row == pytest.approx(6 / 60 / spec.training["num_series"] / 2)


def test_the_same_seed_gives_the_same_version_and_another_seed_another(history: Path, tmp_path: Path) -> None:
    versions = []
    for number, seed in enumerate((1, 1, 2)):
        entry = tmp_path / str(number) / "pump"
        assert train(history, "--out", entry, "--seed", seed) == 0
        versions.append(open_artifact(entry).version)
    assert versions[0] == versions[1] != versions[2]


def test_flags_override_the_file_and_the_environment(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(
        'name = "boiler"\n[model]\nfamily = "gru"\nwindow = 30\n[scoring]\nalarm_budget = "3/day"\n'
        "[data.valid_range]\nflow = [-5.0, 5.0]\n"
    )
    monkeypatch.setenv("STREAMGAUGE_SCORING__ALARM_BUDGET", "4/day")
    flags = ("--model", "lstm", "--delay", "3")
    assert train(history, "--out", tmp_path / "m", "--config", config, *flags) == 0
    spec = open_artifact(tmp_path / "m").spec
    assert (spec.name, spec.family, spec.window) == ("boiler", "lstm", 8)
    assert (spec.threshold.alarm_budget, spec.scoring.delay) == ("4/day", 3)
    assert (spec.channels[0].valid_min, spec.channels[0].valid_max) == (-5.0, 5.0)


INTERRUPTED = """
import os, signal, sys
import trainer.fitting.checkpoint
from streamgauge import main

save = trainer.fitting.checkpoint.Checkpoints.save
left = int(sys.argv[2])

def save_and_interrupt(self, state):
    global left
    save(self, state)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))

trainer.fitting.checkpoint.Checkpoints.save = save_and_interrupt
sys.exit(main(["train", *sys.argv[3:]]))
"""
CONV = ("--model", "conv", "--nodes", "8", "--layers", "1")


@pytest.mark.parametrize(
    ("stop", "code", "model", "epochs", "resumed"),
    [
        ("SIGINT", 130, CONV, 2, ["resumed after epoch 2, "]),
        # The convolutional member has done all of its epochs, and the recurrent one after it two.
        ("SIGKILL", -signal.SIGKILL, (), 5, ["resumed after epoch 3, ", "resumed after epoch 2, "]),
    ],
    ids=["Ctrl-C", "kill -9 of an ensemble"],
)
def test_an_interrupted_training_goes_on_with_resume_and_gives_the_same_artifact(
    stop: str,
    code: int,
    model: tuple[str, ...],
    epochs: int,
    resumed: list[str],
    history: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "train.toml"
    config.write_text("[fit]\nmin_steps_per_epoch = 2\n")
    arguments = [str(history), "--window", "8", *model, "--max-epochs", "3", "--config", str(config), "--out"]
    assert main(["train", *arguments, str(tmp_path / "whole" / "pump")]) == 0
    entry = tmp_path / "cut" / "pump"
    command = [sys.executable, "-c", INTERRUPTED, stop, str(epochs), *arguments, str(entry)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    stopped = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert stopped.returncode == code, stopped.stderr
    if stop == "SIGINT":
        assert "the last epoch is saved; continue with the same command and --resume\n" in stopped.stderr
    assert not (entry / "current").exists()
    assert main(["train", *arguments, str(entry), "--resume", "--seed", "5"]) == 2
    assert "it belongs to other data or another configuration" in capsys.readouterr().err
    assert main(["train", *arguments, str(entry), "--resume"]) == 0
    printed = capsys.readouterr().err
    assert [words for words in resumed if words in printed] == resumed
    assert printed.count("resumed after") == len(resumed)
    assert open_artifact(entry).version == open_artifact(tmp_path / "whole" / "pump").version
    assert not (entry / ".checkpoint").exists()


def test_resuming_nothing_starts_from_the_beginning_with_a_message(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(history, "--out", tmp_path / "m", "--resume") == 0
    assert (
        f"nothing to resume in {tmp_path}/m/.checkpoint: starting from the beginning\n"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--window", "0"],
            "training options: model.window: Input should be greater than or equal to 1, found 0",
        ),
        (
            ["--window", "8", "--stride", "9"],
            "training options: model.stride 9 must be at most model.window 8",
        ),
        (["--interval", "soon"], "--interval: 'soon' is not a duration such as 30s, 5m, 1h or 1d"),
        (
            ["--model", "conv", "--loss", "rmse"],
            "model: loss is 'rmse'; it must be one of mse, mae, huber",
        ),
        (
            ["--loss", "mae"],
            (
                "model: an ensemble takes no 'loss': its members have their own defaults; choose one family"
                " to set it"
            ),
        ),
        (
            ["--model", "conv", "--patch", "4"],
            (
                "model: conv has no hyperparameter 'patch';"
                " it has activation, causal, kernel, latent, layers, loss, nodes"
            ),
        ),
        (
            ["--alarm-budget", "often"],
            (
                "training options: scoring.alarm_budget: alarm budget 'often' is not NUMBER/UNIT, such as"
                " 1/week for each series or '3/day in all'; units: minute, hour, day, week, month, quarter,"
                " year, found 'often'"
            ),
        ),
        (
            ["--window", "230"],
            (
                "500 rows are too few for a window of 230: training needs at least one whole window without a"
                " long gap in the first 75% of the rows, and one that ends in the 5% after them; use a"
                " smaller window, more history or a larger max_gap"
            ),
        ),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    history: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", str(history), "--out", str(tmp_path / "m"), *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"streamgauge: error: {message}"
    assert not (tmp_path / "m").exists()


def test_a_data_set_that_cannot_be_read_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.parquet").write_text("timestamp,flow\n")
    assert train(tmp_path, "--out", tmp_path / "m") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"streamgauge: error: {tmp_path}/a.parquet: not a Parquet file, or truncated: ")


# The library


def test_fit_takes_a_frame_and_its_detector_scores_it() -> None:
    frame = frame_of()
    artifact = fit(frame, window=8, alarm_budget="1/day", config=TINY)
    assert artifact.version == "unsaved"
    verdicts = Detector(artifact).score(frame)
    assert len(verdicts) == len(frame)
    assert (verdicts["state"][:7] == "warming").all()
    assert (verdicts["state"][7:] == "ok").mean() > 0.9


def test_fit_gives_the_same_from_a_frame_and_from_its_file(tmp_path: Path) -> None:
    frame = frame_of()
    path = write(tmp_path / "series.parquet", frame)
    shuffled = frame.sample(frac=1, random_state=1)[["pressure", "flow"]]
    config = override(TINY, None, {"data": {"channels": ("flow", "pressure")}})
    found = [fit(data, config=config).spec for data in (frame, shuffled, path)]
    assert found[0].interval_ns == found[1].interval_ns == found[2].interval_ns == 60 * SECOND
    assert found[0].channels == found[1].channels == found[2].channels
    assert found[0].threshold == found[1].threshold == found[2].threshold


def test_fit_publishes_under_the_name_of_the_entry(tmp_path: Path) -> None:
    artifact = fit(frame_of(), config=TINY, out=tmp_path / "pump")
    assert artifact.spec.name == "pump"
    assert open_artifact(tmp_path / "pump").version == artifact.version


def test_fit_knows_the_series_of_a_frame() -> None:
    frame = pd.concat([frame_of().assign(series="a"), frame_of(seed=1).assign(series="b")])
    assert fit(frame, config=TINY).spec.training["num_series"] == 2


def test_channels_can_be_chosen() -> None:
    config = override(TINY, None, {"data": {"channels": ("pressure",)}})
    assert fit(frame_of(), config=config).spec.channel_names == ("pressure",)


def test_infinite_values_of_a_frame_are_missing_ones() -> None:
    frame, infinite = frame_of(), frame_of()
    frame.iloc[20:25, 0], infinite.iloc[20:25, 0] = np.nan, np.inf
    assert fit(infinite, config=TINY).spec.channels == fit(frame, config=TINY).spec.channels


def test_constant_channels_give_no_nan() -> None:
    frame = frame_of().assign(valve=7.0, spare=0.0)
    artifact = fit(frame, config=TINY)
    verdicts = Detector(artifact).score(frame)
    assert np.isfinite(verdicts["score"][7:]).all()
    broken = frame.copy()
    broken.iloc[200:205, 2] = 9.0
    scores = Detector(artifact).score(broken)["score"]
    assert scores.iloc[200:205].min() > scores.iloc[100:200].max()


def test_the_order_of_the_channels_of_a_frame_does_not_change_its_scores() -> None:
    artifact = fit(frame_of(), config=TINY)
    swapped = frame_of()[["pressure", "flow"]]
    pd.testing.assert_frame_equal(Detector(artifact).score(frame_of()), Detector(artifact).score(swapped))


def test_what_fit_refuses(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"^the frame's index is RangeIndex; it must be a DatetimeIndex: "):
        fit(frame_of().reset_index(drop=True))
    with pytest.raises(TrainerError, match=r"^the frame's index has missing times \(NaT\); every row needs"):
        fit(frame_of().set_index(pd.DatetimeIndex([pd.NaT] * 300)))
    with pytest.raises(TrainerError, match=r"^the frame lacks numeric channels: speed$"):
        fit(frame_of(), config=TrainConfig(data=DataOptions(channels=("speed",))))
    with pytest.raises(TrainerError, match=r"^the frame lacks numeric channels$"):
        fit(frame_of()[[]])
    with pytest.raises(ParquetError, match=r"no such file or directory$"):
        fit(tmp_path / "nothing")
    with pytest.raises(TooLittleDataError, match=r"^9 rows are too few for a window of 8: "):
        fit(frame_of(9), config=TINY)
    with pytest.raises(
        TrainerError, match=r"^training options: scoring.alarm_budget: alarm budget 'x' is not"
    ):
        fit(frame_of(), alarm_budget="x")
