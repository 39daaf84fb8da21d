"""Make a version of a model the current one, return to the one before, or delete one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from detector.artifact import storage as artifacts
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.description.place import current_of
from detector.artifact.registry import check_unmoved, point
from detector.errors import ArtifactError
from detector.journal import NOTHING, Action, Note, append, locked
from detector.lifecycle.versions import registered


def promote(entry: Path, version: str, expected: str | None, note: Note = NOTHING) -> None:
    """Make a version the current one.

    Args:
        entry: Directory of the model in the registry.
        version: The version, complete.
        expected: The version that the pointer named when the caller decided; None: there was no pointer.
        note: Who, why, and what the gate measured.

    Raises:
        ArtifactError: The version cannot be loaded, or another process moved the pointer or removed the
            version in the meantime.
    """
    _move(entry, version, expected, "promoted", note)


def roll_back(entry: Path, version: str | None = None, note: Note = NOTHING) -> tuple[str, str]:
    """Make the version current that was in use before, or `version`.

    Returns:
        The version that was current, and the one that is.

    Raises:
        ArtifactError: The journal does not know what was in use before, or the version cannot be loaded.
    """
    found = registered(entry)
    current = found.pointer or ""
    target = found.find(version).name if version is not None else found.before()
    if target is None:
        others = ", ".join(one.name for one in found.versions if one.name != current) or "none"
        raise ArtifactError(
            f"{entry}: the journal does not know which version was in use before; name one of: {others}"
        )
    if target == current:
        raise ArtifactError(f"{entry}: {target} is the current version already")
    _move(entry, target, current or None, "rolled back", note)
    return current, target


def remove(entry: Path, version: str, note: Note = NOTHING) -> None:
    """Delete a version that is not in use. The journal keeps what it has about it.

    Raises:
        ArtifactError: It is the current one, or cannot be deleted.
    """
    with locked(entry):
        if current_of(entry) == version:
            raise ArtifactError(
                f"{entry}: {version} is the current version; promote another one or roll back first"
            )
        append(entry, "removed", version, current_of(entry) or "", note)
        gone = entry / f".{version}.{os.getpid()}.new"
        try:
            (entry / version).rename(gone)  # at once, so that no reader finds half of it
        except OSError as error:
            raise ArtifactError(f"{entry / version}: cannot be deleted: {error.strerror or error}") from error
        artifacts.remove(gone)


def record(entry: Path, action: Action, version: str, note: Note) -> None:
    """Write an event that changes no version into the journal of a model."""
    with locked(entry):
        append(entry, action, version, current_of(entry) or "", note)


def _move(entry: Path, version: str, expected: str | None, action: Action, note: Note) -> None:
    artifacts.load(entry / version)  # before the lock: it takes a moment, and versions never change
    with locked(entry):
        check_unmoved(entry, expected)
        if not (entry / version / MANIFEST).exists():
            raise ArtifactError(
                f"{entry}: somebody removed {version} in the meantime; look at"
                f" `streamgauge models list {entry}` and decide again"
            )
        point(entry, version, action, replace(note, figures=dict(note.figures)))
