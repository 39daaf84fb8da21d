"""A GPU against the CPU of the same machine: training, scoring of batches, states and incidents.

The same rows and weights go through both. Rates are medians of alternating runs. States and incidents have to
be equal. Without a GPU it prints an error and exits with 2. `--device cpu` runs the whole script without one:
the CPU is then compared with itself, which measures nothing and shows that the script works.

    python -m benchmarks.cuda [--rows 20000] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.artifacts import CHANNELS, WINDOW
from benchmarks.measurement import alternate
from benchmarks.train import Counting
from detector import EngineOptions, backtest
from detector.artifact.spec import Artifact
from detector.models import families as models
from detector.models.ensemble import torch_ensemble
from trainer import fit
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.data.frames import chunk_to_train
from trainer.data.history import Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.fitting.gradient import TrainingAndValidation, fit_gradient
from trainer.progress import quiet

FAMILIES = ("conv", "lstm")
BATCHES = (256, 4096)
NO_GPU = "no GPU: this build of PyTorch or this machine has no CUDA, so nothing was measured"
SCORE_TOLERANCE = 1e-3
"""Largest relative difference of two scores of one row; sums on a GPU have another order."""


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one line of the table: a rate on both devices."""

    what: str
    cpu: float
    other: float

    @property
    def ratio(self) -> float:
        """Return how many times as fast the other device is."""
        return self.other / self.cpu


@dataclass(frozen=True, slots=True)
class Agreement:
    """Hold what differs between the same weights on both devices, for one family."""

    family: str
    rows: int
    states_that_differ: int
    incidents_cpu: int
    incidents_that_differ: int
    largest_difference_of_scores: float

    @property
    def holds(self) -> bool:
        """Return whether states and incidents are equal, and scores nearly so."""
        differ = self.states_that_differ + self.incidents_that_differ
        return differ == 0 and self.largest_difference_of_scores <= SCORE_TOLERANCE


def frame_of(num_rows: int, seed: int, faults: int = 0) -> pd.DataFrame:
    """Return sines with noise, a row a second; one channel is shifted for 60 rows at so many places."""
    rng = np.random.default_rng(seed)
    speed = np.random.default_rng(0).uniform(0.01, 0.3, len(CHANNELS))
    values = np.sin(np.arange(num_rows)[:, None] * speed) + rng.normal(0.0, 0.2, (num_rows, len(CHANNELS)))
    for number in range(faults):
        at = (number + 1) * num_rows // (faults + 1)
        values[at : at + 60, number % len(CHANNELS)] += 2.0
    index = pd.date_range("2026-01-01", periods=num_rows, freq="s", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=list(CHANNELS))


def training_rates(family: str, frame: pd.DataFrame, other: str, rounds: int) -> list[Row]:
    """Measure the windows a second of training epochs, with the default batch and a large one."""
    rows = []
    chunk, channels = chunk_to_train(frame, None)
    with build_history(lambda: iter([chunk]), channels, 10**9, 0) as history:
        train = history.part("train", Shares())
        center, scale = np.zeros(len(channels)), np.ones(len(channels))
        windows = TrainingWindows(history, train, center, scale, WINDOW)
        held_out = TrainingWindows(history, history.part("validation", Shares()), center, scale, WINDOW)
        for batch in (FitOptions().batch_size, max(BATCHES)):

            def epoch(device: str, batch: int = batch) -> float:
                options = FitOptions(max_epochs=1, min_steps_per_epoch=8, batch_size=batch, device=device)
                torch.manual_seed(7)
                module = Counting(models.build(family, {}, WINDOW, len(channels)))
                start = time.perf_counter()
                fit_gradient(module, "mse", TrainingAndValidation(windows, held_out, windows), options, quiet)
                return module.num_windows / (time.perf_counter() - start)

            epoch(other)  # the first run on a GPU loads kernels
            ours = alternate(lambda: epoch("cpu"), lambda: epoch(other), rounds)
            rows.append(Row(f"training, {family}, batch {batch}: windows a second", *ours))
    return rows


