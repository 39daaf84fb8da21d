"""The commands, a watching daemon and killed publishers, against a real S3 server."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from connectors.objects.names import below
from connectors.objects.objects import Objects
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact
from detector.artifact.stored.event_names import names_of
from detector.lifecycle.versions import last_waiting_at, waiting_at
from detector.service.candidates.shadow import Shadow
from detector.service.reload.model_watcher import ModelWatcher
from detector.service.reload.reload_counts import ReloadCounts
from streamgauge import main
from tests.detector.explore.storage.object_store import SECRET, ObjectStore
from tests.detector.service.candidates.test_shadow import SOON, fed
from tests.support.daemon import ROOT

pytestmark = pytest.mark.objects
LINEAR = ("--model", "linear", "--window", "24", "--interval", "60s")
PUBLISHER = """
import sys
from argparse import Namespace
from pathlib import Path
from detector.artifact.registry import propose, publish
from detector.commands.models.on_copy import on_copy
from detector.journal import Note
from tests.support.artifacts import make_artifact
uri, first, num = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
artifacts = [make_artifact(seed=first + at) for at in range(num)]
print("ready", flush=True)
sys.stdin.readline()
for verb, artifact in zip((propose, *(publish,) * num), artifacts):
    def command(args):
        print(verb(artifact, Path(args.out), Note(str(first))).version, flush=True)
        return 0
    try:
        on_copy(Namespace(out=uri), "out", command, lambda args, entry: ())
    except Exception as error:
        print("refused", type(error).__name__, flush=True)
"""


@pytest.fixture
def uri(s3: ObjectStore) -> str:
    return s3.uri(f"{uuid4().hex}/models/pump")


def history(path: Path, num_rows: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0])
    frame = pd.DataFrame(np.sin(angle) + rng.normal(0, 0.1, angle.shape), columns=["flow", "pressure"])
    times = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC")
    frame.assign(timestamp=times, series="pump-1").to_parquet(path, index=False)
    return path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command printed."""
    capsys.readouterr()
    assert main(list(words)) == code
    return capsys.readouterr().out


def listed(capsys: pytest.CaptureFixture[str], uri: str) -> dict[str, Any]:
    (found,) = json.loads(said(capsys, "models", "list", uri, "--json"))
    return dict(found)


