"""Publish models in a registry, and open them.

    REGISTRY/NAME/<version>/   an artifact (see `detector.artifact.storage`)
    REGISTRY/NAME/current      the version to use, one line of text, replaced atomically

An entry is REGISTRY/NAME: one model with its versions and a pointer to the current one. It may be a local
path or any URI that `pyarrow.fs` reads (s3://, gs://, ...). A remote version is copied to a local temporary
directory and loaded from there.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from detector.artifact import storage as artifacts
from detector.artifact.description.manifest import MANIFEST
from detector.artifact.description.place import CURRENT, check_name, remote_version, resolve
from detector.artifact.spec import Artifact
from detector.errors import ArtifactError


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
        artifact, path = artifacts.load(directory), str(directory)
    else:
        with tempfile.TemporaryDirectory(prefix="streamgauge-artifact-") as scratch:
            path = _download(text, Path(scratch))
            artifact = artifacts.load(Path(scratch))
    check_name(artifact.version, path)
    return artifact


def _download(uri: str, scratch: Path) -> str:
    """Copy the version that `uri` names into `scratch`, and return its path on the remote side."""
    try:
        filesystem, path = remote_version(uri)
        pafs.copy_files(path, str(scratch), source_filesystem=filesystem)
        written_at = filesystem.get_file_info(f"{path}/{MANIFEST}").mtime
        if written_at is not None:
            os.utime(scratch / MANIFEST, (written_at.timestamp(),) * 2)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArtifactError(f"{uri}: cannot be read: {error}") from error
    return str(path)
