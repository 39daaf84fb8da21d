"""Save and load artifacts. An artifact is the directory that the trainer writes and the detector reads.

    model.safetensors    weights (never pickle: an artifact cannot carry code)
    artifact.json        everything else that scoring needs, and the SHA-256 of the other files
    calibration.parquet  quantiles of the residual of each channel and of the error
    held_out.parquet     errors of the held-out rows, to calibrate the threshold again without training
    model_card.md        a summary for people
    sample.parquet       a few stretches of normal rows for self-checks; older artifacts have none

The version is derived from the content. Equal artifacts have equal versions, and a change of any byte is
noticed when the artifact is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from detector.artifact.bounds import check_description
from detector.artifact.drift import drift_from
from detector.artifact.modes import check_modes, modes_from
from detector.artifact.modules import build_members
from detector.artifact.reference import reference_from
from detector.artifact.season import season_from
from detector.artifact.spec import (
    Artifact,
    Channel,
    Detectable,
    Level,
    Member,
    MissingLevel,
    OwnScale,
    PageLimit,
    Scoring,
    Spec,
    Threshold,
)
from detector.errors import ArtifactError
from detector.models.ensemble import Ensemble

FORMAT_VERSION = 2
_OLD_ALARMS = 4.0
"""Older releases let a threshold alarm twice as often as the budget; a limit has half of the budget."""
WEIGHTS, MANIFEST, CALIBRATION, HELD_OUT, CARD = (
    "model.safetensors",
    "artifact.json",
    "calibration.parquet",
    "held_out.parquet",
    "model_card.md",
)

SAMPLE = "sample.parquet"
TRAINED_AT = "trained_at"
"""In the training record of a version that was only calibrated: the time of its training, whole seconds."""
_LATEST_SECONDS = 1 << 33
_FILES = {WEIGHTS, CALIBRATION, HELD_OUT, CARD}


def save(artifact: Artifact, directory: Path) -> Artifact:
    """Write an artifact to a directory.

    Promise: the directory holds the whole artifact, or is not there.

    Args:
        artifact: The model to save.
        directory: Where to save it. A directory that exists is replaced.

    Returns:
        The artifact with its version.

    Raises:
        ArtifactError: The directory cannot be written.
    """
    files = {
        WEIGHTS: save_tensors({k: v.contiguous().cpu() for k, v in artifact.module.state_dict().items()}),
        CALIBRATION: _table_bytes(artifact.calibration),
        HELD_OUT: _table_bytes(artifact.held_out),
        CARD: artifact.card.encode(),
    }
    if artifact.sample:
        files[SAMPLE] = _table_bytes(_columns_of(artifact.sample))
    manifest = {
        "format": FORMAT_VERSION,
        "spec": asdict(artifact.spec),
        "files": {name: _sha256(content) for name, content in files.items()},
    }
    version = _version_of(manifest)
    files[MANIFEST] = json.dumps({"version": version, **manifest}, indent=2).encode()
    try:
        _write_atomically(files, directory)
    except OSError as error:
        raise ArtifactError(f"{directory}: cannot write the artifact: {error.strerror or error}") from error
    return replace(artifact, version=version)


def load(directory: Path) -> Artifact:
    """Read and check an artifact. Its module is in evaluation mode on the CPU.

    Args:
        directory: The directory that `save` wrote.

    Raises:
        ArtifactError: A file is missing, truncated, edited or of another format, or does not fit the
            description. The message names the file and the fault.
    """
    manifest = _read_manifest(directory)
    files = {name: _read_checked(directory / name, digest) for name, digest in manifest["files"].items()}
    spec = _spec_from(manifest.get("spec"), directory / MANIFEST)
    # First without memory: a description of a huge model is refused before anything is allocated for it.
    module = _build(spec, "meta", directory / MANIFEST)
    tensors = _read_weights(module, files[WEIGHTS], directory / WEIGHTS)
    module = _build(spec, "cpu", directory / MANIFEST)
    module.load_state_dict(tensors)
    calibration, held_out = (_read_table(files[name], directory / name) for name in (CALIBRATION, HELD_OUT))
    card = files[CARD].decode(errors="replace")
    written_at = _trained_at(spec.training) or (directory / MANIFEST).stat().st_mtime
    sample = _sample_from(files, len(spec.channels), directory / SAMPLE)
    if spec.sampled and len(spec.sampled) != len(sample):
        raise ArtifactError(
            f"{directory / MANIFEST}: damaged: {len(spec.sampled)} series of {len(sample)} sampled stretches"
        )
    return Artifact(spec, module.eval(), calibration, held_out, card, manifest["version"], written_at, sample)


def _trained_at(training: Mapping[str, Any]) -> float | None:
    """Return when a model was trained that was only calibrated since, seconds since the epoch."""
    stated = training.get(TRAINED_AT)
    if isinstance(stated, int) and not isinstance(stated, bool) and 0 < stated < _LATEST_SECONDS:
        return float(stated)
    return None


def remove(directory: Path) -> None:
    """Delete the directory of an artifact; do nothing if it does not exist."""
    shutil.rmtree(directory, ignore_errors=True)


def _read_manifest(directory: Path) -> dict[str, Any]:
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
    expected = _version_of(manifest)
    if version != expected:
        raise ArtifactError(
            f"{path}: content does not match its version {version!r} (computed {expected!r}): it was edited"
        )
    manifest["version"] = version
    return manifest  # type: ignore[no-any-return]  # checked piece by piece above and in _spec_from


def _read_checked(path: Path, digest: str) -> bytes:
    """Read a file whose SHA-256 must be `digest`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error
    if _sha256(content) != digest:
        raise ArtifactError(
            f"{path}: content does not match its hash in {MANIFEST}: truncated or tampered with"
        )
    return content


