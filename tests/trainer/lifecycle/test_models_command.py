"""`streamgauge models`: list, show, diff, promote with its gate, rollback and remove, through the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from detector.artifact.description.place import current_of
from detector.artifact.registry import open_artifact, propose
from detector.artifact.spec import Artifact
from detector.calibration.feedback import Feedback, add_feedback
from detector.journal import Note, read_journal
from streamgauge import main
from trainer import fit
from trainer.config import ModelOptions, TrainConfig

REFUSED = 4
CONFIG = TrainConfig(name="pump", model=ModelOptions(family="linear", window=24))


def frame_of(num_rows: int, seed: int = 0) -> pd.DataFrame:
    """Two noisy sines a minute, with a fault of 40 rows in the last fifth."""
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0])
    values = np.sin(angle) + rng.normal(0, 0.1, angle.shape)
    fault = num_rows - num_rows // 10
    values[fault : fault + 40, 0] += 4.0
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "pressure"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a good model in use, a history with rows after its training, and a known fault."""
    directory, frame = tmp_path_factory.mktemp("made"), frame_of(4_000)
    propose(fit(frame[:2_500], config=CONFIG), directory / "models" / "pump", Note("ann", "a start"))
    labels = np.zeros(len(frame), np.int8)
    labels[3_600:3_640] = 1
    frame.assign(series="pump-1").reset_index().to_parquet(directory / "history.parquet", index=False)
    frame.assign(series="pump-1", label=labels).reset_index().to_parquet(
        directory / "labelled.parquet", index=False
    )
    return directory


@pytest.fixture
def plant(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "plant"))


def deaf(artifact: Artifact, factor: float = 50.0) -> Artifact:
    """The model with a threshold that hardly anything exceeds."""
    threshold = replace(artifact.spec.threshold, value=artifact.spec.threshold.value * factor)
    return replace(artifact, spec=replace(artifact.spec, threshold=threshold), version="unsaved")


