"""Training on Parquet larger than memory: its peak memory, and its rate against a bare PyTorch loop.

Memory is measured over a whole training in a separate process: history, two epochs, calibration. The rate
compares one epoch of the trainer with a plain loop. The trainer cuts windows from a scratch file, shuffles,
masks and clips them. The plain loop has the same module, batch size and optimizer, over windows in memory as
one tensor. Both use one thread, as `streamgauge train` does.

    python -m benchmarks.train [--rows 20000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.artifacts import CHANNELS, WINDOW
from benchmarks.measurement import Measurement, alternate
from connectors.parquet.dataset import discover
from connectors.parquet.reader import read_chunks
from connectors.parquet.writer import TableWriter
from detector.models import families as models
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.data.channel_statistics import channel_statistics
from trainer.data.history import Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.fitting.gradient import TrainingAndValidation, fit_gradient
from trainer.pipeline import fit_source, source_of
from trainer.progress import quiet

ROWS, QUICK_ROWS = 20_000_000, 20_000
NUM_SERIES = 20
INTERVAL_NS = 1_000_000_000
START_NS = 1_767_225_600_000_000_000  # 2026-01-01
PIECE_ROWS = 1 << 18
MEMORY_MIB = 1_536
WINDOWS_PER_EPOCH = 40_000
OPTIONS = FitOptions(max_epochs=1, windows_per_epoch=WINDOWS_PER_EPOCH, seed=7, device="cpu")
_CHILD = "--measure-a-training-of"


def measure(quick: bool) -> list[Measurement]:
    """Measure peak memory and rate on 20 million rows of 8 channels."""
    return measure_rows(QUICK_ROWS if quick else ROWS, 1 if quick else 5)


def measure_rows(num_rows: int, num_rounds: int) -> list[Measurement]:
    """Measure on so many rows."""
    torch.set_num_threads(OPTIONS.threads)
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as name:
        directory = Path(name)
        write_history(directory, num_rows)
        return [_memory(directory, num_rows), _rate(directory, num_rows, num_rounds)]


def write_history(directory: Path, num_rows: int) -> None:
    """Write `num_rows` rows in all as Parquet, one file per series: sines with noise."""
    for number in range(NUM_SERIES):
        path = directory / f"series-{number:02d}.parquet"
        with TableWriter(path, {"interval_s": str(INTERVAL_NS / 1e9)}) as writer:
            for row, values in _pieces(num_rows // NUM_SERIES, seed=number):
                columns = {name: values[:, at] for at, name in enumerate(CHANNELS)}
                writer.write({"timestamp": START_NS + row * INTERVAL_NS, **columns})


def _pieces(num_rows: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    random = np.random.default_rng(seed)
    speed = random.uniform(0.01, 0.3, len(CHANNELS))
    for at in range(0, num_rows, PIECE_ROWS):
        row = np.arange(at, min(num_rows, at + PIECE_ROWS))
        yield row, np.sin(row[:, None] * speed) + random.normal(0.0, 0.2, (len(row), len(CHANNELS)))


def _memory(directory: Path, num_rows: int) -> Measurement:
    """Measure the peak resident memory of a training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train", _CHILD, str(directory)]
    root = Path(__file__).parent.parent
    outcome = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    detail = json.loads(outcome.stdout)
    detail = {"rows": num_rows, "data_mib": _mebibytes(directory)} | detail
    peak = float(detail.pop("peak_mib"))
    return Measurement("peak memory of a training", peak, "MiB", ceiling=MEMORY_MIB, detail=detail)


def _train_and_print(directory: Path) -> None:
    """Run a whole training and print its memory and times as JSON."""
    torch.set_num_threads(OPTIONS.threads)
    stages: dict[str, float] = {}

    def report(done: float, words: str, notable: bool = False) -> None:
        stages[words.partition(" ")[0]] = time.perf_counter()

    config = TrainConfig(model=ModelOptions(window=WINDOW), fit=OPTIONS.model_copy(update={"max_epochs": 2}))
    fit_source(source_of(directory), config, report)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "peak_mib": round(peak),
                "history_and_2_epochs_seconds": round(stages["calibrating"] - stages["reading"], 1),
                "calibration_seconds": round(end - stages["calibrating"], 1),
            }
        )
    )


def _rate(directory: Path, num_rows: int, num_rounds: int) -> Measurement:
    """Measure the windows per second of our epoch, divided by those of a bare loop."""
    dataset = discover(directory)
    with build_history(lambda: read_chunks(dataset), dataset.channels, dataset.interval_ns, 0) as history:
        train = history.part("train", Shares())
        statistics = channel_statistics(history, train, WINDOW)
        windows = TrainingWindows(history, train, statistics.center, statistics.scale, WINDOW)
        # one window for validation: only the epoch is to be measured
        one = train[0].cut(train[0].position, train[0].position + WINDOW)
        assert one is not None
        held_out = TrainingWindows(history, (one,), statistics.center, statistics.scale, WINDOW)
        ready = torch.from_numpy(windows.spread(WINDOWS_PER_EPOCH))
        ours, bare = alternate(
            lambda: _our_epoch(TrainingAndValidation(windows, held_out, windows)),
            lambda: _bare_epoch(ready),
            num_rounds,
        )
    detail: dict[str, float | int | str] = {
        "rows": num_rows,
        "our_windows_per_second": round(ours),
        "bare_windows_per_second": round(bare),
        "batch": OPTIONS.batch_size,
    }
    return Measurement("training / bare PyTorch loop", ours / bare, "x", floor=0.7, detail=detail)


def _module() -> torch.nn.Module:
    torch.manual_seed(OPTIONS.seed)
    return models.build("conv", {}, WINDOW, len(CHANNELS))


class Counting(torch.nn.Module):
    """Count the windows that pass through in training."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self.num_windows = 0

    def forward(self, x_BWC: torch.Tensor) -> torch.Tensor:
        self.num_windows += len(x_BWC) if self.training else 0
        y_BWC: torch.Tensor = self.module(x_BWC)
        return y_BWC


def _our_epoch(windows: TrainingAndValidation) -> float:
    module = Counting(_module())
    start = time.perf_counter()
    fit_gradient(module, "mse", windows, OPTIONS, quiet)
    return module.num_windows / (time.perf_counter() - start)


def _bare_epoch(ready: torch.Tensor) -> float:
    module = _module()
    optimizer = torch.optim.AdamW(module.parameters(), OPTIONS.learning_rate)
    start = time.perf_counter()
    order = torch.randperm(len(ready))
    for at in range(0, len(ready), OPTIONS.batch_size):
        x_BWC = ready[order[at : at + OPTIONS.batch_size]]
        loss = torch.nn.functional.mse_loss(module(x_BWC), x_BWC)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimizer.step()
    return len(ready) / (time.perf_counter() - start)


def _mebibytes(directory: Path) -> int:
    return round(sum(file.stat().st_size for file in directory.iterdir()) / 2**20)


def main() -> None:
    """Measure only this; `python -m benchmarks.run --only train` does the same among the other benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help=f"default: {ROWS:,}")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="alternating runs; default: 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there too")
    parser.add_argument(_CHILD, type=Path, dest="child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        _train_and_print(arguments.child)
        return
    measurements = measure_rows(arguments.rows, arguments.rounds)
    for m in measurements:
        print(f"{m.name}: {m.value:,.4g} {m.unit} ({m.bound}) {json.dumps(m.detail)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([m.as_json() for m in measurements], indent=2) + "\n")


if __name__ == "__main__":
    main()