def _spec_from(raw: Any, path: Path) -> Spec:
    """Make a Spec from plain values; check that every field is there, has its type and lies in its bounds."""
    try:
        spec = Spec(
            **{
                **raw,
                "members": tuple(_member_from(member) for member in raw["members"]),
                "channels": tuple(_channel_from(channel) for channel in raw["channels"]),
                "scoring": Scoring(**raw["scoring"]),
                "threshold": _threshold_from(raw["threshold"]),
                "detectable": tuple(Detectable(**one) for one in raw.get("detectable", ())),
                "own_scales": _own_scales_from(raw.get("own_scales", {})),
                "sampled": tuple(raw.get("sampled", ())),
                "reference": reference_from(raw.get("reference")),
                "season": season_from(raw.get("season")),
                "modes": modes_from(raw.get("modes")),
                "drift": drift_from(raw.get("drift")),
                "absent": {series: tuple(names) for series, names in dict(raw.get("absent", {})).items()},
            }
        )
        msgspec.convert(raw, Spec)
        check_description(asdict(spec))
        if spec.modes is not None:
            check_modes(spec.modes, spec.channel_names)
    except (
        TypeError,
        KeyError,
        AttributeError,
        ValueError,
        ArithmeticError,
        msgspec.ValidationError,
    ) as error:
        raise ArtifactError(f"{path}: a field of the description is missing or wrong: {error}") from error
    return spec


def _own_scales_from(raw: Mapping[str, Any]) -> dict[str, tuple[OwnScale, ...]]:
    return {series: tuple(OwnScale(**one) for one in own) for series, own in dict(raw).items()}


def _channel_from(raw: Mapping[str, Any]) -> Channel:
    return Channel(**{**raw, "sentinels": tuple(raw.get("sentinels", ()))})


def _member_from(raw: Mapping[str, Any]) -> Member:
    levels = {kind: tuple(Level(**level) for level in raw[kind]) for kind in ("settled", "fresh")}
    missing = tuple(
        MissingLevel(**{name: tuple(values) for name, values in dict(one).items()})
        for one in raw.get("missing", ())
    )
    return Member(**{**raw, **levels, "missing": missing})


