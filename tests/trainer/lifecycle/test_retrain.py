"""`streamgauge retrain`: a candidate where the new model is better, and words where nothing is published."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from detector.artifact.registry import open_artifact, publish
from detector.delivery.decision_records import encode_decision
from detector.incidents.decision import Decision
from detector.journal import read_journal
from detector.lifecycle.moves import promote
from detector.lifecycle.versions import registered
from streamgauge import main
from trainer.lifecycle.past import Past, Stretch

LINEAR = ("--model", "linear", "--window", "24")


def frame_of(num_rows: int, moved_at: int, seed: int = 0) -> pd.DataFrame:
    """Two noisy sines a minute with a fault; from `moved_at` on the first has another level, for good."""
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0])
    values = np.sin(angle) + rng.normal(0, 0.1, angle.shape)
    values[moved_at:, 0] += 6.0
    values[2_640:2_670, 1] += 4.0
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "pressure"])


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.assign(series="pump-1").reset_index().to_parquet(path, index=False)
    return path


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path]:
    """A model of the first 2,000 rows, and a history in which the level moved after them."""
    frame = frame_of(6_000, 2_050)
    first = write(tmp_path / "first.parquet", frame[:2_000])
    assert main(["train", str(first), "--out", str(tmp_path / "pump"), *LINEAR]) == 0
    return tmp_path / "pump", write(tmp_path / "history.parquet", frame)


def retrained(capsys: pytest.CaptureFixture[str], history: Path, entry: Path, *more: str) -> dict[str, Any]:
    """What a retraining printed as JSON."""
    capsys.readouterr()
    words = ["retrain", str(history), "--out", str(entry), "--held-back", "12h", "--json", *more]
    assert main(words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def incident(tmp_path: Path, end: str | None, **more: Any) -> str:
    """A file with one incident of `pump-1`."""
    body = {"id": "a1", "series": "pump-1", "model": "pump", "state": "firing" if end is None else "resolved"}
    path = tmp_path / "incidents.json"
    path.write_text(json.dumps({"incidents": [body | {"start": "2026-01-02T20:00:00Z", "end": end} | more]}))
    return str(path)


def alert(tmp_path: Path, **more: Any) -> str:
    """A file with a line of the alerts topic: one open incident of `pump-1`."""
    body = {"id": "a1", "series": "pump-1", "model": "pump", "state": "firing", "reason": "score"}
    path = tmp_path / "alerts.jsonl"
    path.write_text(json.dumps(body | {"start": "2026-01-02T20:00:00Z", "end": None} | more) + "\n")
    return str(path)


def test_a_model_that_fits_the_present_is_a_candidate_and_asking_again_changes_nothing(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, history = trained
    current = open_artifact(entry).version
    known = incident(tmp_path, "2026-01-02T20:30:00Z")
    found = retrained(capsys, history, entry, "--incidents", known, "--who", "cron")
    assert found["outcome"] == "candidate", found
    assert [found["figures"][name]["known_found"] for name in ("candidate", "current")] == [1, 0]
    assert found["figures"]["candidate"]["alarms"] < found["figures"]["current"]["alarms"]
    assert open_artifact(entry).version == current, "a candidate is not in use"
    (candidate,) = registered(entry).candidates
    assert candidate.name == found["version"]
    assert candidate.published is not None
    assert candidate.published.who == "cron"
    assert candidate.published.figures["gate"]["checks"][0]["name"] == "fits"
    (left_out,) = open_artifact(entry / candidate.name).spec.training["left_out"]["entries"]
    assert (left_out["reason"], left_out["rows"]) == ("incident", 31)
    again = retrained(capsys, history, entry, "--incidents", known)
    assert (again["outcome"], len(registered(entry).versions)) == ("unchanged", 2)
    promote = ["models", "promote", str(entry), "--history", str(history), "--incidents", known, "--json"]
    assert main(promote) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "promoted"
    assert open_artifact(entry).version == candidate.name


def test_a_model_that_is_no_better_is_not_published_and_the_journal_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, frame = tmp_path / "pump", frame_of(4_000, 4_000)
    assert (
        main(["train", str(write(tmp_path / "first.parquet", frame[:2_500])), "--out", str(entry), *LINEAR])
        == 0
    )
    history = write(tmp_path / "history.parquet", frame)
    for outcome in ("not better", "unchanged"):
        assert retrained(capsys, history, entry)["outcome"] == outcome
    assert len(registered(entry).versions) == 1
    last = read_journal(entry).events[-1]
    assert last.action == "not retrained"
    assert "not better than the current one" in last.why
    os.utime(history, (1.7e9, 1.7e9))  # the file changed: it is looked at again
    for outcome in ("not better", "unchanged"):
        assert retrained(capsys, history, entry)["outcome"] == outcome
    assert [one.why for one in read_journal(entry).events[-2:]] == [last.why, last.why]


def test_an_open_incident_stops_it_and_one_of_another_model_does_not(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, history = trained
    before = len(read_journal(entry).events)
    for _ in range(2):
        found = retrained(capsys, history, entry, "--incidents", alert(tmp_path))
        assert found["outcome"] == "incident open"
        assert found["why"] == "incident a1 of pump-1 is open since 2026-01-02T20:00:00.000000Z"
    assert len(read_journal(entry).events) == before + 1, "the same reason is written once"
    assert not (entry / "left_out.json").exists()
    other = alert(tmp_path, model="valve")
    assert retrained(capsys, history, entry, "--incidents", other)["outcome"] == "candidate"


def test_a_retrained_model_can_be_retrained_from_another_working_directory(
    trained: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry, history = trained
    known = incident(tmp_path, "2026-01-02T20:30:00Z")
    monkeypatch.chdir(tmp_path)
    found = retrained(capsys, history, Path("pump"), "--incidents", known)
    assert found["outcome"] == "candidate"
    stated = open_artifact(entry / found["version"]).spec.training["config"]["data"]["incidents"]
    assert stated is None
    promote(entry, found["version"], registered(entry).pointer)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    os.utime(history, (1.7e9, 1.7e9))
    assert retrained(capsys, history, entry, "--incidents", known)["outcome"] != "unchanged"


@pytest.mark.parametrize("is_given", [False, True])
def test_a_missing_file_of_incidents_is_a_note_if_an_earlier_training_named_it_and_else_an_error(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], is_given: bool
) -> None:
    entry, history = trained
    first = open_artifact(entry)
    options = first.spec.training["config"]
    options = options | {"data": options["data"] | {"incidents": "pump/left_out.json"}}
    training = {**first.spec.training, "config": options}
    publish(replace(first, spec=replace(first.spec, training=training)), entry)
    words = ["retrain", str(history), "--out", str(entry), "--held-back", "12h"]
    config = tmp_path / "train.toml"
    config.write_text('[model]\nfamily = "linear"\n[data]\nincidents = "pump/left_out.json"\n')
    capsys.readouterr()
    assert main([*words, *(["--config", str(config)] if is_given else [])]) == (2 if is_given else 0)
    told = capsys.readouterr().err
    assert "pump/left_out.json" in told
    assert ("does not exist: not used" in told) != is_given


def test_other_rules_of_incidents_and_other_opinions_are_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, frame = tmp_path / "pump", frame_of(4_000, 4_000)
    first = write(tmp_path / "first.parquet", frame[:2_500])
    assert main(["train", str(first), "--out", str(entry), *LINEAR]) == 0
    history, daemon = write(tmp_path / "history.parquet", frame), tmp_path / "streamgauge.toml"
    one = Stretch("a1", "pump-1", *(int(pd.Timestamp(f"2026-01-02T{at}").value) for at in ("20:00", "20:30")))
    outcomes: list[str] = []
    for for_rows, threads, faults in ((1, 1, ()), (1, 2, ()), (2, 1, ()), (2, 1, (one,))):
        text = f"[incidents]\nfor_rows = {for_rows}\nof_rows = 2\n[service]\nthreads = {threads}\n"
        daemon.write_text(text + f'[kafka]\ntopic = "t"\n[model]\npath = "{entry}"\n')
        known = Mock(return_value=Past(incidents=(one,), faults=faults))
        monkeypatch.setattr("trainer.lifecycle.retrain.past_of", known)
        outcomes.append(retrained(capsys, history, entry, "--daemon", str(daemon))["outcome"])
    assert [outcome == "unchanged" for outcome in outcomes] == [False, True, False, False], outcomes


def test_a_budget_of_the_daemon_judges_and_is_a_change_and_versions_keep_their_own(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry, history), daemon = trained, tmp_path / "streamgauge.toml"
    known = incident(tmp_path, "2026-01-02T20:30:00Z")
    found = []
    for budget in ("1/week", "20/day", "20/day"):
        text = f'[kafka]\ntopic = "t"\n[[models]]\npath = "{entry}"\nalarm_budget = "{budget}"\n'
        daemon.write_text(text)
        found.append(retrained(capsys, history, entry, "--daemon", str(daemon), "--incidents", known))
    assert [one["outcome"] == "unchanged" for one in found] == [False, False, True]
    few, many = (one["figures"]["candidate"] for one in found[:2])
    assert few["time_in_alarm"] < many["time_in_alarm"]
    own = {open_artifact(entry / one.name).spec.threshold.alarm_budget for one in registered(entry).versions}
    assert own == {open_artifact(entry).spec.threshold.alarm_budget}


def test_no_rows_after_the_training_are_no_reason_to_train(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, _ = trained
    assert retrained(capsys, tmp_path / "first.parquet", entry)["outcome"] == "no new rows"


def test_two_at_once_are_one(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    entry, history = trained
    with (entry / ".retrain.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert retrained(capsys, history, entry)["outcome"] == "busy"
    assert not (entry / "left_out.json").exists()


def test_the_first_model_of_a_name_is_trained_on_everything_and_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.toml"
    config.write_text('[model]\nfamily = "linear"\nwindow = 24\n')
    history = write(tmp_path / "history.parquet", frame_of(1_500, 1_500))
    found = retrained(capsys, history, tmp_path / "pump", "--config", str(config))
    assert found["outcome"] == "first"
    artifact = open_artifact(tmp_path / "pump")
    assert artifact.version == found["version"]
    assert (artifact.spec.name, artifact.spec.training["rows"]) == ("pump", 1_500)


def test_wrong_wishes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry, history = tmp_path / "pump", write(tmp_path / "history.parquet", frame_of(1_000, 1_000))
    assert main(["train", str(history), "--out", str(entry), *LINEAR]) == 0
    for more, message in (
        (("--held-back", "often"), "--held-back: "),
        (("--held-back", "0s"), "--held-back: must be more than 0s"),
        (("--incidents", "nowhere"), "--incidents: nowhere does not exist"),
    ):
        assert main(["retrain", str(history), "--out", str(entry), *more]) == 2
        assert message in capsys.readouterr().err
    assert len(read_journal(entry).events) == 2


@pytest.mark.parametrize("is_told_by", ["the journal", "the daemon"])
def test_a_kind_of_a_plant_learns_and_is_compared_on_its_own_series_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_told_by: str
) -> None:
    def table(num_rows: int) -> Path:
        rng, at = np.random.default_rng(1), np.arange(num_rows)
        frames = []
        for name, level, channels in (
            ("pump-1", 90.0, ("flow", "motor_A")),
            ("pump-2", 90.0, ("flow", "motor_A")),
            ("conveyor-1", 5.0, ("motor_A",)),
        ):
            moved = np.where(at > 2_050, 6.0, 0.0)
            columns = {one: level + np.sin(at * 0.2) + rng.normal(0, 0.1, num_rows) for one in channels}
            columns["motor_A"] = columns["motor_A"] + moved
            times = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC")
            frames.append(pd.DataFrame({"timestamp": times, "series": name, **columns}))
        path = tmp_path / f"plant-{num_rows}.parquet"
        pd.concat(frames).to_parquet(path, index=False)
        return path

    first = str(table(2_000))
    if is_told_by == "the journal":
        out = ["--group-by", "auto", "--jobs", "1", "--out", str(tmp_path / "models")]
        more: tuple[str, ...] = ()
        entry = tmp_path / "models" / "conveyor-1"
    else:
        alone = pd.read_parquet(first).query("series == 'conveyor-1'")[["timestamp", "series", "motor_A"]]
        first = str(tmp_path / "alone.parquet")
        alone.to_parquet(first, index=False)
        entry = tmp_path / "conveyor"
        out = ["--out", str(entry)]
        daemon = tmp_path / "streamgauge.toml"
        daemon.write_text(
            f'[model]\npath = "{entry}"\nseries = ["conveyor-*"]\n[kafka]\ntopic = "readings"\n'
        )
        more = ("--daemon", str(daemon), "--incidents", incident(tmp_path, None, model="valve"))
    assert main(["train", first, *out, *LINEAR]) == 0
    found = retrained(capsys, table(6_000), entry, *more)
    assert found["outcome"] == "candidate", found
    training = open_artifact(entry / found["version"]).spec.training
    assert training["num_series"] == 1
    assert training["rows"] <= 6_000 - 720


def test_what_left_the_topics_stays_left_out_until_somebody_calls_it_normal(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, history = trained
    nothing = tmp_path / "nothing.json"
    nothing.write_text('{"incidents": []}')
    known = incident(tmp_path, "2026-01-02T20:30:00Z")
    first = retrained(capsys, history, entry, "--incidents", known)
    assert first["outcome"] == "candidate"
    again = retrained(capsys, history, entry, "--incidents", str(nothing))
    assert again["version"] == first["version"], "it is no known fault any more, and still left out"
    os.utime(history, (1.7e9, 1.7e9))  # the file changed: it is looked at again
    found = retrained(capsys, history, entry, "--incidents", str(nothing))
    assert found["outcome"] not in ("unchanged", "no new rows")
    (kept,) = json.loads((entry / "left_out.json").read_text())["incidents"]
    assert (kept["id"], kept["start"]) == ("0:a1", "2026-01-02T20:00:00.000000Z")
    said = encode_decision(Decision("d1", "accept", "pump-1", 0, "a1")).decode()
    other = json.dumps({"id": "v1", "series": "v", "model": "valve", "start": "2026-01-02T20:00:00Z"})
    (tmp_path / "alerts.jsonl").write_text(f"{other}\n{said}\n")
    retrained(capsys, history, entry, "--incidents", str(tmp_path / "alerts.jsonl"))
    assert json.loads((entry / "left_out.json").read_text())["incidents"] == []


def test_one_wrong_time_in_the_future_does_not_stop_retraining(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = frame_of(6_000, 2_050)

    def written(name: str, rows: int) -> Path:
        late = frame[:1].set_index(pd.DatetimeIndex(["2035-01-01"], tz="UTC", name="timestamp"))
        return write(tmp_path / name, pd.concat([frame[:rows], late]))

    entry = tmp_path / "pump"
    assert main(["train", str(written("first.parquet", 2_000)), "--out", str(entry), *LINEAR]) == 0
    assert open_artifact(entry).spec.training["until"].startswith("2026-01-02")
    found = retrained(capsys, written("history.parquet", 6_000), entry)
    assert found["outcome"] == "candidate", found
    assert open_artifact(entry / found["version"]).spec.training["until"].startswith("2026-01-04")
