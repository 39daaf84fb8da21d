"""What an artifact says about itself, without its networks: who only shows a model needs no torch."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from detector.artifact.description.fields import spec_from
from detector.artifact.description.manifest import CARD, MANIFEST, read_checked, read_manifest
from detector.artifact.description.place import check_name, fetched, resolve
from detector.artifact.spec import Spec


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
            path = fetched(text, Path(scratch), (MANIFEST, CARD))
            found = _described(Path(scratch))
    check_name(found.version, path)
    return found


def _described(directory: Path) -> Described:
    manifest = read_manifest(directory)
    card = read_checked(directory / CARD, manifest["files"][CARD]).decode(errors="replace")
    return Described(spec_from(manifest.get("spec"), directory / MANIFEST), manifest["version"], card)
