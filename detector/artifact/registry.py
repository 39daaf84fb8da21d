"""The registry: a directory of models, each with its versions and a pointer to the current one.

    REGISTRY/NAME/<version>/   artifacts (see `detector.artifact.storage`)
    REGISTRY/NAME/current      the version to use, one line of text, replaced atomically

An entry is REGISTRY/NAME. It may be a local path or any URI that `pyarrow.fs` reads (s3://, gs://, ...);
of a remote entry the version is copied to a local directory and loaded from there.
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
    """Save a new version under `entry` and make it the current one; returns it with its version.

    The pointer moves after the version is complete, so a reader never meets half of one. Equal
    artifacts have equal versions: publishing one twice changes nothing. Raises ArtifactError.
    """
    scratch = entry / f".{os.getpid()}.new"
    saved = artifacts.save(artifact, scratch)
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
    """Load the artifact at `location`: a version's directory, an entry, or the URI of either.

    Raises ArtifactError that names the location and what is wrong with it.
    """
    text = str(location)
    if "://" not in text:
        directory = resolve(Path(text))
        return _as_named(artifacts.load(directory), str(directory))
    with tempfile.TemporaryDirectory(prefix="streamgauge-artifact-") as scratch:
        path = _download(text, Path(scratch))
        return _as_named(artifacts.load(Path(scratch)), path)


def look(location: str | Path) -> str:
    """What changes when `open_artifact` would load another artifact: the pointer's text, or the digest of the
    description of the one version at `location`. Raises ArtifactError where there is nothing to look at."""
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
    """The version's directory that a local `location` (a version or an entry) stands for."""
    pointer = location / CURRENT
    if (location / artifacts.MANIFEST).exists() or not pointer.exists():
        return location
    try:
        version = pointer.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{pointer}: cannot be read: {error}") from error
    return location / _checked(version, str(pointer))


def _as_named(artifact: Artifact, path: str) -> Artifact:
    """The artifact, which is the version that its directory is called by, where that is called by one."""
    name = path.rstrip("/").rpartition("/")[2]
    if _VERSION.fullmatch(name) and name != artifact.version:
        raise ArtifactError(
            f"{path}: holds version {artifact.version} and not {name}: it was exchanged; publish it anew"
        )
    return artifact


def _download(uri: str, scratch: Path) -> str:
    """Copy the version that `uri` stands for into `scratch`; returns its path on the remote side."""
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
    """A pointer names a version and nothing else: no path leads out of the entry."""
    if not _VERSION.fullmatch(version):
        raise ArtifactError(f"{pointer}: {version[:40]!r} is not a version (12 hexadecimal digits)")
    return version
