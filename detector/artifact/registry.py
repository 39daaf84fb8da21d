"""Publish models in a registry, and open them.

    REGISTRY/NAME/<version>/   an artifact (see `detector.artifact.storage`)
    REGISTRY/NAME/current      the version to use, one line of text, replaced atomically
    REGISTRY/NAME/journal.jsonl  who changed what, when and why (see `detector.journal`)

An entry is REGISTRY/NAME: one model with its versions and a pointer to the current one. A version that the
pointer does not name is a candidate, or was in use before. An entry may be a local path or any URI that
`pyarrow.fs` reads (s3://, gs://, ...). A remote version is copied to a local temporary directory and loaded
from there. There, events stand in place of pointer and journal (see `detector.artifact.stored`).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from detector.artifact import storage as artifacts
from detector.artifact.description.place import CURRENT, check_name, current_of, fetched, resolve
from detector.artifact.spec import Artifact
from detector.errors import ArtifactError
from detector.journal import FIRST, NOTHING, Action, Note, append, locked, read_journal

_SCRATCH = ".new"


def propose(artifact: Artifact, entry: Path, note: Note = NOTHING) -> Artifact:
    """Save a new version as a candidate. The first version of a model becomes the current one.

    Promise: a version is complete, and was loaded again as readers load it, before anything names it. Of two
    processes that publish the first version at once, one makes it current and the other is a candidate.
    Equal artifacts have equal versions: to publish one twice changes nothing, but replaces a damaged copy.

    Args:
        artifact: The model to save.
        entry: Local directory of the model in the registry; created if it does not exist.
        note: Who publishes, why, and what was measured.

    Returns:
        The artifact with its version.

    Raises:
        ArtifactError: The entry cannot be written, or readers would refuse the model.
    """
    with locked(entry):
        saved = _saved(artifact, entry, note)
        if current_of(entry) is None:
            point(entry, saved.version, "promoted", replace(note, why=FIRST, figures={}))
    return saved


def publish(artifact: Artifact, entry: Path, note: Note = NOTHING, expected: str | None = None) -> Artifact:
    """Save a new version and make it the current one, without asking the gate. For the rest see `propose`.

    Args:
        artifact, entry, note: As for `propose`.
        expected: The version that the new one was derived from; if another one is current now, nothing is
            saved. None: whatever is current is replaced.

    Raises:
        ArtifactError: As `propose`, or another process moved the pointer in the meantime.
    """
    with locked(entry):
        if expected is not None:
            check_unmoved(entry, expected)
        saved = _saved(artifact, entry, note)
        if _pointed(entry) != saved.version:
            point(entry, saved.version, "promoted", replace(note, figures={}))
    return saved


def check_unmoved(entry: Path, expected: str | None) -> None:
    """Raise ArtifactError if the pointer names another version than `expected`. The caller holds the lock."""
    current = current_of(entry)
    if current != expected:
        raise ArtifactError(
            f"{entry}: somebody made {current} the current version in the meantime; look at"
            f" `streamgauge models list {entry}` and decide again"
        )


def point(entry: Path, version: str, action: Action, note: Note = NOTHING) -> None:
    """Make a version the current one. The caller holds the lock of the entry.

    The journal has the change before it is in force, so nothing is in use that nobody recorded.

    Raises:
        ArtifactError: The entry cannot be written.
    """
    append(entry, action, version, _pointed(entry), note)
    scratch = entry / f".{CURRENT}.{os.getpid()}"
    try:
        with scratch.open("w") as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(entry / CURRENT)
    except OSError as error:
        raise ArtifactError(f"{entry}: cannot publish: {error.strerror or error}") from error


def _saved(artifact: Artifact, entry: Path, note: Note) -> Artifact:
    """Save a version, load it again, and write it into the journal. Returns the artifact with its version."""
    for left in entry.glob(f".*{_SCRATCH}*"):  # of a process that was killed: this one holds the lock
        artifacts.remove(left)
    scratch = entry / f".{os.getpid()}{_SCRATCH}"
    saved = artifacts.save(artifact, scratch)
    try:
        artifacts.load(scratch)
    except ArtifactError as error:
        artifacts.remove(scratch)
        raise ArtifactError(f"{entry}: not published, as readers would refuse the model: {error}") from error
    try:
        _keep(scratch, entry / saved.version)
    except OSError as error:
        raise ArtifactError(f"{entry}: cannot publish: {error.strerror or error}") from error
    last = [one for one in read_journal(entry).about(saved.version) if one.action in ("published", "removed")]
    if not last or last[-1].action == "removed":
        append(entry, "published", saved.version, _pointed(entry), note)
    return saved


def _keep(scratch: Path, target: Path) -> None:
    """Move a version that was just written to its place, also in place of a damaged one. Raises OSError."""
    if not target.exists():
        scratch.replace(target)
        return
    try:
        is_sound = artifacts.load(target).version == target.name
    except ArtifactError:
        is_sound = False
    if is_sound:
        artifacts.remove(scratch)
        return
    damaged = target.with_name(f".{target.name}.{os.getpid()}{_SCRATCH}")
    target.replace(damaged)
    scratch.replace(target)
    artifacts.remove(damaged)


def _pointed(entry: Path) -> str:
    """Return the version that the pointer names; empty where there is none or it is damaged."""
    try:
        return current_of(entry) or ""
    except ArtifactError:
        return ""


def open_artifact(location: str | Path) -> Artifact:
    """Load an artifact.

    Args:
        location: Directory of a version, an entry (its current version is loaded), or the URI of either.

    Raises:
        ArtifactError: It cannot be loaded. The message names the location and the fault.
    """
    text = str(location)
    if "://" not in text:
        directory = resolve(Path(text))
        artifact, path = artifacts.load(directory), str(directory)
    else:
        with tempfile.TemporaryDirectory(prefix="streamgauge-artifact-") as scratch:
            path = fetched(text, Path(scratch))
            artifact = artifacts.load(Path(scratch))
    check_name(artifact.version, path)
    return artifact


def open_named(location: str | Path, name: str | None) -> Artifact:
    """Load an artifact as `open_artifact`, and call its model `name` unless that is None."""
    artifact = open_artifact(location)
    return artifact if name is None else replace(artifact, spec=replace(artifact.spec, name=name))
