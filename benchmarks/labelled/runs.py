"""Evaluations of labelled data sets: which there are, and where the result of each is kept.

Each run is one evaluation of one data set. Its JSON stays, and the run is not repeated while it exists. A run
may be of every Nth file of the data set alone; its result has a name of its own.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.json_report import as_json
from trainer.evaluation.options import EvaluationOptions
from trainer.progress import reporting

BUDGETS = ("1/week", "1/day")
BUDGET_SETS = ("nab", "smd", "asd", "mscloud", "tsb-nab", "tep", "tsb-u", "tsb-m")
ABLATION_SETS = ("tsb-nab", "asd")
FAMILIES = ("linear", "conv", "lstm")
NETWORK_SETS, NETWORKS = ("tsb-u", "tsb-m"), ("conv", "lstm")


@dataclass(frozen=True, slots=True)
class Run:
    """Describe one evaluation of one data set; `name` is the name of its JSON file."""

    dataset: str
    variant: str = "ensemble"
    causal: bool = True
    seed: int = 0
    delay: int | None = None
    window: int | None = None
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        mode = "causal" if self.causal else "offline"
        return f"{self.dataset}.{self.variant}.{mode}.{self.seed}"

    def options(self) -> EvaluationOptions:
        """Return the options of the evaluation."""
        base = TrainConfig.model_validate(self.changes)
        return EvaluationOptions(
            family=base.model.family,
            causal=self.causal,
            delay=self.delay,
            window=self.window,
            seed=self.seed,
            alarm_budget=BUDGETS[0],
            budgets=BUDGETS[1:] if self.causal and self.variant in ("ensemble", *FAMILIES) else (),
            base=base,
        )


def family(name: str) -> dict[str, dict[str, Any]]:
    return {"model": {"family": name}}


ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ensemble": ("the default", {}),
    "worst": (
        "the worst of long and short window, without a memory",
        {"changes": {"scoring": {"combine": "worst"}}},
    ),
    "without-memory": ("without a memory", {}),
    "plain": ("plain squared residuals, not whitened", {"changes": {"scoring": {"whiten": False}}}),
    "half-window": ("windows of half the length", {}),
    "linear": ("linear alone", {"changes": family("linear")}),
    "conv": ("conv alone", {"changes": family("conv")}),
    "lstm": ("lstm alone", {"changes": family("lstm")}),
    "conv-plain": ("conv alone, plain", {"changes": {**family("conv"), "scoring": {"whiten": False}}}),
    "conv-trim": (
        "conv alone, 5 % of windows trimmed",
        {"changes": {**family("conv"), "fit": {"trim": 0.05}}},
    ),
    "conv-denoise": ("conv alone, denoising (0.1)", {"changes": {**family("conv"), "fit": {"noise": 0.1}}}),
}
HALF_WINDOW = {"tsb-nab": 128, "asd": 8}
SHORT_WINDOW = {"tsb-nab": 16, "asd": 8}
DELAYS = (0, 32, 64, 128, 255)


def planned() -> list[Run]:
    """Return every run, the most important first."""
    runs = [Run(dataset, causal=causal) for dataset in ("tsb-nab", "asd") for causal in (False, True)]
    runs += [Run(dataset) for dataset in BUDGET_SETS]
    runs += [Run("smd", causal=False), Run("tep")]
    runs += [Run("tsb-nab", name, False, changes=family(name)) for name in NETWORKS]
    runs += [Run(dataset, causal=False) for dataset in NETWORK_SETS]
    runs += [
        Run(dataset, name, causal, changes=family(name))
        for dataset in NETWORK_SETS
        for causal in (True, False)
        for name in NETWORKS
    ]
    for dataset in reversed(ABLATION_SETS):
        for name, (_, given) in ABLATIONS.items():
            window = HALF_WINDOW[dataset] if name == "half-window" else None
            if name == "without-memory":
                short = f"linear:{SHORT_WINDOW[dataset]}"
                given = {"changes": {"model": {"members": ["linear", "conv", "lstm", short]}}}
            runs.append(Run(dataset, name, False, window=window, **given))
    runs += [Run("tsb-nab", f"delay-{delay}", False, delay=delay) for delay in DELAYS[1:-1]]
    runs += [Run("tsb-nab", causal=causal, seed=1) for causal in (False, True)]
    runs += [Run(dataset, causal=False) for dataset in ("mgab", "mscloud", "nab")]
    seen: dict[str, Run] = {run.name: run for run in reversed(runs)}
    order = dict.fromkeys(run.name for run in runs)
    return [seen[name] for name in order]


@dataclass(frozen=True, slots=True)
class Choice:
    """Choose files of each data set, and how many are evaluated at a time.

    Attributes:
        jobs: Files at a time; None: one for each core.
        smallest: The so many smallest files; None: all.
        every: Every so many files, in the order of their names.
    """

    jobs: int | None = None
    smallest: int | None = None
    every: int = 1

    def of(self, directory: Path) -> list[Path]:
        """Return the chosen files."""
        files = sorted(directory.glob("*.parquet"))
        if self.smallest is not None:
            files = sorted(files, key=lambda one: one.stat().st_size)[: self.smallest]
        return files[:: self.every]


def perform(run: Run, data: Path, out: Path, choice: Choice) -> None:
    """Evaluate the chosen files of the data set, unless the result exists."""
    path = out / f"{run.name}{_suffix(choice.every)}.json"
    directory = data / run.dataset
    if path.exists():
        return
    if not directory.is_dir():
        print(f"{run.name}: skipped: {directory} does not exist", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for one in choice.of(directory):
            shutil.copy(one, scratch)
        with reporting(run.name) as report:
            evaluation = evaluate(Path(scratch), run.options(), choice.jobs, report)
    found = {**_plain(as_json(evaluation)), "files_in_set": len(Choice().of(directory))}
    path.write_text(json.dumps(found, indent=1) + "\n")


def _suffix(every: int) -> str:
    return "" if every == 1 else f".every-{every}"


def _plain(value: Any) -> Any:
    """Return the value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Results:
    """Read the results of finished runs. Where only some files were evaluated, these are the result.

    Args:
        out: The directory of the results, one JSON file a run.
        operators: Where `benchmarks.operators` keeps its results; None: those are not read. Its run of all
            files of a data set is the causal one here. It counts where `out` has no other.
    """

    def __init__(self, out: Path, operators: Path | None = None) -> None:
        self._out = out
        self._operators = operators

    def of(self, run: Run) -> dict[str, Any] | None:
        """Return the result of a run that has most files; None if there is none."""
        paths = [self._out / f"{run.name}.json", *self._out.glob(f"{run.name}.every-*.json")]
        if self._operators is not None and run == Run(run.dataset):
            paths.append(self._operators / f"data-{run.dataset}.ensemble.json")
        found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in paths if path.exists()]
        return max(found, key=lambda one: len(one["files"]), default=None)

    def named(self, run: Run) -> str:
        """Return the name of the data set, and how many of its files were evaluated if not all were."""
        found = self.of(run)
        num, whole = (len(found["files"]), found.get("files_in_set", 0)) if found else (0, 0)
        return run.dataset if num >= whole else f"{run.dataset} ({num} of {whole} files)"

    def scores(self, run: Run, who: str = "model") -> list[float]:
        """Return the VUS-PR of each file that has events."""
        found = self.of(run)
        files = found["files"] if found else []
        return [one[who]["vus_pr"] for one in files if one[who]["vus_pr"] is not None]