def _threshold_from(raw: Mapping[str, Any]) -> Threshold:
    """Return the threshold. One of an older release that adapted gets the default limit for its budget."""
    raw = dict(raw)
    adapted, limit = raw.pop("adaptation", None), raw.get("limit")
    if adapted is not None:
        return Threshold(**{**raw, "limit": PageLimit(adapted["alarms_a_row"] / _OLD_ALARMS)})
    return Threshold(**{**raw, "limit": None if limit is None else PageLimit(**limit)})


def _build(spec: Spec, device: str, path: Path) -> Ensemble:
    """Build the networks of a description on a torch device; "meta" allocates no memory."""
    try:
        with torch.device(device):
            return build_members(spec.members, len(spec.channels))
    except (ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise ArtifactError(f"{path}: cannot build model {spec.family!r}: {error}") from error


def _read_weights(module: torch.nn.Module, content: bytes, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the file; refuse those that are not finite or differ from those of `module`."""
    try:
        tensors = load_tensors(content)
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read as weights: {error}") from error
    needed = {name: (tensor.shape, tensor.dtype) for name, tensor in module.state_dict().items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    wrong = sorted(name for name in {*needed, *found} if needed.get(name) != found.get(name))
    if wrong:
        raise ArtifactError(
            f"{path}: weights do not fit the described model: {wrong[0]!r} is {found.get(wrong[0])},"
            f" needed {needed.get(wrong[0])}"
        )
    broken = sorted(name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all()))
    if broken:
        raise ArtifactError(f"{path}: weights {broken[0]!r} are not finite: retrain the model")
    return tensors


def _write_atomically(files: Mapping[str, bytes], directory: Path) -> None:
    """Write all files next to `directory`, flush them to disk, and rename the result to `directory`."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for name, content in files.items():
            with (scratch / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        scratch.chmod(0o755)
        if directory.exists():
            shutil.rmtree(directory)
        scratch.replace(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _version_of(manifest: Mapping[str, Any]) -> str:
    """Return the first 12 hexadecimal digits of the hash of the manifest, which holds all other hashes."""
    return _sha256(json.dumps(manifest, sort_keys=True).encode())[:12]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _table_bytes(columns: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Return columns as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink)
    return bytes(sink.getvalue())


def _columns_of(sample: Sequence[NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return the stretches of rows as columns: the number of the stretch, then the channels by place."""
    stretch = np.repeat(np.arange(len(sample), dtype=np.float64), [len(rows) for rows in sample])
    values = np.concatenate(sample)
    return {"stretch": stretch, **{str(at): values[:, at] for at in range(values.shape[1])}}


def _sample_from(
    files: Mapping[str, bytes], num_channels: int, path: Path
) -> tuple[NDArray[np.float64], ...]:
    """Return the stretches of rows that `_columns_of` wrote; none where the artifact has no such file."""
    if SAMPLE not in files:
        return ()
    table = _read_table(files[SAMPLE], path)
    wanted = ["stretch", *map(str, range(num_channels))]
    if list(table) != wanted:
        raise ArtifactError(f"{path}: damaged: has columns {list(table)}, expected {wanted}")
    values = np.stack([table[name] for name in wanted[1:]], axis=1)
    return tuple(values[table["stretch"] == number] for number in np.unique(table["stretch"]).tolist())


def _read_table(content: bytes, path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a Parquet file; `path` is only for the message of an error."""
    try:
        # Not pq.read_table: its threads may still hold `content` when a short process exits. To release a
        # Python object at that moment aborts the process.
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            table = file.read(use_threads=False)
        return {name: table.column(name).cast(pa.float64()).to_numpy() for name in table.column_names}
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        raise ArtifactError(f"{path}: damaged: {error}") from error
