"""The journal of a model, and what stands in its registry: candidates, the current one, those before."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.description.place import current_of
from detector.artifact.registry import open_artifact, propose, publish
from detector.artifact.spec import Artifact
from detector.errors import ArtifactError
from detector.journal import FILE, Event, Note, append, locked, read_journal
from detector.lifecycle import moves
from detector.lifecycle.moves import promote, remove, roll_back
from detector.lifecycle.versions import in_use, registered
from tests.support.artifacts import make_artifact

AT = "2026-01-01T00:00:00.000Z"
MOVES = st.lists(st.tuples(st.sampled_from(["promoted", "rolled back"]), st.sampled_from("abcd")))


def three(entry: Path) -> list[str]:
    """Three versions that were promoted one after the other."""
    return [publish(make_artifact(seed=seed), entry, Note("ann", f"try {seed}")).version for seed in range(3)]


def test_the_first_version_is_in_use_and_later_ones_are_candidates(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first = propose(make_artifact(), entry, Note("ann", "a start", {"rows": 7})).version
    second = propose(make_artifact(seed=1), entry, Note("bob", "more flow")).version
    assert open_artifact(entry).version == first
    found = registered(entry)
    assert {one.name: one.standing for one in found.versions} == {first: "current", second: "candidate"}
    events = [(one.action, one.version, one.who, one.why) for one in found.journal.events]
    assert events == [
        ("published", first, "ann", "a start"),
        ("promoted", first, "ann", "the first version of this name"),
        ("published", second, "bob", "more flow"),
    ]
    assert found.journal.events[0].figures == {"rows": 7}


def test_a_version_that_is_proposed_twice_is_recorded_once(tmp_path: Path) -> None:
    for _ in range(2):
        propose(make_artifact(), tmp_path / "pump")
        propose(make_artifact(seed=1), tmp_path / "pump")
    actions = [one.action for one in read_journal(tmp_path / "pump").events]
    assert actions == ["published", "promoted", "published"]


def test_rolling_back_goes_from_version_to_version_to_the_first(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, second, third = three(entry)
    assert roll_back(entry) == (third, second)
    assert roll_back(entry) == (second, first)
    with pytest.raises(ArtifactError, match="does not know which version was in use before; name one of"):
        roll_back(entry)
    assert roll_back(entry, third[:6]) == (first, third)
    assert current_of(entry) == third


def test_a_registry_without_a_journal_is_read_and_rolled_back_by_name(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, second, third = three(entry)
    (entry / FILE).unlink()
    for at, name in enumerate((first, second, third)):
        os.utime(entry / name / "artifact.json", (1e9 + at, 1e9 + at))
    found = registered(entry)
    assert [one.name for one in found.versions] == [third, second, first]
    assert [one.standing for one in found.versions] == ["current", "candidate", "candidate"]
    with pytest.raises(ArtifactError, match=f"name one of: {second}, {first}"):
        roll_back(entry)
    assert roll_back(entry, first) == (third, first)
    assert roll_back(entry) == (first, third), "from now on the journal knows"


def test_a_pointer_that_was_moved_by_hand_is_known_from_the_next_event(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, _, third = three(entry)
    (entry / "current").write_text(first + "\n")
    assert registered(entry).before() == third
    fourth = publish(make_artifact(seed=3), entry).version
    assert read_journal(entry).events[-1].before == first
    assert roll_back(entry) == (fourth, first)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_move_that_was_recorded_and_not_made_is_no_way_to_roll_back(tmp_path: Path, goes_on: bool) -> None:
    entry = tmp_path / "pump"
    first, second = (publish(make_artifact(seed=seed), entry).version for seed in range(2))
    never = propose(make_artifact(seed=2), entry).version
    with locked(entry):
        append(entry, "promoted", never, second)  # the process was killed before it moved the pointer
    assert {one.name: one.standing for one in registered(entry).versions}[never] == "candidate"
    if goes_on:
        fourth = publish(make_artifact(seed=3), entry).version
        assert roll_back(entry) == (fourth, second)
    assert registered(entry).before() == first
    assert roll_back(entry) == (second, first)
    promote(entry, never, first)
    assert roll_back(entry) == (never, first), "the move that was made counts"


def test_the_version_in_use_is_never_removed_and_others_leave_only_their_record(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, second, third = three(entry)
    with pytest.raises(ArtifactError, match=f"{third} is the current version"):
        remove(entry, third)
    remove(entry, second, Note("ann", "too many alarms"))
    assert {path.name for path in entry.iterdir() if path.is_dir()} == {first, third}
    assert read_journal(entry).about(second)[-1].why == "too many alarms"
    assert roll_back(entry) == (third, first), "a removed version is passed over"
    again = propose(make_artifact(seed=1), entry).version
    assert again == second
    assert read_journal(entry).about(second)[-1].action == "published"


def test_a_promotion_that_was_decided_on_another_version_is_refused(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, _, third = three(entry)
    with pytest.raises(ArtifactError, match=f"somebody made {third} the current version in the meantime"):
        promote(entry, first, expected=first)
    assert current_of(entry) == third


def test_a_version_that_is_removed_while_it_is_promoted_does_not_become_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tmp_path / "pump"
    first, second, third = three(entry)

    @contextmanager
    def after_a_removal(place: Path) -> Iterator[None]:
        shutil.rmtree(place / first)  # another process had the lock before, after this one had loaded it
        with locked(place):
            yield

    monkeypatch.setattr(moves, "locked", after_a_removal)
    with pytest.raises(ArtifactError, match=f"somebody removed {first} in the meantime"):
        promote(entry, first, third)
    assert current_of(entry) == third
    monkeypatch.undo()
    assert roll_back(entry) == (third, second)


def test_a_pointer_at_a_version_that_is_gone_is_repaired_by_a_rollback_or_a_promotion(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, second, third = three(entry)
    shutil.rmtree(entry / third)
    found = registered(entry)
    assert (found.current, found.pointer) == (None, third)
    assert roll_back(entry) == (third, second)
    shutil.rmtree(entry / second)
    promote(entry, first, registered(entry).pointer)
    assert open_artifact(entry).version == first


@pytest.mark.parametrize("damage", ["weights", "description", "exchanged"])
@pytest.mark.parametrize("verb", [propose, publish])
def test_a_version_that_is_published_again_replaces_its_damaged_copy(
    tmp_path: Path, damage: str, verb: Callable[[Artifact, Path], Artifact]
) -> None:
    entry = tmp_path / "pump"
    version, other = (publish(make_artifact(seed=seed), entry).version for seed in (1, 0))
    publish(make_artifact(seed=1), entry)
    if damage == "weights":
        (entry / version / "model.safetensors").write_bytes(b"no")
    elif damage == "description":
        (entry / version / "artifact.json").unlink()
    else:
        shutil.rmtree(entry / version)
        shutil.copytree(entry / other, entry / version)
    with pytest.raises(ArtifactError):
        open_artifact(entry)
    assert verb(make_artifact(seed=1), entry).version == version
    assert open_artifact(entry).version == version
    assert [path.name for path in entry.iterdir() if ".new" in path.name] == []


def test_a_damaged_version_never_becomes_the_current_one(tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    first, _, third = three(entry)
    (entry / first / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="does not match its hash"):
        roll_back(entry, first)
    assert current_of(entry) == third


def test_places_without_a_model_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model there: .*streamgauge train DATA --out"):
        registered(tmp_path / "pump")
    version = publish(make_artifact(), tmp_path / "pump").version
    with pytest.raises(ArtifactError, match="is one version; give its registry entry"):
        registered(tmp_path / "pump" / version)
    with pytest.raises(ArtifactError, match=f"there is no version 'ffff'; there are: {version}"):
        registered(tmp_path / "pump").find("ffff")


@given(
    st.lists(st.tuples(st.text(), st.dictionaries(st.text(), st.integers() | st.text())), min_size=1),
    st.data(),
)
def test_a_journal_that_was_cut_anywhere_loses_the_last_line_at_most(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[str, dict[str, object]]], data: st.DataObject
) -> None:
    entry = tmp_path_factory.mktemp("pump")
    with locked(entry):
        written = [append(entry, "published", "a", "", Note("ann", why, kept)) for why, kept in notes]
    assert read_journal(entry).events == tuple(written)
    content = (entry / FILE).read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1 if content.count(b"\n") > 1 else 0
    (entry / FILE).write_bytes(content[: data.draw(st.integers(last, len(content) - 2))])
    with locked(entry):
        added = append(entry, "promoted", "b", "a")
    assert read_journal(entry).events == (*written[:-1], added)


@given(st.binary())
def test_no_bytes_of_a_journal_stop_its_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    entry = tmp_path_factory.mktemp("pump")
    (entry / FILE).write_bytes(content + b"\n" + json.dumps({"action": "promoted"}).encode() + b"\n")
    found = read_journal(entry)
    assert found.events == ()
    assert found.num_damaged >= 1


@given(MOVES)
def test_the_way_to_the_current_version_has_each_version_once_and_ends_there(
    moves: list[tuple[str, str]],
) -> None:
    events, current = [], ""
    for action, version in moves:
        events.append(Event(action, version, current, AT))  # type: ignore[arg-type]
        current = version
    way = in_use(events)
    assert len(way) == len(set(way))
    assert (way[-1] if way else "") == current
    if way:
        back = in_use([*events, Event("rolled back", way[0], current, AT)])
        assert back == way[:1]
