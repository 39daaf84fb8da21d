"""When a daemon retrains, what it does with the outcome, and that it ends what it started."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from connectors.parquet.writer import TableWriter
from detector.artifact.registry import open_artifact, publish
from detector.journal import FILE, Note, append, read_journal
from detector.service.candidates.retraining import Retraining, retrain_command
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.daemon import ROOT, wait_for
from tests.test_daemon_kafka import configuration, rows, send

WEEK = 7 * 86_400.0


def printing(outcome: str, file: Path, code: int = 0) -> list[str]:
    """A command that notes its niceness in a file, and prints an outcome."""
    text = json.dumps({"outcome": outcome, "why": "words", "version": None})
    notes = f"import os, sys; open({str(file)!r}, 'a').write(f'{{os.nice(0)}}\\n')"
    return [sys.executable, "-c", f"{notes}; print({text!r}); sys.exit({code})"]


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def age(entry: Path, seconds: float) -> None:
    """Make all events of the journal older."""
    events = read_journal(entry).events
    then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))
    text = "".join(json.dumps(asdict(replace(one, at=then))) + "\n" for one in events)
    (entry / FILE).write_text(text)


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def test_it_is_due_a_week_after_the_newest_training_or_attempt(entry: Path) -> None:
    retraining = Retraining(str(entry), WEEK, [])
    assert retraining.due_at() == pytest.approx(time.time() + WEEK, abs=60)
    age(entry, 3 * WEEK)
    assert retraining.due_at() < time.time()
    append(entry, "not retrained", "", "", Note("cron", "incident pump-1 is open"))
    assert retraining.due_at() < time.time(), "it was held up"
    append(entry, "not retrained", "", "", Note("cron", "not better", {"mark": "1"}))
    assert retraining.due_at() == pytest.approx(time.time() + WEEK, abs=60)


def test_it_runs_once_at_low_priority_and_logs_the_outcome(
    entry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    age(entry, 2 * WEEK)
    ran = tmp_path / "ran"
    with caplog.at_level(logging.INFO):
        retraining = Retraining(str(entry), WEEK, printing("unchanged", ran), look_seconds=0.05)
        retraining.start()
        wait_for(lambda: "retraining ended" in caplog.messages, "an outcome")
        retraining.close()
    assert [int(one) for one in lines(ran)] == [max(15, os.nice(0))]
    assert retraining.due_at() == pytest.approx(time.time() + WEEK, abs=60)


@pytest.mark.parametrize(("outcome", "code"), [("incident open", 0), ("candidate", 1)])
def test_what_was_held_up_or_failed_is_tried_again_after_a_seventh(
    entry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, outcome: str, code: int
) -> None:
    age(entry, 2 * WEEK)
    with caplog.at_level(logging.INFO):
        command = printing(outcome, tmp_path / "ran", code)
        retraining = Retraining(str(entry), WEEK, command, look_seconds=0.05)
        retraining.start()
        wait_for(lambda: "retraining ended" in caplog.messages, "an outcome")
        retraining.close()
    assert retraining.due_at() == pytest.approx(time.time() + WEEK / 7, abs=60)


def test_a_retraining_ends_with_the_daemon(entry: Path, tmp_path: Path) -> None:
    age(entry, 2 * WEEK)
    began = tmp_path / "began"
    program = f"import time, os; open({str(began)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    retraining = Retraining(str(entry), WEEK, [sys.executable, "-c", program])
    retraining.start()
    wait_for(lambda: lines(began), "its process")
    retraining.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines(began)[0]), 0)


def test_of_several_models_one_is_trained_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turn, busy = threading.Lock(), tmp_path / "busy"
    program = f"""
import json, pathlib, time
busy = pathlib.Path({str(busy)!r})
busy.mkdir()  # fails beside another one
deadline = time.monotonic() + 0.3
while time.monotonic() < deadline:
    time.sleep(0.01)
