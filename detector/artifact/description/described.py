"""What an artifact says about itself, without its networks: who only shows a model needs no torch."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from detector.artifact.description.fields import spec_from
from detector.artifact.description.manifest import CARD, MANIFEST, read_checked, read_manifest
from detector.artifact.description.place import check_name, remote_version, resolve
from detector.artifact.spec import Spec
from detector.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Described:
    """Hold the description of a model, its version, and its card as Markdown."""

    spec: Spec
    version: str
    card: str


def described_artifact(location: str | Path) -> Described:
    """Read the description of an artifact and check it. Weights are neither read nor checked.

    Args:
        location: Directory of a version, an entry (its current version is read), or the URI of either.

    Raises:
        ArtifactError: It cannot be read, or is damaged. The message names the location and the fault.
    """
    text = str(location)
    if "://" not in text:
        directory = resolve(Path(text))
        found, path = _described(directory), str(directory)
    else:
        with tempfile.TemporaryDirectory(prefix="streamgauge-artifact-") as scratch:
            path = _download(text, Path(scratch))
            found = _described(Path(scratch))
    check_name(found.version, path)
    return found


def _described(directory: Path) -> Described:
    manifest = read_manifest(directory)
    card = read_checked(directory / CARD, manifest["files"][CARD]).decode(errors="replace")
    return Described(spec_from(manifest.get("spec"), directory / MANIFEST), manifest["version"], card)


def _download(uri: str, scratch: Path) -> str:
    """Copy description and card into `scratch`; return the path of the version on the remote side."""
    try:
        filesystem, path = remote_version(uri)
        for name in (MANIFEST, CARD):
            pafs.copy_files(f"{path}/{name}", str(scratch / name), source_filesystem=filesystem)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArtifactError(f"{uri}: cannot be read: {error}") from error
    return path
