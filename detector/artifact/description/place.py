"""Which version of a model a location names, and a text that changes with it. No torch here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from connectors.errors import ConnectorError
from connectors.objects.names import below, without_secrets
from connectors.objects.objects import Objects
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.stored.stored import POINTER, download, pointer_at
from detector.errors import ArtifactError

CURRENT = POINTER
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
        objects = Objects(text)
        current = pointer_at(objects)
        if current is not None:
            return _checked(current, f"{without_secrets(text)}: {CURRENT}")
        described = objects.read(MANIFEST)
    except (ConnectorError, OSError, ValueError) as error:
        raise ArtifactError(f"{without_secrets(text)}: cannot be read: {error}") from error
    if described is None:
        raise ArtifactError(f"{without_secrets(text)}: cannot be read: neither an entry nor a version")
    return hashlib.sha256(described).hexdigest()


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


def fetched(uri: str, scratch: Path, names: Sequence[str] = ()) -> str:
    """Copy the files of the version that a URI names into a directory, with their times.

    Args:
        uri: of an entry, whose current version is copied, or of a version.
        scratch: an empty directory.
        names: of the files; none: all of them.

    Returns:
        The path of the version on the other side, without secrets.

    Raises:
        ArtifactError: It cannot be read, or the entry says that something else than a version is current.
    """
    place = without_secrets(uri)
    try:
        current = pointer_at(Objects(uri))
        version = uri if current is None else below(uri, _checked(current, f"{place}: {CURRENT}"))
        objects = Objects(version)
        written = objects.written("")
        if names:
            written = {name: at for name, at in written.items() if name in names}
        if MANIFEST not in written:
            raise ArtifactError(f"{without_secrets(version)}: cannot be read: there is no {MANIFEST}")
        download(objects, written, scratch)
    except (ConnectorError, OSError, ValueError) as error:
        raise ArtifactError(f"{place}: cannot be read: {error}") from error
    return without_secrets(version).partition("?")[0]


def check_name(version: str, path: str) -> None:
    """Raise ArtifactError if a directory has the name of another version than the one that it holds."""
    name = path.rstrip("/").rpartition("/")[2]
    if _VERSION.fullmatch(name) and name != version:
        raise ArtifactError(
            f"{path}: holds version {version} and not {name}: it was exchanged; publish it again"
        )


def _checked(version: str, pointer: str) -> str:
    """Return the version if it is one; otherwise a pointer could name a path outside of the entry."""
    if not _VERSION.fullmatch(version):
        raise ArtifactError(f"{pointer}: {version[:40]!r} is not a version (12 hexadecimal digits)")
    return version