busy.rmdir()
print(json.dumps({{"outcome": "unchanged", "why": "words"}}))
"""
    found = []
    for name in ("pump", "press"):
        publish(make_artifact(threshold=0.8), tmp_path / "models" / name)
        age(tmp_path / "models" / name, 2 * WEEK)
        command = [sys.executable, "-c", program]
        found.append(Retraining(str(tmp_path / "models" / name), WEEK, command, 0.05, turn))
    with caplog.at_level(logging.INFO):
        for one in found:
            one.start()
        wait_for(lambda: caplog.messages.count("retraining ended") == 2, "two outcomes")
        for one in found:
            one.close()
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING], "none has failed"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--retrain-every", "7d"], "--retrain-every and --history need each other"),
        (["--history", "h"], "--retrain-every and --history need each other"),
        (["--retrain-every", "often", "--history", "h"], "--retrain-every: 'often' is not a duration"),
        (["--retrain-every", "5s", "--history", "h"], "--retrain-every: at least 1m"),
    ],
)
def test_wrong_flags_are_refused(
    entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    config = tmp_path / "streamgauge.toml"
    config.write_text(configuration(entry, "localhost:1", "t"))
    assert main(["run", str(config), *flags]) == 2
    assert complaint in capsys.readouterr().err


def test_a_single_version_and_secrets_in_a_uri_are_refused(
    entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "streamgauge.toml"
    for place, complaint in (
        (str(entry / open_artifact(entry).version), "is one version; name its registry entry"),
        ("s3://key:secret@bucket/models/pump", "give its credentials in the environment"),
        ("abfs://a/pump?client_id=i&client_secret=key:secret", "give its credentials in the environment"),
    ):
        config.write_text(configuration(Path("PLACE"), "localhost:1", "t").replace("PLACE", place))
        assert main(["run", str(config), "--retrain-every", "7d", "--history", "h"]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert "key:secret" not in said


def test_a_source_without_kafka_is_refused_at_the_start(
    entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "streamgauge.toml"
    config.write_text(f'[model]\npath = "{entry}"\n[source]\nkind = "files"\npath = "*.jsonl"\n')
    assert main(["run", str(config), "--retrain-every", "7d", "--history", "h"]) == 2
    assert "--retrain-every needs readings from Kafka" in capsys.readouterr().err


@pytest.mark.kafka_changes
def test_a_daemon_retrains_while_it_runs(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    """The history has nothing newer than the model, and the journal states it. Nothing is an incident."""
    artifact, entry = make_artifact(threshold=1e9), tmp_path / "models" / "pump"
    training = {"config": {}, "until": "2026-01-01T00:00:00Z"}
    publish(replace(artifact, spec=replace(artifact.spec, training=training)), entry)
    topic = kafka_topic(2)
    send(kafka_bootstrap, rows(topic, 0, 20))
    history = tmp_path / "history"
    history.mkdir()
    with TableWriter(history / "a.parquet") as writer:
        times = [1_700_000_000_000_000_000 + at * 10**9 for at in range(50)]
        columns = {name: [float(at % 7) for at in range(50)] for name in ("flow", "pressure")}
        writer.write({"timestamp": np.array(times), "series": ["pump-1"] * 50, **columns})
    age(entry, 2 * WEEK)
    config = tmp_path / "streamgauge.toml"
    config.write_text(f"{configuration(entry, kafka_bootstrap, topic)}\n[http]\nport = 0\n")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "streamgauge", "run", str(config)]
    with log.open("wb") as output:
        flags = ["--retrain-every", "1m", "--history", str(history)]
        process = subprocess.Popen([*command, *flags], cwd=ROOT, stdout=output, stderr=output)
        try:
            wait_for(lambda: '"retraining ended"' in log.read_text(), f"a retraining; see {log}")
        finally:
            process.terminate()
            assert process.wait(60) == 0
    events = map(json.loads, log.read_text().splitlines())
    ended = next(one for one in events if one["event"] == "retraining ended")
    assert ended["outcome"] == "no new rows", json.dumps(ended)
    assert read_journal(entry).events[-1].why == ended["why"]
    assert retrain_command(history, str(entry), config)[3] == "retrain"