def scoring_rates(artifact: Artifact, family: str, other: str, rounds: int) -> list[Row]:
    """Measure the windows a second of scoring, with the copies to the device and back."""
    rows = []
    for batch in BATCHES:
        x_BWC = np.random.default_rng(3).normal(size=(batch, WINDOW, len(CHANNELS))).astype(np.float32)

        def score(device: str, x_BWC: np.ndarray = x_BWC) -> float:
            runner = torch_ensemble(artifact.module)[0].on(device)
            runner(x_BWC, None, 1)
            start, num = time.perf_counter(), 0
            while time.perf_counter() - start < 1.0:
                runner(x_BWC, None, 1)
                num += len(x_BWC)
            rate = num / (time.perf_counter() - start)
            torch_ensemble(artifact.module).cpu()
            return rate

        found = alternate(lambda: score("cpu"), lambda: score(other), rounds)
        rows.append(Row(f"scoring, {family}, batch {batch}: windows a second", *found))
    return rows


def agreement(artifact: Artifact, family: str, stream: pd.DataFrame, other: str) -> Agreement:
    """Compare verdicts and incidents of the same weights on both devices."""
    first, second = (backtest(artifact, stream, EngineOptions(device=device)) for device in ("cpu", other))
    torch_ensemble(artifact.module).cpu()
    names = ["series", "start", "end", "severity", "reason", "channels"]
    incidents = [
        set(result.incidents[names].astype(str).itertuples(index=False)) for result in (first, second)
    ]
    scores = [result.verdicts["score"].to_numpy() for result in (first, second)]
    known = np.isfinite(scores[0]) & np.isfinite(scores[1]) & (np.abs(scores[0]) > 0)
    apart = np.abs(scores[1][known] / scores[0][known] - 1.0)
    return Agreement(
        family,
        len(first.verdicts),
        int((first.verdicts["state"].to_numpy() != second.verdicts["state"].to_numpy()).sum()),
        len(incidents[0]),
        len(incidents[0] ^ incidents[1]),
        float(apart.max(initial=0.0)),
    )


def trained(family: str, frame: pd.DataFrame, device: str) -> Artifact:
    """Return a model that was trained on a device for three epochs."""
    options = FitOptions(max_epochs=3, device=device)
    return fit(frame, config=TrainConfig(model=ModelOptions(family=family, window=WINDOW), fit=options))


def table(rows: list[Row], agreements: list[Agreement], machine: str) -> str:
    """Return the tables for docs/performance.md."""
    lines = [machine, "", "| what | CPU | GPU | ratio |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.cpu:,.0f} | {row.other:,.0f} | {row.ratio:.2f} |" for row in rows]
    lines += ["", "| family | rows | states that differ | incidents | that differ | scores apart |"]
    lines += ["|---|---|---|---|---|---|"]
    for one in agreements:
        counts = (
            f"{one.rows:,} | {one.states_that_differ} | {one.incidents_cpu} | {one.incidents_that_differ}"
        )
        lines.append(f"| {one.family} | {counts} | {one.largest_difference_of_scores:.1e} |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; return 1 if the devices disagree, 2 if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only try the script")
    parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="rows to train on and to score")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="alternating runs; default: 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    history, stream = frame_of(arguments.rows, 1), frame_of(arguments.rows, 2, faults=8)
    rows, agreements = list[Row](), list[Agreement]()
    for family in FAMILIES:
        rows += training_rates(family, history, arguments.device, arguments.rounds)
        for device in dict.fromkeys(("cpu", arguments.device)):
            artifact = trained(family, history, device)
            agreements.append(agreement(artifact, f"{family}, trained on {device}", stream, arguments.device))
        rows += scoring_rates(artifact, family, arguments.device, arguments.rounds)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "no GPU"
    print(table(rows, agreements, f"{name}; {platform.machine()}, 1 thread; PyTorch {torch.__version__}"))
    if arguments.json is not None:
        found = {"rates": [asdict(row) for row in rows], "agreement": [asdict(one) for one in agreements]}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(one.holds for one in agreements) else 1


if __name__ == "__main__":
    sys.exit(main())
