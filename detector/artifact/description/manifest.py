"""Read artifact.json: its version, and the digests of the other files. No torch here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detector.errors import ArtifactError

FORMAT_VERSION = 2
WEIGHTS, MANIFEST, CALIBRATION, HELD_OUT, CARD = (
    "model.safetensors",
    "artifact.json",
    "calibration.parquet",
    "held_out.parquet",
    "model_card.md",
)
SAMPLE = "sample.parquet"
_FILES = {WEIGHTS, CALIBRATION, HELD_OUT, CARD}


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read artifact.json; check its format, its list of files and its version."""
    path = directory / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{directory}: not an artifact: no {MANIFEST} there; write one with `streamgauge train`"
        )
    try:
        manifest = json.loads(path.read_bytes())
        version, found = manifest.pop("version"), manifest["format"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: damaged (truncated or edited): {error}; restore or retrain it"
        ) from error
    if found != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: artifact format {found!r}; this release reads format {FORMAT_VERSION}: "
            "retrain the model or install the matching release"
        )
    if not isinstance(manifest.get("files"), dict) or set(manifest["files"]) - {SAMPLE} != _FILES:
        raise ArtifactError(f"{path}: damaged: its list of files is wrong; restore or retrain it")
    expected = version_of(manifest)
    if version != expected:
        raise ArtifactError(
            f"{path}: content does not match its version {version!r} (computed {expected!r}): it was edited"
        )
    manifest["version"] = version
    return manifest  # type: ignore[no-any-return]  # checked piece by piece above and in spec_from


def read_checked(path: Path, digest: str) -> bytes:
    """Read a file whose SHA-256 must be `digest`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error
    if sha256_of(content) != digest:
        raise ArtifactError(
            f"{path}: content does not match its hash in {MANIFEST}: truncated or tampered with"
        )
    return content


def version_of(manifest: Mapping[str, Any]) -> str:
    """Return the first 12 hexadecimal digits of the hash of the manifest, which holds all other hashes."""
    return sha256_of(json.dumps(manifest, sort_keys=True).encode())[:12]


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
