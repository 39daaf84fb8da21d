"""A copy of a model on object storage: commands change the copy, and what they added is written back.

Everything that changes a registry works on a directory. For a URI this is a copy. It has the journal, the
pointer, the descriptions of all versions, and opinions. It has the files of those versions that a command
needs. What a command added is written back in an order in which each step leaves a whole registry:

    1. the files of new versions, the description of each as the last one
    2. opinions, and what is left out of trainings
    3. the events, one after the other; with a move, the version is in use

What two processes at once do is decided by the names of their events (see `artifact.stored.event_names`).
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from connectors.objects.objects import Objects
from detector.artifact import storage as artifacts
from detector.artifact.description.manifest import MANIFEST, WEIGHTS
from detector.artifact.stored.event_names import (
    FOLDER,
    MOVES,
    EventName,
    names_of,
    next_name,
    pointer_of,
    removed_of,
)
from detector.artifact.stored.stored import POINTER, download, manifests_of, pointer_at, read_all
from detector.errors import ArtifactError
from detector.journal import FILE, FIRST, Event, event_at, read_journal
from detector.lifecycle.stored_removal import complete, delete, files_of

_LINES = {"feedback": "feedback.jsonl"}
_WHOLE = ("left_out.json", "kind.json")
OnStep = Callable[[str], None]


def _ignore(step: str) -> None:
    """Follow nothing."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """Hold what became of what was written back.

    replaced   moves of others at the same moment; ours counts
    was_first  False: a version was to be used as the first one of its name, and another one was first. It is
               published, and what the command printed of it is wrong
    """

    replaced: tuple[Event, ...] = ()
    was_first: bool = True


@dataclass(frozen=True, slots=True)
class _Base:
    """What the copy held when it was made."""

    written: Mapping[str, float]
    names: tuple[EventName, ...]
    pointer: str | None
    num_events: int
    num_lines: Mapping[str, int]
    whole: Mapping[str, bytes]


class WorkingCopy:
    """The copy of one model. Belongs to one thread.

    Args:
        objects: of the entry.
        entry: the directory of the copy; it is made.

    Raises:
        ObjectsError: the store cannot be read.
    """

    def __init__(self, objects: Objects, entry: Path) -> None:
        self.entry, self._objects = entry, objects
        self._fetched: set[str] = set()
        entry.mkdir(parents=True)
        written = objects.written("")
        names = names_of(written)
        pointer = pointer_at(objects, names)
        gone = removed_of(names)
        versions = {one: at for one, at in manifests_of(written).items() if one not in gone}
        download(objects, {f"{one}/{MANIFEST}": at for one, at in versions.items()}, entry)
        if pointer is not None:
            (entry / POINTER).write_text(f"{pointer}\n")
        self._lines(written, FOLDER, FILE, [one.path for one in names])
        for folder, file in _LINES.items():
            self._lines(written, folder, file, sorted(one for one in written if one.startswith(f"{folder}/")))
        download(objects, {one: written[one] for one in _WHOLE if one in written}, entry)
        self._base = _Base(
            written,
            names,
            pointer,
            len(read_journal(entry).events),
            {file: len(_lines_of(entry / file)) for file in _LINES.values()},
            self._whole(),
        )

    def fetch(self, versions: Iterable[str]) -> None:
        """Make the copy of these versions complete; names that are no versions are passed over."""
        wanted = {one for one in versions if (self.entry / one / MANIFEST).exists()} - self._fetched
        files = {
            name: at
            for name, at in self._base.written.items()
            if name.partition("/")[0] in wanted and not name.endswith(f"/{MANIFEST}")
        }
        try:
            download(self._objects, files, self.entry)
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{self._objects.uri}: somebody removed a version meanwhile; try again"
            ) from error
        self._fetched |= wanted

    def push(self, on_step: OnStep = _ignore) -> Pushed:
        """Write back what was added.

        Args:
            on_step: is called before each step.

        Raises:
            ArtifactError: somebody else changed what is current in the meantime, or at the same moment, and
                that counts. Versions and what was recorded before are kept.
            ObjectsError: the store cannot be written.
        """
        for version in self._new_versions():
            self._upload(version, on_step)
        for folder, file in _LINES.items():
            added = _lines_of(self.entry / file)[self._base.num_lines[file] :]
            if added:
                on_step(file)
                name = next_name(self._base.names, folder, "")
                number = max(name.number, 1 + _last_number(self._base.written, folder))
                self._objects.write(f"{folder}/{number:08d}.{name.random}.jsonl", b"\n".join(added))
        for file, content in self._whole().items():
            if content != self._base.whole.get(file):
                on_step(file)
                self._objects.write(file, content)
        expected, replaced = self._base.pointer, list[Event]()
        for event in read_journal(self.entry).events[self._base.num_events :]:
            on_step(event.action)
            found = self._write(event, expected)
            if found is None:
                return Pushed(tuple(replaced), was_first=False)
            expected = event.version if event.action in MOVES else expected
            replaced += found
        return Pushed(tuple(replaced))

    def _new_versions(self) -> list[str]:
        """Return the versions that are complete here and were not fetched."""
        found = {path.parent.name for path in self.entry.glob(f"[!.]*/{WEIGHTS}")}
        return sorted(found - self._fetched)

    def _upload(self, version: str, on_step: OnStep) -> None:
        """Write the files of a version, unless the store has it, undamaged and not about to be deleted."""
        is_known = f"{version}/{MANIFEST}" in self._base.written and version not in removed_of(
            self._base.names
        )
        if is_known and self._is_sound(version):
            return
        for path in files_of(self.entry / version):
            on_step(path.name)
            self._objects.upload(path, path.relative_to(self.entry).as_posix())

    def _is_sound(self, version: str) -> bool:
        wanted = {name: at for name, at in self._base.written.items() if name.startswith(f"{version}/")}
        with tempfile.TemporaryDirectory(prefix="streamgauge-version-") as scratch:
            try:
                download(self._objects, wanted, Path(scratch))
                return artifacts.load(Path(scratch, version)).version == version
            except (ArtifactError, FileNotFoundError):
                return False

    def _write(self, event: Event, expected: str | None) -> list[Event] | None:
        """Write an event; return the moves of others at the same moment that it replaced.

        The first version of a name is no move if another one was first. Then None is returned.
        """
        names = names_of(self._objects.list(FOLDER))
        pointer = pointer_at(self._objects, names)
        if event.action in MOVES and pointer != expected:
            if event.why == FIRST:
                return None
            raise ArtifactError(self._moved(f"made {pointer} the current version in the meantime"))
        name = next_name(names, event.action, event.version)
        body = json.dumps(asdict(replace(event, before=pointer or ""))).encode()
        self._objects.write(name.path, body)
        settled = self._settled(name, names, event.why == FIRST) if event.action in MOVES else []
        if event.action in ("published", *MOVES) and (self.entry / event.version / WEIGHTS).exists():
            complete(self._objects, self.entry / event.version)  # somebody may have deleted it meanwhile
        if event.action == "removed":
            what = delete(self._objects, event.version, names, event.at)
            if what:
                raise ArtifactError(self._moved(f"{what} at the same moment"))
        return settled

    def _settled(self, mine: EventName, before: Sequence[EventName], is_first: bool) -> list[Event] | None:
        """Look again after a move. If another counts, raise ArtifactError; return None for a first one."""
        names = names_of(self._objects.list(FOLDER))
        pointer = pointer_of(names)
        if pointer != mine.version and is_first:
            return None
        if pointer != mine.version:
            raise ArtifactError(
                self._moved(
                    f"made {pointer} the current version, or removed {mine.version}, at the same moment"
                )
            )
        met = [one for one in names if one not in before and one != mine and one.action in MOVES]
        found = [event_at(content) for content in read_all(self._objects, [one.path for one in met])]
        return [one for one in found if one is not None]

    def _moved(self, what: str) -> str:
        return (
            f"{self._objects.uri}: somebody {what}; look at `streamgauge models list"
            f" '{self._objects.uri}'` and decide again"
        )

    def _lines(self, written: Mapping[str, float], folder: str, file: str, names: Sequence[str]) -> None:
        """Make a file of lines from the objects of a folder, after those of a file that was copied there."""
        contents = read_all(self._objects, [*((file,) if file in written else ()), *names])
        lines = [line for content in contents for line in content.split(b"\n") if line.strip()]
        if lines:
            (self.entry / file).write_bytes(b"\n".join(lines) + b"\n")

    def _whole(self) -> dict[str, bytes]:
        return {one: (self.entry / one).read_bytes() for one in _WHOLE if (self.entry / one).exists()}


def _last_number(written: Iterable[str], folder: str) -> int:
    """Return the highest number in the names of a folder, 0 if there is none."""
    found = (re.fullmatch(rf"{folder}/(\d{{8,}})\.[0-9a-f]{{8}}\.jsonl", one) for one in written)
    return max((int(one[1]) for one in found if one), default=0)


def _lines_of(path: Path) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError):
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]
    return []
