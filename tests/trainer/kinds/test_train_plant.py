"""`streamgauge train --group-by`: a registry of a plant, what stands out, and a kind that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from detector.artifact.registry import open_artifact
from detector.journal import read_journal
from streamgauge import main
from tests.trainer.kinds.plants import CONVEYOR, PUMP, machine, plant, write
from trainer.lifecycle.own_series import PATTERNS

QUICK = ("--model", "linear", "--window", "8", "--latent", "3")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pumps and conveyors in one file."""
    return write(tmp_path_factory.mktemp("plant") / "plant.parquet", plant())


def test_a_registry_of_a_plant_has_the_models_of_separate_trainings(table: Path, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    assert (
        main(["train", str(table), "--out", str(registry), "--group-by", "kind", "--jobs", "2", *QUICK]) == 0
    )
    assert sorted(path.name for path in registry.iterdir()) == ["conveyor", "pump"]
    rows = pd.read_parquet(table)
    for kind, own in (("pump", PUMP), ("conveyor", CONVEYOR)):
        channels = tuple(name for name in rows.columns if name in own)
        alone = write(
            tmp_path / f"{kind}.parquet", rows[rows["kind"] == kind][["timestamp", "series", *channels]]
        )
        assert main(["train", str(alone), "--out", str(tmp_path / "alone" / kind), *QUICK]) == 0
        model = open_artifact(registry / kind)
        assert (model.spec.name, model.spec.channel_names) == (kind, channels)
        assert model.version == open_artifact(tmp_path / "alone" / kind).version
        assert (registry / kind / model.version / "report.html").exists()


def test_a_kind_that_fails_stops_no_other_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = machine("tank-1", ("level",), 5, num_rows=3)
    data = write(tmp_path / "plant.parquet", pd.concat([plant(), short]))
    arguments = ["--out", str(tmp_path / "models"), "--group-by", "auto", "--jobs", "1", *QUICK]
    assert main(["train", str(data), *arguments]) == 1
    out, err = capsys.readouterr()
    assert "not trained: tank-1: " in out
    assert "tank-1 failed" in err
    assert sorted(path.name for path in (tmp_path / "models").iterdir() if (path / "current").exists()) == [
        "conveyor",
        "pump",
    ]
    assert "pump-*" in out


def test_a_kind_without_a_slow_channel_is_trained_and_an_unknown_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "plant.parquet", plant())
    config = tmp_path / "train.toml"
    arguments = ["--out", str(tmp_path / "models"), "--group-by", "auto", "--jobs", "1", *QUICK]
    for channel, code in ((PUMP[0], 0), ("nowhere", 2)):
        config.write_text(f'[data.hold]\n{channel} = "10min"\n')
        assert main(["train", str(data), "--config", str(config), *arguments]) == code
    assert "[data] hold: 'nowhere' is no channel" in capsys.readouterr().err


def test_what_retraining_reads_is_what_the_daemon_is_told_to_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal has the printed patterns, which match no series that was left out."""
    rows = plant(1_000)
    rows.loc[rows["series"] == "pump-3", "kind"] = None
    data, registry = write(tmp_path / "plant.parquet", rows), tmp_path / "models"
    arguments = ["--out", str(registry), "--group-by", "kind", "--jobs", "1", "--json", *QUICK]
    assert main(["train", str(data), *arguments]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found["left_out"]) == ["pump-3"]
    for kind in found["kinds"]:
        (published,) = [
            one for one in read_journal(registry / kind["kind"]).events if PATTERNS in one.figures
        ]
        assert published.figures[PATTERNS] == kind["patterns"]
    assert {tuple(one["patterns"]) for one in found["kinds"]} >= {("pump-1", "pump-2")}


def test_a_model_is_not_published_into_the_entry_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, data = tmp_path / "models", tmp_path / "m.parquet"
    arguments = ["train", str(data), "--out", str(registry), "--group-by", "auto", "--jobs", "1", *QUICK]
    write(data, machine("m-1", ("heat", "flow"), 1))
    assert main([*arguments, "--latent", "1"]) == 0
    version = open_artifact(registry / "m-1").version
    write(data, machine("m-1", ("speed", "load"), 1))
    assert main([*arguments, "--latent", "1", "--promote"]) == 1
    assert 'belongs to another kind: the channels ["flow", "heat"]' in capsys.readouterr().out
    assert open_artifact(registry / "m-1").version == version


def test_a_series_unlike_its_kind_stands_out_and_is_better_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pumps = [machine(f"pump-{at}", PUMP, at, turned=at == 3) for at in range(1, 6)]
    data = write(tmp_path / "pumps.parquet", pd.concat(pumps))
    arguments = ["--out", str(tmp_path / "models"), "--group-by", "auto", "--json", "--jobs", "1", *QUICK]
    assert main(["train", str(data), *arguments, "--latent", "1"]) == 0
    (kind,) = json.loads(capsys.readouterr().out)["kinds"]
    assert kind["patterns"] == ["pump-*"]
    (found,) = kind["stands_out"]
    assert found["series"] == "pump-3"
    assert found["unexplained"] > 1.5 * found["others"]
    assert found["alone"] < found["unexplained"]
    assert found["better_alone"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--group-by", "auto", "--name", "pump"), "--name and --group-by exclude each other"),
        (("--group-by", "sort"), "no file has this column"),
        (("--group-by", "auto", "--jobs", "0"), "--jobs 0: must be at least 1"),
        (("--jobs", "2"), "--jobs needs --group-by"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    flags: tuple[str, ...], words: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(table), "--out", str(tmp_path / "models"), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
