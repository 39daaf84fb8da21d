"""A registry and artifact that an attacker has changed: nothing outside is read, and no code runs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from detector.artifact import registry
from detector.artifact import storage as artifacts
from detector.artifact.description import manifest as manifests
from detector.errors import ArtifactError
from tests.support.artifacts import make_artifact


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    registry.publish(make_artifact(), tmp_path / "registry" / "pump")
    return tmp_path / "registry" / "pump"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a complete artifact outside the registry, which must not be loaded."""
    artifacts.save(make_artifact(seed=7), tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def locations(entry: Path) -> tuple[Path | str, ...]:
    """Return a registry as a path and as a URI, which other code reads."""
    return entry, entry.as_uri()


@pytest.mark.parametrize(
    "pointer",
    [
        "../../elsewhere",
        "../..",
        "..",
        ".",
        "/etc",
        "{elsewhere}",
        "file://{elsewhere}",
        "{version}/../../../elsewhere",
        "../pump/{version}",
        "{version}\n../../elsewhere",
        "../../elsewhere\n{version}",
        "{version}\0",
        "{version}/",
        "0123456789AB",
        "",
        "a" * 100_000,
    ],
)
def test_a_pointer_is_a_version_and_leads_nowhere_else(entry: Path, elsewhere: Path, pointer: str) -> None:
    version = (entry / "current").read_text().strip()
    (entry / "current").write_text(pointer.format(version=version, elsewhere=elsewhere))
    for location in locations(entry):
        with pytest.raises(ArtifactError, match=r"is not a version \(12 hexadecimal digits\)") as caught:
            registry.open_artifact(location)
        assert len(str(caught.value)) < 500


def test_a_pointer_that_is_no_text_is_refused(entry: Path) -> None:
    (entry / "current").write_bytes(b"\xff\xfe" * 6)
    for location in locations(entry):
        with pytest.raises(ArtifactError, match="current"):
            registry.open_artifact(location)


def test_a_version_that_is_a_link_out_of_the_entry_is_refused(entry: Path, elsewhere: Path) -> None:
    version = (entry / "current").read_text().strip()
    shutil.rmtree(entry / version)
    (entry / version).symlink_to(elsewhere)
    for location in locations(entry):
        with pytest.raises(ArtifactError, match="version"):
            registry.open_artifact(location)


def test_a_version_under_another_name_is_refused(entry: Path) -> None:
    """Refuse it even if all its hashes are right: a pointer to a version gives this version or nothing."""
    version = (entry / "current").read_text().strip()
    other = registry.publish(make_artifact(seed=7), entry).version
    shutil.rmtree(entry / version)
    (entry / other).rename(entry / version)
    (entry / "current").write_text(version)
    for location in locations(entry):
        with pytest.raises(ArtifactError, match=rf"{version}.*{other}|{other}.*{version}"):
            registry.open_artifact(location)


def test_an_entry_with_a_wrong_hash_is_refused(entry: Path) -> None:
    version = (entry / "current").read_text().strip()
    weights = entry / version / manifests.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    for location in locations(entry):
        with pytest.raises(ArtifactError, match=r"model\.safetensors: content does not match its hash"):
            registry.open_artifact(location)


class Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._mark),)


def test_a_pickled_file_beside_the_artifact_s_own_is_never_opened(entry: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    version = (entry / "current").read_text().strip()
    for name in ("model.pkl", "model.pt", "pytorch_model.bin", "data.pkl", "__init__.py", "sitecustomize.py"):
        for directory in (entry, entry / version):
            (directory / name).write_bytes(pickle.dumps(Trap(mark)))
    for location in locations(entry):
        registry.open_artifact(location)
    assert not mark.exists()
    pickle.loads((entry / "model.pkl").read_bytes())  # the trap would have worked
    assert mark.exists()


@pytest.mark.parametrize("name", [manifests.WEIGHTS, manifests.CALIBRATION, manifests.HELD_OUT])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_in_the_place_of_a_file_is_refused_and_not_run(
    entry: Path, tmp_path: Path, name: str, form: str
) -> None:
    """The hashes are right, because an attacker who can write the artifact can write these too."""
    mark, version = tmp_path / "executed", (entry / "current").read_text().strip()
    path = entry / version / name
    if form == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark)))
    else:
        torch.save({"weights": Trap(mark)}, path)
    resigned = _resign(entry / version, name)
    with pytest.raises(ArtifactError, match=rf"{name}: (damaged|cannot be read as weights)"):
        registry.open_artifact(resigned)
    assert not mark.exists()


def _resign(directory: Path, name: str) -> Path:
    """Correct the hash and version for the changed file; return the directory, named after the version."""
    manifest = json.loads((directory / manifests.MANIFEST).read_text())
    manifest.pop("version")
    manifest["files"][name] = manifests.sha256_of((directory / name).read_bytes())
    version = manifests.version_of(manifest)
    (directory / manifests.MANIFEST).write_text(json.dumps({"version": version, **manifest}))
    return directory.rename(directory.parent / version)


@pytest.mark.parametrize("listed", ["../../secret", "/etc/passwd", "model.pkl"])
def test_a_manifest_cannot_name_other_files(entry: Path, listed: str) -> None:
    version = (entry / "current").read_text().strip()
    path = entry / version / manifests.MANIFEST
    manifest = json.loads(path.read_text())
    manifest.pop("version")
    manifest["files"][listed] = "0" * 64
    path.write_text(json.dumps({"version": manifests.version_of(manifest), **manifest}))
    with pytest.raises(ArtifactError, match="its list of files is wrong; restore or retrain it"):
        registry.open_artifact(entry / version)