def test_every_verb_works_on_a_uri_and_names_it(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, later = history(tmp_path / "a.parquet", 2_500), history(tmp_path / "b.parquet", 4_000)
    told = said(capsys, "train", str(rows), "--out", uri, *LINEAR, "--who", "ann", "--why", "a start")
    first = open_artifact(uri).version
    assert uri in told
    assert "/tmp" not in told, "the copy is nobody's business"
    assert open_artifact(uri).spec.name == "pump"
    said(capsys, "train", str(later), "--out", uri, *LINEAR)
    (waiting,) = waiting_at(uri)
    second = waiting.name
    assert open_artifact(uri).version == first
    assert any(name.startswith(f"{second}/") and name.endswith(".html") for name in Objects(uri).list(""))
    assert f"{first} -> {second}" in said(capsys, "models", "diff", uri)
    assert "published by ann: a start" in said(capsys, "models", "show", uri, first)
    promote = ["models", "promote", uri, "--force", "--why", "we know", "--who", "bob"]
    assert f"{second}: promoted (was {first})" in said(capsys, *promote)
    assert open_artifact(uri).version == second
    assert first in said(capsys, "models", "rollback", uri)
    told = said(capsys, "calibrate", uri, "--alarm-budget", "1/month", "--json")
    third = json.loads(told)["version"]
    assert json.loads(told)["path"] == uri
    assert open_artifact(uri).version == first
    assert open_artifact(below(uri, third)).written_at == pytest.approx(
        int(open_artifact(below(uri, first)).written_at or 0)
    )
    retrain = ["retrain", str(later), "--out", uri, "--incidents", _no_incidents(tmp_path), "--json"]
    told = said(capsys, *retrain)
    assert json.loads(told)["outcome"] in ("candidate", "not better")
    again = said(
        capsys, "retrain", str(later), "--out", uri, "--incidents", _no_incidents(tmp_path), "--json"
    )
    assert json.loads(again)["outcome"] == "unchanged"
    said(capsys, "models", "remove", uri, third)
    assert listed(capsys, uri.replace("/pump?", "?")) == listed(capsys, uri), "all models of a registry"
    found = listed(capsys, uri)
    assert (found["path"], found["current"]) == (uri, first)
    assert third not in {one["version"] for one in found["versions"]}
    assert found["damaged_lines"] == 0


def test_errors_name_the_uri_without_its_secret(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", uri]) != 0
    assert f"{uri}: no model there" in capsys.readouterr().err
    stranger = uri.replace("s3://", f"s3://stranger:{SECRET}@")
    assert main(["models", "list", stranger]) != 0
    err = capsys.readouterr().err
    assert "check the credentials" in err
    assert SECRET not in err


def test_a_daemon_keeps_its_model_while_the_store_is_away_and_follows_it_again(
    s3: ObjectStore, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _publish(uri, 1)
    running = open_artifact(uri)
    counts = ReloadCounts()
    watcher: ModelWatcher[Artifact] = ModelWatcher(uri, 0.0, running, lambda found: found, counts)
    s3.kill()
    watcher.look_once()
    assert "check that the server runs" in counts.unreachable
    assert (watcher.take(), counts.by_outcome["refused"]) == (None, 0)
    s3.start()
    watcher.look_once()
    assert (watcher.take(), counts.unreachable) == (None, "")
    _publish(uri, 2, first=50)
    watcher.look_once()
    taken = watcher.take()
    assert taken is not None
    assert taken.version == open_artifact(uri).version != running.version
    assert last_waiting_at(uri) == waiting_at(uri)


def test_a_candidate_at_a_uri_judges_beside_the_current_version(uri: str) -> None:
    from detector.engine.engine import Engine

    _publish(uri, 1)
    _publish(uri, 1, first=50)
    (waiting,) = waiting_at(uri)
    shadow = Shadow(uri, SOON)
    shadow.start()
    fed(shadow, Engine(open_artifact(uri)), 50)
    shadow.close()
    assert shadow.view.version == waiting.name
    assert shadow.view.rows > 0


def test_two_publishers_at_once_agree_and_each_move_is_recorded_or_refused(uri: str) -> None:
    workers = [_publisher(uri, first, 4) for first in (0, 10)]
    _go(workers)
    told = [one.communicate(timeout=120)[0].splitlines() for one in workers]
    assert [one.returncode for one in workers] == [0, 0]
    events = names_of(Objects(uri).list("journal"))
    moves = [one.version for one in events if one.action == "promoted"]
    assert open_artifact(uri).version == moves[-1]
    done = [_done(lines) for lines in told]
    assert all({*promoted} <= set(moves) for _, promoted in done)
    assert all(
        proposed in {one.version for one in events if one.action == "published"} for proposed, _ in done
    )
    assert len({version for _, promoted in done for version in promoted}) >= 1
    for name in Objects(uri).list(""):
        if name.endswith("/artifact.json"):
            version = name.partition("/")[0]
            assert open_artifact(below(uri, version)).version == version


def test_a_publisher_that_is_killed_leaves_complete_versions(uri: str) -> None:
    for at in range(3):
        one = _publisher(uri, 100 + 20 * at, 20)
        _go([one])
        assert one.stdout is not None
        for _ in range(random.randint(1, 3)):
            one.stdout.readline()
        one.kill()
        one.communicate()
        names = Objects(uri).list("")
        versions = {name.partition("/")[0] for name in names if name.endswith("/artifact.json")}
        for version in versions:
            assert open_artifact(below(uri, version)).version == version
        assert open_artifact(uri).version in versions
    _publish(uri, 2, first=7_000)
    assert open_artifact(uri).version


def _done(lines: list[str]) -> tuple[str, list[str]]:
    """The version that a publisher proposed, and those that it made current and was not refused."""
    kept = [one for one, after in pairwise([*lines, ""]) if "refused" not in one + after]
    return lines[0], [one for one in kept if one != lines[0]]


def _no_incidents(tmp_path: Path) -> str:
    path = tmp_path / "incidents.json"
    path.write_text(json.dumps({"incidents": []}))
    return str(path)


def _publisher(uri: str, first: int, num: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISHER, uri, str(first), str(num)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _go(workers: list[subprocess.Popen[str]]) -> None:
    for one in workers:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in workers:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()


def _publish(uri: str, num: int, first: int = 0) -> None:
    """Propose a version; further ones become current."""
    worker = _publisher(uri, first, num)
    _go([worker])
    out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert "refused" not in out
