"""Windows that a generative model generates, in physical units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from connectors.parquet.writer import TableWriter
from detector.artifact.spec import Artifact
from detector.errors import DetectorError
from detector.models.execution.choice import REMEDY, TORCH
from detector.offline.aligned_rows import OnRows, ignore_progress
from detector.offline.output_files import Columns, gathered, output_file

if TYPE_CHECKING:
    import torch

    _Sample = Callable[[int, int, torch.Generator], torch.Tensor]


def sampled(artifact: Artifact, num: int, seed: int = 0, start_ns: int = 0) -> Iterator[Columns]:
    """Yield generated windows in blocks of columns. They have the common scale of each channel.

    The columns are `timestamp` (int64 nanoseconds), `series` (sample-0, sample-1, ...) and the channels
    (float64, in their own units). Equal seeds give equal windows; `num` does not change the first windows.

    Args:
        artifact: a model of a family that can generate (vae).
        num: number of windows, at least 1.
        seed: from 0 to 2^63 - 1.
        start_ns: every window begins at the row of the grid that contains this time.

    Raises:
        DetectorError: the family cannot generate, or an argument is out of range.
    """
    sample = _generator_of(artifact)
    import torch

    if num < 1:
        raise DetectorError(f"the number of windows is {num}; it must be at least 1")
    if not 0 <= seed < 2**63:
        raise DetectorError(f"the seed is {seed}; it must be at least 0 and less than 2^63")
    spec = artifact.spec
    center, scale = spec.column("center"), spec.column("scale")
    noise = torch.Generator().manual_seed(seed)
    row = start_ns // spec.interval_ns + np.arange(spec.window)
    for first in range(0, num, spec.batch_size):
        with torch.inference_mode():  # always a full batch: one size, one sequence of random numbers
            x_BWC = sample(spec.batch_size, spec.window, noise).cpu().numpy().astype(np.float64)
        kept = min(spec.batch_size, num - first)
        values = (x_BWC[:kept] * scale + center).reshape(kept * spec.window, -1)
        names = np.array([f"sample-{number}" for number in range(first, first + kept)], dtype=object)
        yield {
            "timestamp": np.tile(row * spec.interval_ns, kept),
            "series": np.repeat(names, spec.window),
            **{name: values[:, at] for at, name in enumerate(spec.channel_names)},
        }


def sample_parquet(
    artifact: Artifact,
    out: Path,
    num: int,
    seed: int = 0,
    start_ns: int = 0,
    on_rows: OnRows = ignore_progress,
) -> int:
    """Write `num` windows to one Parquet file, in bounded memory. Returns the number of rows.

    The other arguments are those of `sampled`; `on_rows` is called with the number of rows of each block.
    Raises DetectorError or ParquetError.
    """
    rows = 0
    with TableWriter(output_file(out)) as writer:
        for columns in gathered(sampled(artifact, num, seed, start_ns)):
            writer.write(columns)
            rows += len(columns["timestamp"])
            on_rows(len(columns["timestamp"]))
    return rows


def _generator_of(artifact: Artifact) -> _Sample:
    if artifact.module.executor != TORCH:
        raise DetectorError(
            f"PyTorch generates windows, and {artifact.module.executor} computes here; {REMEDY}"
        )
    from detector.models.ensemble import torch_ensemble

    sample = getattr(torch_ensemble(artifact.module)[0].autoencoder, "sample", None)
    if sample is None:
        raise DetectorError(f"family {artifact.spec.family} cannot generate: train one with --model vae")
    return cast("_Sample", sample)
