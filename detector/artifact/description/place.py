"""Which version of a model a location names, and a text that changes with it. No torch here."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from detector.artifact.description.manifest import MANIFEST
from detector.errors import ArtifactError

CURRENT = "current"
_VERSION = re.compile(r"[0-9a-f]{12}")


def fingerprint_of(location: str | Path) -> str:
    """Return a text that changes when `registry.open_artifact` would load another artifact.

    Of an entry it is the current version, of a version's directory the digest of its description. Nothing
    else is read, so this is cheap to call often.

    Args:
        location: As for `open_artifact`.

    Raises:
        ArtifactError: There is no artifact, or it cannot be read.
    """
    text = str(location)
    try:
        if "://" not in text:
            pointer = Path(text, CURRENT)
            if pointer.exists() and not Path(text, MANIFEST).exists():
                return _checked(pointer.read_text().strip(), str(pointer))
            return hashlib.sha256(Path(text, MANIFEST).read_bytes()).hexdigest()
        filesystem, path = pafs.FileSystem.from_uri(text)
        pointer_at = f"{path}/{CURRENT}"
        if filesystem.get_file_info(pointer_at).type == pafs.FileType.File:
            return _checked(_read_pointer(filesystem, pointer_at), pointer_at)
        with filesystem.open_input_stream(f"{path}/{MANIFEST}") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArtifactError(f"{text}: cannot be read: {error}") from error


def resolve(location: Path) -> Path:
    """Return the directory of the version that a local `location` names.

    Args:
        location: Directory of a version, which is returned as it is, or an entry.

    Raises:
        ArtifactError: The pointer of the entry cannot be read, or does not name a version.
    """
    current = None if (location / MANIFEST).exists() else current_of(location)
    return location if current is None else location / current


def current_of(entry: Path) -> str | None:
    """Return the version that the pointer of a local entry names, None without a pointer.

    Raises:
        ArtifactError: The pointer cannot be read, or names no version.
    """
    pointer = entry / CURRENT
    try:
        return _checked(pointer.read_text().strip(), str(pointer)) if pointer.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{pointer}: cannot be read: {error}") from error


def remote_version(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a URI, and the path of the version that it names.

    Raises:
        pyarrow.ArrowException, OSError, ValueError: as pyarrow does, if the place cannot be read.
        ArtifactError: the pointer does not name a version.
    """
    filesystem, path = pafs.FileSystem.from_uri(uri)
    pointer = f"{path}/{CURRENT}"
    if filesystem.get_file_info(pointer).type == pafs.FileType.File:
        path = f"{path}/{_checked(_read_pointer(filesystem, pointer), pointer)}"
    return filesystem, path


def check_name(version: str, path: str) -> None:
    """Raise ArtifactError if a directory has the name of another version than the one that it holds."""
    name = path.rstrip("/").rpartition("/")[2]
    if _VERSION.fullmatch(name) and name != version:
        raise ArtifactError(
            f"{path}: holds version {version} and not {name}: it was exchanged; publish it again"
        )


def _read_pointer(filesystem: pafs.FileSystem, pointer: str) -> str:
    with filesystem.open_input_stream(pointer) as stream:
        text: str = stream.read(64).decode(errors="replace").strip()
        return text


def _checked(version: str, pointer: str) -> str:
    """Return the version if it is one; otherwise a pointer could name a path outside of the entry."""
    if not _VERSION.fullmatch(version):
        raise ArtifactError(f"{pointer}: {version[:40]!r} is not a version (12 hexadecimal digits)")
    return version
