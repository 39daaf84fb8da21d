"""A model on object storage: what commands add is written back whole, and of two at once one counts."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.objects.names import below
from connectors.objects.objects import Objects
from detector.artifact.description.described import described_artifact
from detector.artifact.description.place import fingerprint_of
from detector.artifact.registry import open_artifact, propose, publish
from detector.artifact.stored import event_names
from detector.artifact.stored.event_names import EventName, names_of, pointer_of, removed_of
from detector.calibration.feedback import OPINIONS, Feedback, add_feedback
from detector.calibration.stored_feedback import feedback_at
from detector.errors import ArtifactError, DetectorError
from detector.journal import Note
from detector.lifecycle.moves import promote, record, remove, roll_back
from detector.lifecycle.versions import Registered, registered, waiting_at
from detector.lifecycle.working_copy import Pushed, WorkingCopy
from tests.support.artifacts import make_artifact

FIRST, SECOND, THIRD = (make_artifact(seed=seed) for seed in range(3))


class Killed(BaseException):
    """The process ends here, and runs nothing more."""


@pytest.fixture
def copied(uri: str) -> Iterator[Callable[[], WorkingCopy]]:
    """Copy the entry as a process of its own would, with all files of all versions."""
    with tempfile.TemporaryDirectory() as scratch:
        number = count()

        def copy() -> WorkingCopy:
            made = WorkingCopy(Objects(uri), Path(scratch, str(next(number)), "pump"))
            made.fetch(path.name for path in made.entry.iterdir())
            return made

        yield copy


def kept(copied: Callable[[], WorkingCopy], change: Callable[[Path], object]) -> Pushed:
    """Make a change of a copy, and write it back."""
    copy = copied()
    change(copy.entry)
    return copy.push()


def seen(copied: Callable[[], WorkingCopy]) -> Registered:
    return registered(copied().entry)


def three(copied: Callable[[], WorkingCopy]) -> tuple[str, str, str]:
    """Publish three versions; the first is in use."""
    for one in (FIRST, SECOND, THIRD):
        kept(copied, lambda entry, one=one: propose(one, entry, Note("ann", "a start")))  # type: ignore[misc]
    found = seen(copied)
    return tuple(one.events[0].version for one in reversed(found.versions))  # type: ignore[return-value]


def test_a_model_on_object_storage_has_the_life_of_one_in_a_directory(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    first, second, third = three(copied)
    assert open_artifact(uri).version == described_artifact(uri).version == first
    assert open_artifact(below(uri, second)).version == second
    assert [one.name for one in waiting_at(uri)] == [third, second]
    kept(copied, lambda entry: promote(entry, second, first, Note("bob", "better")))
    assert (open_artifact(uri).version, fingerprint_of(uri)) == (second, second)
    assert [one.name for one in waiting_at(uri)] == [third]
    kept(copied, lambda entry: record(entry, "refused", third, Note("bob", "too many alarms")))
    kept(copied, roll_back)
    assert open_artifact(uri).version == first
    kept(copied, lambda entry: remove(entry, third, Note("ann", "never")))
    found = seen(copied)
    assert {one.name: one.standing for one in found.versions} == {first: "current", second: "former"}
    assert [one.action for one in found.journal.events] == [
        *("published", "promoted", "published", "published", "promoted", "refused", "rolled back", "removed")
    ]
    assert [one.before for one in found.journal.events][-4:] == [first, second, second, first]
    assert not [name for name in Objects(uri).list("") if name.startswith(third)]
    assert found.journal.num_damaged == 0


def test_an_entry_that_was_copied_there_from_a_directory_is_used_and_goes_on(
    uri: str, copied: Callable[[], WorkingCopy], tmp_path: Path
) -> None:
    entry = tmp_path / "pump"
    first = propose(FIRST, entry, Note("ann", "a start")).version
    second = propose(SECOND, entry).version
    for path in entry.rglob("*"):
        if path.is_file():
            Objects(uri).upload(path, path.relative_to(entry).as_posix())
    assert open_artifact(uri).version == first
    assert [one.name for one in waiting_at(uri)] == [second]
    kept(copied, lambda entry: promote(entry, second, first))
    assert open_artifact(uri).version == second
    assert [one.action for one in seen(copied).journal.events][-1] == "promoted"
    assert seen(copied).before() == first


@pytest.mark.parametrize("verb", [propose, publish])
def test_a_publisher_that_is_killed_at_any_step_leaves_a_whole_registry(
    uri: str, copied: Callable[[], WorkingCopy], verb: Callable[..., object]
) -> None:
    kept(copied, lambda entry: propose(FIRST, entry))
    first = open_artifact(uri).version
    for steps in count():
        copy, left = copied(), count()
        verb(SECOND, copy.entry)

        def step(name: str, left: Iterator[int] = left, steps: int = steps) -> None:
            if next(left) == steps:
                raise Killed

        try:
            copy.push(step)
        except Killed:
            found = seen(copied)
            assert all(open_artifact(below(uri, one.name)).version == one.name for one in found.versions)
            assert open_artifact(uri).version == first
        else:
            break
    assert steps > 5, "files, and at least one event"
    found = seen(copied)
    assert len(found.versions) == 2
    assert (found.pointer == first) == (verb is propose)
    moves = [one for one in found.journal.events if one.action == "promoted"]
    assert len(moves) == (1 if verb is propose else 2)


def test_what_was_moved_in_the_meantime_stays_and_the_later_one_is_told(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    first, second, third = three(copied)
    late = copied()
    promote(late.entry, third, first)
    kept(copied, lambda entry: promote(entry, second, first))
    with pytest.raises(ArtifactError, match=f"made {second} the current version in the meantime"):
        late.push()
    assert open_artifact(uri).version == second


def test_of_two_first_versions_one_is_in_use_and_the_other_a_candidate(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    late = copied()
    second = propose(SECOND, late.entry).version
    assert kept(copied, lambda entry: propose(FIRST, entry)).was_first
    assert not late.push().was_first
    found = seen(copied)
    assert found.pointer != second
    assert [one.name for one in found.candidates] == [second]


@pytest.mark.parametrize("inner", ["00000000", "ffffffff"])
def test_of_two_moves_at_the_same_moment_the_higher_name_counts_and_one_of_them_knows(
    uri: str, copied: Callable[[], WorkingCopy], inner: str
) -> None:
    """The other process writes between the look and the write of ours."""
    first, second, third = three(copied)
    ours, write = copied(), Objects.write

    def after_the_other(objects: Objects, name: str, content: bytes) -> None:
        with (
            mock.patch.object(Objects, "write", write),
            mock.patch.object(event_names.secrets, "token_hex", return_value=inner),
        ):
            kept(copied, lambda entry: promote(entry, second, first, Note("bob")))
        write(objects, name, content)

    promote(ours.entry, third, first)
    with mock.patch.object(Objects, "write", after_the_other):
        if inner == "ffffffff":
            with pytest.raises(
                ArtifactError, match=f"made {second} the current version.* at the same moment"
            ):
                ours.push()
        else:
            assert [(one.who, one.version) for one in ours.push().replaced] == [("bob", second)]
    assert open_artifact(uri).version == (second if inner == "ffffffff" else third)


def test_a_version_that_comes_into_use_while_it_is_removed_stays(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    first, second, _ = three(copied)
    ours, write = copied(), Objects.write
    others = copied()
    promote(others.entry, second, first)

    def after_the_other(objects: Objects, name: str, content: bytes) -> None:
        with mock.patch.object(Objects, "write", write):
            others.push()
        write(objects, name, content)

    remove(ours.entry, second)
    with (
        mock.patch.object(Objects, "write", _once(after_the_other, write)),
        pytest.raises(ArtifactError, match=f"made {second} the current version at the same moment"),
    ):
        ours.push()
    assert open_artifact(uri).version == second


@pytest.mark.objects
@pytest.mark.parametrize("uri", ["s3"], indirect=True)
def test_opinions_at_a_uri_are_read_for_the_entry_and_for_a_version(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    kept(copied, lambda entry: propose(FIRST, entry))
    said = [
        Feedback("a", opinion, "pump-1", "2026-01-01T00:00:00Z", "v", 3.0) for opinion in reversed(OPINIONS)
    ]
    for one in said:
        kept(copied, lambda entry, one=one: add_feedback(entry, one))  # type: ignore[misc]
    version = open_artifact(uri).version
    assert feedback_at(uri) == feedback_at(below(uri, version)) == (said[1],)
    Objects(uri).write("feedback/99999999.0a1b2c3d.jsonl", b"{")
    with pytest.raises(DetectorError, match="feedback, line 3: damaged"):
        feedback_at(uri)


@pytest.mark.parametrize("verb", [propose, publish])
def test_a_version_that_is_published_while_it_is_deleted_stays_whole(
    uri: str, copied: Callable[[], WorkingCopy], verb: Callable[..., object]
) -> None:
    """The other process publishes between a look of ours and the deletion of a file, of each file once."""
    first, second, _ = three(copied)
    plain = Objects.remove
    for at in range(len(Objects(uri).list(second))):
        left = count()

        def after_the_other(objects: Objects, name: str, left: Iterator[int] = left, at: int = at) -> None:
            if next(left) == at:
                assert second in removed_of(names_of(Objects(uri).list("journal")))
                kept(copied, lambda entry: verb(SECOND, entry))
            plain(objects, name)

        if open_artifact(uri).version == second:
            kept(copied, roll_back)
        ours = copied()
        remove(ours.entry, second)
        with (
            mock.patch.object(Objects, "remove", after_the_other),
            pytest.raises(ArtifactError, match=f"{second}.* at the same moment"),
        ):
            ours.push()
        assert next(left) == at + 1, "no file is deleted after that"
        assert open_artifact(below(uri, second)).version == second
        assert open_artifact(uri).version == (first if verb is propose else second)
        assert second in {one.name for one in seen(copied).versions}


def test_a_version_whose_removal_was_cut_off_is_published_again_with_all_its_files(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    _, second, _ = three(copied)
    ours = copied()
    remove(ours.entry, second)
    with mock.patch.object(Objects, "remove", side_effect=Killed), pytest.raises(Killed):
        ours.push()
    late, files = copied(), Objects(uri).list(second)
    propose(SECOND, late.entry)
    for name in files:  # the one that was cut off goes on
        Objects(uri).remove(name)
    late.push()
    assert Objects(uri).list(second) == files
    assert open_artifact(below(uri, second)).version == second


def test_a_version_whose_files_went_before_its_event_was_written_gets_them_again(
    uri: str, copied: Callable[[], WorkingCopy]
) -> None:
    first, second, _ = three(copied)
    late, write = copied(), Objects.write
    promote(late.entry, second, first)

    def after_the_files_went(objects: Objects, name: str, content: bytes) -> None:
        for file in Objects(uri).list(second):
            Objects(uri).remove(file)
        write(objects, name, content)

    with mock.patch.object(Objects, "write", after_the_files_went):
        late.push()
    assert open_artifact(uri).version == second


def _once(first: Callable[..., None], later: Callable[..., None]) -> Callable[..., None]:
    """A method that calls `first`, and from then on `later`."""
    calls = iter([first])

    def call(objects: Objects, name: str, content: bytes) -> None:
        next(calls, later)(objects, name, content)

    return call


@given(
    st.lists(st.tuples(st.sampled_from(["published", "promoted", "removed"]), st.integers(0, 3)), max_size=12)
)
def test_what_is_current_depends_on_the_names_alone_and_was_not_removed(
    events: list[tuple[str, int]],
) -> None:
    names = [
        EventName(at, f"{at % 3:08x}", action, f"{version:012x}")
        for at, (action, version) in enumerate(events)
    ]
    shuffled = [one.path for one in random.Random(len(events)).sample(names, len(names))]
    found = names_of([*shuffled, "journal/half.json", "8546cced512f/artifact.json"])
    assert list(found) == names
    current = pointer_of(found)
    moved = {one.version for one in names if one.action == "promoted"} - removed_of(found)
    assert (current in moved) if moved else current is None


def test_a_damaged_event_is_counted_and_the_rest_is_read(uri: str, copied: Callable[[], WorkingCopy]) -> None:
    first, *_ = three(copied)
    (name,) = [one.path for one in names_of(Objects(uri).list("journal")) if one.number == 3]
    Objects(uri).write(name, json.dumps({"action": "published"}).encode())
    found = seen(copied)
    assert (found.pointer, found.journal.num_damaged, len(found.journal.events)) == (first, 1, 3)
