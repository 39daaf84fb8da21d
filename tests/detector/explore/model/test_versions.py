"""The versions of a registry: which there are, and what differs from the one that judged."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detector.artifact.description.manifest import MANIFEST
from detector.artifact.registry import propose, publish
from detector.artifact.spec import Artifact
from detector.explore.model.versions import versions_json
from detector.journal import Note
from tests.support.sines import linear_artifact


def changed(value: float, **more: Any) -> Artifact:
    """The linear model with another threshold."""
    spec = linear_artifact().spec
    return replace(
        linear_artifact(), spec=replace(spec, threshold=replace(spec.threshold, value=value), **more)
    )


@pytest.fixture
def entry(tmp_path: Path) -> tuple[Path, list[str]]:
    """Three versions, the newest is current; the times of their files are those of their order."""
    place = tmp_path / "models" / "pump"
    published = (
        publish(changed(1.5), place),
        publish(changed(2.5), place),
        publish(changed(2.5, stride=2), place),
    )
    names = [one.version for one in published]
    (place / "journal.jsonl").unlink()  # as a registry of an older release: the times are those of the files
    for at, name in enumerate(names):
        for file in (place / name).iterdir():
            os.utime(file, (1_000_000 + at, 1_000_000 + at))
    return place, names


def test_versions_are_listed_newest_first_with_what_differs(entry: tuple[Path, list[str]]) -> None:
    place, (first, second, third) = entry
    found = versions_json(str(place), second)
    assert [one["version"] for one in found] == [third, second, first]
    assert [(one["is_current"], one["is_shown"]) for one in found] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert [one["written"] for one in found] == [1_000_002_000, 1_000_001_000, 1_000_000_000]
    assert found[1]["differences"] == []
    assert found[2]["differences"] == [{"path": "threshold.value", "shown": "2.5", "other": "1.5"}]
    stride = linear_artifact().spec.stride
    assert found[0]["differences"] == [{"path": "stride", "shown": str(stride), "other": "2"}]


def test_the_standing_of_a_version_is_named(tmp_path: Path) -> None:
    place = tmp_path / "pump"
    former, current = (publish(changed(value), place).version for value in (1.5, 2.5))
    candidate = propose(changed(3.5), place, Note(why="more flow")).version
    found = {one["version"]: one for one in versions_json(str(place), current)}
    assert {name: one["standing"] for name, one in found.items()} == {
        former: "former",
        current: "current",
        candidate: "candidate",
    }
    assert found[candidate]["why"] == "more flow"


def test_a_directory_of_a_version_finds_its_siblings(entry: tuple[Path, list[str]]) -> None:
    place, names = entry
    assert versions_json(str(place / names[0]), names[0]) == versions_json(str(place), names[0])


def test_long_lists_are_only_said_to_differ(entry: tuple[Path, list[str]]) -> None:
    place, names = entry
    absent = {f"pump-{at}": ("flow",) for at in range(3)} | {
        "long": tuple(f"channel-{at}" for at in range(40))
    }
    absent = {
        name: tuple(one for one in known if one == "flow") or ("flow", "pressure")
        for name, known in absent.items()
    }
    version = publish(changed(2.5, absent=absent), place).version
    differences = next(one for one in versions_json(str(place), names[1]) if one["version"] == version)[
        "differences"
    ]
    assert {one["path"] for one in differences} == {f"absent.{name}" for name in absent}
    assert all(one["shown"] == "none" for one in differences)


def test_where_there_is_nothing_to_compare_the_list_is_empty(
    entry: tuple[Path, list[str]], tmp_path: Path
) -> None:
    place, names = entry
    assert versions_json("s3://bucket/models/pump", names[0]) == []
    assert versions_json(str(place), "0123456789ab") == []  # the version that judged is gone
    (place / ".scratch.new").mkdir()
    shutil.copy(place / names[0] / MANIFEST, place / ".scratch.new")
    assert len(versions_json(str(place), names[0])) == 3  # what is being written is no version
    for name in names[1:]:
        shutil.rmtree(place / name)
    assert versions_json(str(place), names[0]) == []