def models(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> Any:
    """What the command printed as JSON."""
    capsys.readouterr()
    assert main(["models", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def answers(found: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["answer"] for one in found["checks"]}


def test_the_gate_refuses_a_deaf_model_with_the_reasons_and_force_is_recorded(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plant / "models" / "pump"
    first = open_artifact(entry)
    bad = propose(deaf(first), entry, Note("bob", "fewer alarms")).version
    words = ("promote", entry, bad[:6], "--history", plant / "labelled.parquet")
    found = models(capsys, *words, "--dry-run", code=REFUSED)
    assert answers(found) == {
        "fits": "passed",
        "known incidents": "failed",
        "alarm budget": "passed",
        "linear model": "not asked",
        "current model": "failed",
    }
    assert read_journal(entry).events[-1].action == "published", "a dry run changes nothing"
    found = models(capsys, *words, code=REFUSED)
    assert (found["outcome"], found["before"]) == ("refused", first.version)
    assert current_of(entry) == first.version
    refused = read_journal(entry).events[-1]
    assert (refused.action, refused.version) == ("refused", bad)
    assert "known incidents: 0 of 1 found, 1 by the current one; 1 no longer" in refused.why
    found = models(capsys, *words, "--force", "--why", "the noise is known", "--who", "eve")
    assert found["outcome"] == "promoted"
    forced = read_journal(entry).events[-1]
    assert (forced.action, forced.forced, forced.who, forced.why) == (
        "promoted",
        True,
        "eve",
        "the noise is known",
    )
    assert forced.figures["gate"]["checks"][1]["answer"] == "failed"
    assert current_of(entry) == bad
    assert models(capsys, "rollback", entry, "--why", "blind") == {"version": first.version, "before": bad}
    assert current_of(entry) == first.version


def test_without_rows_the_gate_says_what_it_could_not_ask(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plant / "models" / "pump"
    good = propose(deaf(open_artifact(entry), 1.01), entry).version
    capsys.readouterr()
    assert main(["models", "promote", str(entry)]) == 0
    out = capsys.readouterr().out
    assert "known incidents  not asked  no rows: give --history" in out
    assert f"{good}: promoted" in out
    assert main(["models", "promote", str(entry), good]) == 2
    assert "is the current version already" in capsys.readouterr().err
    assert main(["models", "promote", str(entry)]) == 2
    assert "there is no candidate" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["incidents", "feedback"])
def test_known_incidents_come_from_a_file_or_from_opinions_beside_the_model(
    plant: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    entry, start = plant / "models" / "pump", "2026-01-03T12:00:00Z"
    bad = propose(deaf(open_artifact(entry)), entry).version
    more: tuple[object, ...] = ()
    if source == "incidents":
        file = plant / "known.json"
        body = {"id": "a", "series": "pump-1", "start": start, "end": "2026-01-03T12:40:00Z"}
        file.write_text(json.dumps([body]))
        more = ("--incidents", file)
    else:
        add_feedback(entry, Feedback("a", "real", "pump-1", start, "v", 3.0))
    found = models(capsys, "promote", entry, bad, "--history", plant / "history.parquet", *more, code=REFUSED)
    assert answers(found)["known incidents"] == "failed"
    assert found["figures"]["current"]["known_found"] == 1


def test_a_model_that_alarms_more_often_than_its_budget_is_refused(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plant / "models" / "pump"
    loud = propose(deaf(open_artifact(entry), 0.3), entry).version
    found = models(capsys, "promote", entry, loud, "--history", plant / "labelled.parquet", code=REFUSED)
    assert answers(found)["alarm budget"] == "failed"
    figures = found["figures"]["candidate"]
    assert figures["time_in_alarm"] > 0.5, "it is one alarm, without an end"
    assert found["figures"]["current"]["time_in_alarm"] < 0.05


def test_the_gate_judges_with_the_alarm_budget_of_the_daemon(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, daemon = plant / "models" / "pump", plant / "daemon.toml"
    loud = propose(deaf(open_artifact(entry), 0.3), entry).version
    budget = '[[models]]\npath = "{}"\nalarm_budget = "2/week"\n[kafka]\ntopic = "t"\n'
    daemon.write_text(budget.format(entry) + 'bootstrap_servers = ["b:1"]\ngroup_id = "g"\n')
    words = ("promote", entry, loud, "--history", plant / "labelled.parquet")
    models(capsys, *words, code=REFUSED)
    found = models(capsys, *words, "--config", daemon)
    assert answers(found)["alarm budget"] == "passed", "the budget takes the place of its threshold"
    assert found["figures"]["candidate"] == found["figures"]["current"], "they differ in the threshold alone"


def test_a_model_that_the_daemon_would_refuse_is_refused_here(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plant / "models" / "pump"
    first = open_artifact(entry)
    other = replace(first, spec=replace(first.spec, name="valve"), version="unsaved")
    version = propose(other, entry).version
    found = models(capsys, "promote", entry, version, code=REFUSED)
    assert answers(found) == {"fits": "failed"}


def test_versions_are_listed_shown_compared_and_removed(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plant / "models" / "pump"
    first = open_artifact(entry).version
    second = propose(deaf(open_artifact(entry)), entry, Note("bob", "fewer alarms", {"rows": 7})).version
    (found,) = models(capsys, "list", plant / "models")
    assert found["current"] == first
    assert [(one["version"], one["standing"]) for one in found["versions"]] == [
        (second, "candidate"),
        (first, "current"),
    ]
    assert main(["models", "list", str(entry)]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in (first, second, "candidate", "current", "ann", "fewer alarms"))
    assert main(["models", "show", str(entry), second[:4]]) == 0
    out = capsys.readouterr().out
    assert "published by bob: fewer alarms\n  rows: 7\n" in out
    assert models(capsys, "show", entry)["version"] == first
    found = models(capsys, "diff", entry)
    assert (found["version"], found["other"]) == (second, first)
    assert [one["path"] for one in found["differences"]] == ["threshold.value"]
    assert main(["models", "remove", str(entry), first]) == 2
    assert "is the current version; promote another one" in capsys.readouterr().err
    assert models(capsys, "remove", entry, second, "--why", "not wanted") == {"version": second}
    assert not (entry / second).exists()
    assert read_journal(entry).about(second)[-1].why == "not wanted"
    assert main(["models", "list", str(plant)]) == 2
    assert "no model there; give a registry entry" in capsys.readouterr().err


def test_a_pointer_at_a_version_that_is_gone_is_repaired_by_the_command(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = plant / "models" / "pump"
    first = open_artifact(entry)
    good = propose(deaf(first, 1.01), entry).version
    shutil.rmtree(entry / first.version)
    found = models(capsys, "promote", entry, good)
    assert (found["outcome"], found["before"]) == ("promoted", first.version)
    assert open_artifact(entry).version == good
