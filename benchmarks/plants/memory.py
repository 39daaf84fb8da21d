"""Memory of many models in one process, for docs/plant.md.

    python -m benchmarks.plants.memory [--models 200] [--series 5] [--family conv]

Each model is an artifact on disk, of the size of the default training: 8 channels, window 64. They are
loaded as the daemon loads [[models]]. Then every series sends rows for longer than a window. Memory is
the resident set of this process. Times are processor time.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.artifacts import CHANNELS, INTERVAL_NS, WINDOW, conv_artifact
from connectors.records import Batch, Readings
from detector.artifact.modules import build_members
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.config.load import Config
from detector.delivery.routing.router import Router
from detector.models import families
from detector.service.plant.loading import group_of, load_models

START_NS = 1_767_225_600_000_000_000  # 2026-01-01
ROWS = WINDOW + 2
_MIB = 1 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plants.memory")
    parser.add_argument("--models", type=int, default=200, help="models in the process; default: 200")
    parser.add_argument("--series", type=int, default=5, help="series of each model; default: 5")
    parser.add_argument("--family", default="conv", choices=("conv", "linear"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        paths = _published(Path(directory), args.models, args.family)
        _print(args.models, args.series, _measured(paths, args.series))
    return 0


def _published(directory: Path, num: int, family: str) -> list[Path]:
    """Write the artifacts; return the entries of their registry."""
    paths = []
    for number in range(num):
        path = directory / f"kind-{number:03d}"
        publish(_artifact(path.name, number, family), path)
        paths.append(path)
    return paths


def _artifact(name: str, seed: int, family: str) -> Artifact:
    """Return an artifact with weights of its own, not trained."""
    artifact = conv_artifact()
    torch.manual_seed(seed)
    (member,) = artifact.spec.members
    given = families.resolve(family, {}, WINDOW, len(CHANNELS))
    members = (replace(member, family=family, hyperparameters=given),)
    spec = replace(artifact.spec, name=name, members=members)
    return Artifact(spec, build_members(members, len(CHANNELS)).eval())


def _measured(paths: list[Path], num_series: int) -> dict[str, float]:
    """Load all models and let each score; return MiB and seconds by name."""
    config = Config.model_validate(
        {
            "models": [{"path": str(path), "series": [f"{path.name}-*"]} for path in paths],
            "kafka": {"topic": "readings"},
        }
    )
    found = {"before": _resident()}
    began = time.process_time()
    loaded = load_models(config)
    group = group_of(loaded)
    found["load_seconds"] = time.process_time() - began
    found["loaded"] = _resident()
    router = Router(group)
    names = tuple(f"{path.name}-{number}" for path in paths for number in range(num_series))
    batch = router.route(Batch(_readings(names, 0, ROWS), tick_ns=START_NS))
    group.step(batch.readings, batch.tick_ns)
    steps = []
    for row in range(ROWS, ROWS + 3):
        batch = router.route(Batch(_readings(names, row, 1), tick_ns=START_NS + row * INTERVAL_NS))
        began = time.process_time()
        group.step(batch.readings, batch.tick_ns)
        steps.append(time.process_time() - began)
    found["scoring"] = _resident()
    found["step_seconds"] = float(np.median(steps))
    began = time.process_time()
    group.step(Readings.empty(len(group.columns.names)), START_NS + (ROWS + 60) * INTERVAL_NS)
    found["idle_seconds"] = time.process_time() - began
    return found


def _readings(names: tuple[str, ...], row: int, num_rows: int) -> Readings:
    """Return some rows of every series, from number `row` on."""
    num = len(names) * num_rows
    return Readings(
        names,
        np.tile(np.arange(len(names), dtype=np.int32), num_rows),
        START_NS + (row + np.repeat(np.arange(num_rows), len(names))) * INTERVAL_NS,
        np.random.default_rng(row).standard_normal((num, len(CHANNELS))),
        np.zeros(num, np.int32),
        np.arange(num) + row * num,
    )


def _resident() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / _MIB


def _print(num: int, num_series: int, found: dict[str, float]) -> None:
    """Print the figures."""
    each = (found["scoring"] - found["before"]) / num
    print(f"{num} models, {num_series} series each, window {WINDOW}, {len(CHANNELS)} channels")
    print(f"process before        {found['before']:8.0f} MiB")
    print(f"models loaded         {found['loaded']:8.0f} MiB, in {found['load_seconds']:.1f} s")
    print(f"all series scoring    {found['scoring']:8.0f} MiB, {each:.2f} MiB a model")
    print(f"a row of every series {1e3 * found['step_seconds']:8.0f} ms")
    print(f"a look at the clock   {1e3 * found['idle_seconds']:8.0f} ms, once a second without readings")


if __name__ == "__main__":
    sys.exit(main())
