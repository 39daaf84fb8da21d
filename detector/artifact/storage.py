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

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from detector.artifact.description.fields import spec_from
from detector.artifact.description.manifest import (
    CALIBRATION,
    CARD,
    FORMAT_VERSION,
    HELD_OUT,
    MANIFEST,
    SAMPLE,
    WEIGHTS,
    read_checked,
    read_manifest,
    sha256_of,
    version_of,
)
from detector.artifact.modules import network_of, shapes_of
from detector.artifact.spec import Artifact, Spec
from detector.errors import ArtifactError
from detector.models.execution.choice import VARIABLE, choose

TRAINED_AT = "trained_at"
"""In the training record of a version that was only calibrated: the time of its training, whole seconds."""
_LATEST_SECONDS = 1 << 33


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
        WEIGHTS: save_arrays(artifact.module.weights()),
        CALIBRATION: _table_bytes(artifact.calibration),
        HELD_OUT: _table_bytes(artifact.held_out),
        CARD: artifact.card.encode(),
    }
    if artifact.sample:
        files[SAMPLE] = _table_bytes(_columns_of(artifact.sample))
    manifest = {
        "format": FORMAT_VERSION,
        "spec": asdict(artifact.spec),
        "files": {name: sha256_of(content) for name, content in files.items()},
    }
    version = version_of(manifest)
    files[MANIFEST] = json.dumps({"version": version, **manifest}, indent=2).encode()
    try:
        _write_atomically(files, directory)
    except OSError as error:
        raise ArtifactError(f"{directory}: cannot write the artifact: {error.strerror or error}") from error
    return replace(artifact, version=version)


def load(directory: Path) -> Artifact:
    """Read and check an artifact. Its networks are ready for inference on the CPU.

    They are computed by torch where it is installed, else by NumPy. STREAMGAUGE_EXECUTOR chooses one.

    Args:
        directory: The directory that `save` wrote.

    Raises:
        ConfigError: The variable has another value, or names what is not installed.
        ArtifactError: A file is missing, truncated, edited or of another format, or does not fit the
            description. The message names the file and the fault.
    """
    manifest = read_manifest(directory)
    files = {name: read_checked(directory / name, digest) for name, digest in manifest["files"].items()}
    spec = spec_from(manifest.get("spec"), directory / MANIFEST)
    executor = choose(os.environ.get(VARIABLE))
    with _building(spec, directory / MANIFEST):
        # First without memory: a description of a huge model is refused before anything is allocated for it.
        shapes = shapes_of(spec.members, len(spec.channels), executor)
    weights = _read_weights(shapes, files[WEIGHTS], directory / WEIGHTS)
    with _building(spec, directory / MANIFEST):
        module = network_of(spec.members, len(spec.channels), executor, weights)
    calibration, held_out = (_read_table(files[name], directory / name) for name in (CALIBRATION, HELD_OUT))
    card = files[CARD].decode(errors="replace")
    written_at = _trained_at(spec.training) or (directory / MANIFEST).stat().st_mtime
    sample = _sample_from(files, len(spec.channels), directory / SAMPLE)
    if spec.sampled and len(spec.sampled) != len(sample):
        raise ArtifactError(
            f"{directory / MANIFEST}: damaged: {len(spec.sampled)} series of {len(sample)} sampled stretches"
        )
    return Artifact(spec, module, calibration, held_out, card, manifest["version"], written_at, sample)


def _trained_at(training: Mapping[str, Any]) -> float | None:
    """Return when a model was trained that was only calibrated since, seconds since the epoch."""
    stated = training.get(TRAINED_AT)
    if isinstance(stated, int) and not isinstance(stated, bool) and 0 < stated < _LATEST_SECONDS:
        return float(stated)
    return None


def remove(directory: Path) -> None:
    """Delete the directory of an artifact; do nothing if it does not exist."""
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _building(spec: Spec, path: Path) -> Iterator[None]:
    """Turn what goes wrong when networks are built from a description into ArtifactError."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise ArtifactError(f"{path}: cannot build model {spec.family!r}: {error}") from error


def _read_weights(
    shapes: Mapping[str, tuple[int, ...]], content: bytes, path: Path
) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of the file; refuse those that are not finite or of other shapes than `shapes`."""
    try:
        arrays = load_arrays(content)
    except (SafetensorError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read as weights: {error}") from error
    needed = {name: (tuple(shape), "float32") for name, shape in shapes.items()}
    found = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    wrong = sorted(name for name in {*needed, *found} if needed.get(name) != found.get(name))
    if wrong:
        raise ArtifactError(
            f"{path}: weights do not fit the described model: {wrong[0]!r} is {found.get(wrong[0])},"
            f" needed {needed.get(wrong[0])}"
        )
    broken = sorted(name for name, array in arrays.items() if not np.isfinite(array).all())
    if broken:
        raise ArtifactError(f"{path}: weights {broken[0]!r} are not finite: retrain the model")
    return arrays


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
