"""A plant is trained into a registry on a real S3 server, retrained from there, and verified with it."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.objects.names import below
from connectors.objects.objects import Objects
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.registry import open_artifact
from detector.config.load import load_config
from detector.lifecycle.versions import journal_at
from detector.service.candidates.retraining import Retraining
from detector.verify.rows import Row
from detector.verify.versions import Versions
from streamgauge import main
from tests.detector.explore.storage.object_store import SECRET, ObjectStore
from tests.trainer.kinds.plants import plant, write

pytestmark = pytest.mark.objects
QUICK = ("--model", "linear", "--window", "8", "--latent", "3")
WEEK = 7 * 86_400.0


@pytest.fixture
def registry(s3: ObjectStore) -> str:
    return s3.uri(f"{uuid4().hex}/models")


def test_the_kinds_of_a_plant_are_trained_into_a_bucket(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plant(1_000).replace({"kind": {"conveyor": "Förder band"}})
    data = write(tmp_path / "plant.parquet", rows)
    command = ["train", str(data), "--group-by", "kind", "--json", *QUICK]
    assert main([*command, "--out", str(tmp_path / "local"), "--jobs", "1"]) == 0
    local = json.loads(capsys.readouterr().out)["kinds"]
    assert main([*command, "--out", registry, "--jobs", "1"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)["kinds"]
    assert SECRET not in said.out + said.err
    assert [one["version"] for one in found] == [one["version"] for one in local]
    for one in found:
        entry = below(registry, Path(one["path"].partition("?")[0]).name)
        assert open_artifact(entry).version == one["version"]
        assert Objects(entry).read("kind.json")
        assert Objects(below(entry, one["version"])).read("report.html")
        assert one["in_use"]
        assert [event.action for event in journal_at(entry).events] == ["published", "promoted"]

    again = ["train", str(data), "--group-by", "auto", "--out", registry, "--jobs", "1", *QUICK]
    assert main(again) == 1  # by channels it is another kind of the same name
    said = capsys.readouterr()
    assert "belongs to another kind" in said.out.replace("\n", " ")
    assert "streamgauge-train-" not in said.out, "no name of a copy is shown"


def test_a_model_in_a_bucket_is_due_by_its_journal_and_its_versions_have_hashes(
    registry: str, tmp_path: Path
) -> None:
    data = write(tmp_path / "plant.parquet", plant(1_000))
    assert main(["train", str(data), "--group-by", "kind", "--out", registry, "--jobs", "1", *QUICK]) == 0
    entry = below(registry, "pump")
    assert Retraining(entry, WEEK, []).due_at() == pytest.approx(time.time() + WEEK, abs=120)
    config = tmp_path / "streamgauge.toml"
    config.write_text(f'[[models]]\npath = "{entry}"\nname = "pumps"\n[kafka]\ntopic = "t"\n')
    loaded = load_config(config, {})
    versions = Versions(loaded, loaded.models[0])
    version = versions.current.artifact.version
    assert versions.of(version) is not None
    assert versions.of("0" * 12) is None
    row = Row("pump-1", 0, "pumps", version, 0.5, "normal", b"")
    (used,) = versions.used([row, row])
    described = Objects(below(entry, version)).read(MANIFEST) or b""
    assert (used.model, used.rows, used.artifact) == ("pumps", 2, hashlib.sha256(described).hexdigest())
    assert used.in_use.startswith("promoted 2")
    assert SECRET not in used.entry
