"""Looking for a new model: what is taken, what is refused, and when it is tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detector.artifact.description.manifest import MANIFEST
from detector.artifact.description.place import fingerprint_of
from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact, Spec
from detector.artifact.storage import load
from detector.errors import ArtifactError
from detector.service.reload.model_watcher import ModelWatcher, check_compatible
from detector.service.reload.reload_counts import ReloadCounts
from tests.support.artifacts import make_artifact


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(), tmp_path / "pump")
    return tmp_path / "pump"


def watching(location: Path | str) -> ModelWatcher[Artifact]:
    return ModelWatcher(str(location), 0, open_artifact(location), lambda artifact: artifact, ReloadCounts())


def num_refused(watch: ModelWatcher[Artifact]) -> int:
    return watch.counts.by_outcome["refused"]


def spec_with(**more: object) -> Spec:
    return replace(make_artifact().spec, **more)  # type: ignore[arg-type]


def test_nothing_new_is_nothing(entry: Path) -> None:
    watch = watching(entry)
    watch.look_once()
    assert watch.take() is None
    assert num_refused(watch) == 0


def test_a_new_version_is_loaded_once(entry: Path) -> None:
    watch = watching(entry)
    new = publish(make_artifact(threshold=2.0), entry)
    watch.look_once()
    watch.look_once()
    made = watch.take()
    assert made is not None
    assert made.version == new.version
    assert watch.take() is None


def test_a_version_that_is_taken_back_before_it_was_used_is_not_used(entry: Path) -> None:
    watch = watching(entry)
    old = (entry / "current").read_text()
    publish(make_artifact(threshold=2.0), entry)
    watch.look_once()
    (entry / "current").write_text(old)
    watch.look_once()
    made = watch.take()
    assert made is not None
    assert made.version == old.strip()


@pytest.mark.parametrize("as_uri", [False, True])
def test_a_version_replaced_in_its_place_is_noticed(tmp_path: Path, entry: Path, as_uri: bool) -> None:
    place = tmp_path / "one"
    (entry / (entry / "current").read_text().strip()).rename(place)
    watch = watching(f"file://{place}" if as_uri else place)
    watch.look_once()
    assert watch.take() is None
    new = publish(make_artifact(threshold=2.0), entry)
    (place / MANIFEST).unlink()
    for file in (entry / new.version).iterdir():
        file.replace(place / file.name)
    watch.look_once()
    made = watch.take()
    assert made is not None
    assert made.version == load(place).version == new.version


def test_what_is_refused_is_not_tried_again_at_each_look_but_when_asked_and_when_it_is_repaired(
    entry: Path,
) -> None:
    watch = watching(entry)
    new = publish(make_artifact(threshold=2.0), entry)
    manifest = entry / new.version / MANIFEST
    content = manifest.read_bytes()
    manifest.write_bytes(content[:100])
    for _ in range(5):
        watch.look_once()
    assert num_refused(watch) == 1
    watch.look_once(was_asked=True)
    assert num_refused(watch) == 2
    manifest.write_bytes(content)
    watch.look_once()
    assert watch.take() is None
    watch.look_once(was_asked=True)
    assert watch.take() is not None
    assert num_refused(watch) == 2


def test_a_registry_that_is_away_is_no_refusal(entry: Path, tmp_path: Path) -> None:
    watch = watching(entry)
    entry.rename(tmp_path / "away")
    watch.look_once()
    (tmp_path / "away").rename(entry)
    new = publish(make_artifact(threshold=2.0), entry)
    watch.look_once()
    made = watch.take()
    assert made is not None
    assert made.version == new.version
    assert num_refused(watch) == 0


def test_only_what_the_series_can_go_on_with_is_compatible() -> None:
    running = make_artifact().spec
    for fine in (make_artifact(window=12), make_artifact(("a", "b")), make_artifact(stride=2)):
        check_compatible(running, fine.spec)
    with pytest.raises(ArtifactError, match="restart the daemon to use another model"):
        check_compatible(running, spec_with(name="valve"))
    with pytest.raises(ArtifactError, match="rows are 2 s long, those of the running model 1 s"):
        check_compatible(running, spec_with(interval_ns=2 * 10**9))


def test_a_pointer_leads_to_nowhere_but_a_version(entry: Path) -> None:
    (entry / "current").write_text("../../etc")
    with pytest.raises(ArtifactError, match="is not a version"):
        fingerprint_of(entry)
    watch = ModelWatcher(str(entry), 0, make_artifact(), lambda artifact: artifact, ReloadCounts())
    watch.look_once()
    assert watch.take() is None
