"""Publish models in a registry, and open them.

    REGISTRY/NAME/<version>/   an artifact (see `detector.artifact.storage`)
    REGISTRY/NAME/current      the version to use, one line of text, replaced atomically

An entry is REGISTRY/NAME: one model with its versions and a pointer to the current one. It may be a local
path or any URI that `pyarrow.fs` reads (s3://, gs://, ...). A remote version is copied to a local temporary
directory and loaded from there.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from detector.artifact import storage as artifacts
from detector.artifact.spec import Artifact
from detector.errors import ArtifactError

CURRENT = "current"
_VERSION = re.compile(r"[0-9a-f]{12}")


def publish(artifact: Artifact, entry: Path) -> Artifact:
    """Save a new version and make it the current one.

    Promise: the pointer moves after the version is complete and was loaded again as readers load it. So no
    reader finds an incomplete version, or one that it refuses.
    Equal artifacts have equal versions: to publish one twice changes nothing.

    Args:
        artifact: The model to save.
        entry: Local directory of the model in the registry; created if it does not exist.

    Returns:
        The artifact with its version.

    Raises:
        ArtifactError: The entry cannot be written, or readers would refuse the model.
    """
    scratch = entry / f".{os.getpid()}.new"
    saved = artifacts.save(artifact, scratch)
    try:
        artifacts.load(scratch)
    except ArtifactError as error:
        artifacts.remove(scratch)
        raise ArtifactError(f"{entry}: not published, as readers would refuse the model: {error}") from error
    try:
        target = entry / saved.version
        if target.exists():
            artifacts.remove(scratch)
        else:
            scratch.replace(target)
        pointer = entry / f".{CURRENT}.{os.getpid()}"
        pointer.write_text(saved.version + "\n")
        pointer.replace(entry / CURRENT)
    except OSError as error:
        raise ArtifactError(f"{entry}: cannot publish: {error.strerror or error}") from error
    return saved


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
        return _as_named(artifacts.load(directory), str(directory))
    with tempfile.TemporaryDirectory(prefix="streamgauge-artifact-") as scratch:
        path = _download(text, Path(scratch))
        return _as_named(artifacts.load(Path(scratch)), path)


def fingerprint_of(location: str | Path) -> str:
    """Return a text that changes when `open_artifact` would load another artifact.

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
            if pointer.exists() and not Path(text, artifacts.MANIFEST).exists():
                return _checked(pointer.read_text().strip(), str(pointer))
            return hashlib.sha256(Path(text, artifacts.MANIFEST).read_bytes()).hexdigest()
        filesystem, path = pafs.FileSystem.from_uri(text)
        pointer_at = f"{path}/{CURRENT}"
        if filesystem.get_file_info(pointer_at).type == pafs.FileType.File:
            return _checked(_read_pointer(filesystem, pointer_at), pointer_at)
        with filesystem.open_input_stream(f"{path}/{artifacts.MANIFEST}") as stream:
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
    pointer = location / CURRENT
    if (location / artifacts.MANIFEST).exists() or not pointer.exists():
        return location
    try:
        version = pointer.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{pointer}: cannot be read: {error}") from error
    return location / _checked(version, str(pointer))


def _as_named(artifact: Artifact, path: str) -> Artifact:
    """Return the artifact; refuse it if its directory has the name of another version."""
    name = path.rstrip("/").rpartition("/")[2]
    if _VERSION.fullmatch(name) and name != artifact.version:
        raise ArtifactError(
            f"{path}: holds version {artifact.version} and not {name}: it was exchanged; publish it again"
        )
    return artifact


def _download(uri: str, scratch: Path) -> str:
    """Copy the version that `uri` names into `scratch`, and return its path on the remote side."""
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri)
        pointer = f"{path}/{CURRENT}"
        if filesystem.get_file_info(pointer).type == pafs.FileType.File:
            path = f"{path}/{_checked(_read_pointer(filesystem, pointer), pointer)}"
        pafs.copy_files(path, str(scratch), source_filesystem=filesystem)
        written_at = filesystem.get_file_info(f"{path}/{artifacts.MANIFEST}").mtime
        if written_at is not None:
            os.utime(scratch / artifacts.MANIFEST, (written_at.timestamp(),) * 2)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArtifactError(f"{uri}: cannot be read: {error}") from error
    return str(path)


def _read_pointer(filesystem: pafs.FileSystem, pointer: str) -> str:
    with filesystem.open_input_stream(pointer) as stream:
        text: str = stream.read(64).decode(errors="replace").strip()
        return text


def _checked(version: str, pointer: str) -> str:
    """Return the version if it is one; otherwise a pointer could name a path outside of the entry."""
    if not _VERSION.fullmatch(version):
        raise ArtifactError(f"{pointer}: {version[:40]!r} is not a version (12 hexadecimal digits)")
    return version
