"""What an artifact says about itself is read as `open_artifact` reads it, and without its weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from detector.artifact import registry
from detector.artifact.description.described import described_artifact
from detector.artifact.description.manifest import CARD, MANIFEST, WEIGHTS
from detector.errors import ArtifactError
from tests.support.artifacts import make_artifact


@pytest.mark.parametrize("as_uri", [False, True])
def test_it_is_that_of_the_artifact(tmp_path: Path, as_uri: bool) -> None:
    entry = tmp_path / "pump"
    saved = registry.publish(make_artifact(), entry)
    (entry / saved.version / WEIGHTS).unlink()
    found = described_artifact(entry.as_uri() if as_uri else entry)
    assert (found.spec, found.version, found.card) == (saved.spec, saved.version, saved.card)


@pytest.mark.parametrize("name", [MANIFEST, CARD])
def test_what_was_edited_is_refused_with_its_file(tmp_path: Path, name: str) -> None:
    saved = registry.publish(make_artifact(), tmp_path / "pump")
    path = tmp_path / "pump" / saved.version / name
    path.write_text(path.read_text().replace("pump", "pimp") + " ")
    with pytest.raises(ArtifactError, match=f"{name}: "):
        described_artifact(tmp_path / "pump")


def test_an_exchanged_version_is_refused(tmp_path: Path) -> None:
    old, new = (registry.publish(make_artifact(seed=seed), tmp_path / "pump").version for seed in (0, 1))
    shutil.rmtree(tmp_path / "pump" / new)
    shutil.copytree(tmp_path / "pump" / old, tmp_path / "pump" / new)
    with pytest.raises(ArtifactError, match=f"holds version {old} and not {new}"):
        described_artifact(tmp_path / "pump")


def test_a_missing_place_is_an_error(tmp_path: Path) -> None:
    for location in (tmp_path / "none", (tmp_path / "none").as_uri()):
        with pytest.raises(ArtifactError, match="none"):
            described_artifact(location)


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    registry.publish(make_artifact(), tmp_path / "pump")
    code = (
        "import sys; from detector.artifact.description.described import described_artifact;"
        f"described_artifact({str(tmp_path / 'pump')!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
