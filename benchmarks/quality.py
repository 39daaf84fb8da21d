"""Detection quality on labelled series: every table of docs/quality.md, from the data to the page.

    python -m benchmarks.quality --data DIR [--only NAME,...] [--jobs N] [--out build/quality] [--write]

DIR holds one directory per data set, and `published/`. Each run is one evaluation of one data set. Its JSON
stays in --out, and the run is not repeated while that file exists. --write puts the tables into
docs/quality.md. `--files N` takes the N smallest files of each data set and writes nothing: it checks only
that everything runs. `--model linear` prints the table of the alarm budget for that family alone, and
`--every 3` of every third file.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.json_report import as_json
from trainer.evaluation.options import EvaluationOptions
from trainer.progress import reporting

PAGE = Path(__file__).parent.parent / "docs" / "quality.md"
BUDGETS = ("1/week", "1/day")
BUDGET_SETS = ("nab", "smd", "asd", "mscloud")
ABLATION_SETS = ("tsb-nab", "asd")
FAMILIES = ("linear", "conv", "lstm")


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
    "with-short": ("with a short window as well, as causally", {}),
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
    runs += [Run("tsb-nab", name, False, changes=family(name)) for name in ("conv", "lstm")]
    for dataset in reversed(ABLATION_SETS):
        for name, (_, given) in ABLATIONS.items():
            window = HALF_WINDOW[dataset] if name == "half-window" else None
            if name == "with-short":
                short = f"linear:{SHORT_WINDOW[dataset]}"
                given = {"changes": {"model": {"members": ["linear", "conv", "lstm", short]}}}
            runs.append(Run(dataset, name, False, window=window, **given))
    runs += [Run("tsb-nab", f"delay-{delay}", False, delay=delay) for delay in DELAYS[1:-1]]
    runs += [Run("tsb-nab", causal=causal, seed=1) for causal in (False, True)]
    runs += [Run(dataset, causal=False) for dataset in ("mgab", "mscloud", "nab")]
    seen: dict[str, Run] = {run.name: run for run in reversed(runs)}
    order = dict.fromkeys(run.name for run in runs)
    return [seen[name] for name in order]


def perform(run: Run, data: Path, out: Path, jobs: int | None, num_files: int | None, every: int = 1) -> None:
    """Evaluate the data set, unless the result exists."""
    path = out / f"{run.name}.json"
    directory = data / run.dataset
    if path.exists():
        return
    if not directory.is_dir():
        print(f"{run.name}: skipped: {directory} does not exist", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as scratch:
        if num_files is not None:
            directory = _first_files(directory, Path(scratch), num_files)
        if every > 1:
            directory = _every_file(directory, Path(scratch) / "every", every)
        with reporting(run.name) as report:
            evaluation = evaluate(directory, run.options(), jobs, report)
    path.write_text(json.dumps(_plain(as_json(evaluation)), indent=1) + "\n")


def _first_files(directory: Path, scratch: Path, num: int) -> Path:
    for path in sorted(directory.glob("*.parquet"), key=lambda one: one.stat().st_size)[:num]:
        shutil.copy(path, scratch)
    return scratch


def _every_file(directory: Path, scratch: Path, every: int) -> Path:
    scratch.mkdir()
    for path in sorted(directory.glob("*.parquet"))[::every]:
        shutil.copy(path, scratch)
    return scratch


def _plain(value: Any) -> Any:
    """Return the value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Results:
    """Read the results of finished runs."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def of(self, run: Run) -> dict[str, Any] | None:
        path = self._out / f"{run.name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def scores(self, run: Run, who: str = "model") -> list[float]:
        """Return the VUS-PR of each file that has events."""
        found = self.of(run)
        files = found["files"] if found else []
        return [one[who]["vus_pr"] for one in files if one[who]["vus_pr"] is not None]


def with_interval(values: Sequence[float]) -> str:
    """Return the mean and its 95 % interval over files (bootstrap, 2,000 draws)."""
    if not values:
        return "-"
    drawn = np.random.default_rng(0).choice(values, (2_000, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.mean(values):.3f} ({low:.2f} to {high:.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def detection(results: Results, data: Path) -> str:
    rows = []
    for dataset in ("tsb-nab", "smd", "asd", "nab", "mscloud", "mgab"):
        for causal in (False, True):
            run = Run(dataset, causal=causal)
            ours = results.scores(run)
            if not ours:
                continue
            linear, random = (results.scores(run, who) for who in ("linear", "random"))
            mode = "causal" if causal else "offline"
            gain = f"{np.mean(ours) - np.mean(linear):+.3f}"
            shown = (with_interval(ours), f"{np.mean(linear):.3f}", gain, f"{np.mean(random):.3f}")
            rows.append((dataset, mode, str(len(ours)), *shown))
    head = ("data", "mode", "files", "ensemble, VUS-PR", "linear, plain", "ahead by", "random")
    return table(head, rows)


def published(results: Results, data: Path) -> str:
    path = data / "published" / "tsb_nab_vus_pr.csv"
    if not path.exists():
        return "(the published figures are missing)"
    with path.open() as file:
        lines = list(csv.DictReader(file))
    methods = [name for name in lines[0] if name not in ("file", "nab_series")]
    means = {name: float(np.mean([float(line[name]) for line in lines])) for name in methods}
    best = sorted(means, key=lambda name: -means[name])[:5]
    shown = list(dict.fromkeys([*best, "CNN", "LSTMAD", "AutoEncoder"]))
    rows = [(f"{name} (published)", f"{means[name]:.3f}") for name in shown]
    ours = [
        ("ensemble, offline", Run("tsb-nab", causal=False)),
        ("ensemble, causal", Run("tsb-nab")),
        ("conv alone, offline", Run("tsb-nab", "conv", False)),
        ("lstm alone, offline", Run("tsb-nab", "lstm", False)),
    ]
    rows += [(f"**{name}**", with_interval(results.scores(run))) for name, run in ours]
    return table(("method", "mean VUS-PR over the 19 files"), rows)


def seeds(results: Results, data: Path) -> str:
    rows = []
    for causal in (False, True):
        means = [results.scores(Run("tsb-nab", causal=causal, seed=seed)) for seed in (0, 1)]
        done = [float(np.mean(one)) for one in means if one]
        if done:
            mode = "causal" if causal else "offline"
            rows.append((mode, ", ".join(f"{one:.3f}" for one in done), f"{np.mean(done):.3f}"))
    return table(("tsb-nab", "seeds 0, 1", "mean"), rows)


def ablation(results: Results, data: Path) -> str:
    rows = []
    for name, (words, _) in ABLATIONS.items():
        shown = [with_interval(results.scores(Run(one, name, False))) for one in ABLATION_SETS]
        rows.append((words, *shown))
    return table(("offline", *ABLATION_SETS), rows)


def delays(results: Results, data: Path) -> str:
    runs = [Run("tsb-nab")]
    runs += [Run("tsb-nab", f"delay-{delay}", False) for delay in DELAYS[1:-1]]
    runs.append(Run("tsb-nab", causal=False))
    rows = [(str(delay), with_interval(results.scores(run))) for delay, run in zip(DELAYS, runs, strict=True)]
    return table(("delay in rows (at most the window's)", "tsb-nab, VUS-PR"), rows)


def budget(results: Results, data: Path) -> str:
    return budget_of(results, "ensemble")


def budget_of(results: Results, variant: str) -> str:
    rows = []
    for allowed in BUDGETS:
        total = np.zeros(4)
        for dataset in BUDGET_SETS:
            counts = _budget_counts(results.of(Run(dataset, variant)), allowed)
            total += counts
            rows.append((allowed, dataset, *_budget_row(counts)))
        rows.append((allowed, "**pooled**", *_budget_row(total)))
    head = ("budget", "data", "false alarms", "budgeted", "realised / budgeted", "found", "event recall")
    return table(head, rows)


def _budget_counts(found: dict[str, Any] | None, allowed: str) -> np.ndarray:
    """Return false alarms, budgeted false alarms, events found and events of all files, float64 [4]."""
    total = np.zeros(4)
    for one in found["files"] if found else []:
        counts = one if allowed == BUDGETS[0] else one["further"][allowed]
        hit = round((counts["event_recall"] or 0.0) * counts["events"])
        total += (counts["false_alarms"], counts["budgeted_alarms"], hit, counts["events"])
    return total


def _budget_row(counts: np.ndarray) -> tuple[str, ...]:
    false, allowed, hit, events = counts
    return (
        f"{false:.0f}",
        f"{allowed:.0f}",
        f"{false / allowed:.2f}" if allowed else "-",
        f"{hit:.0f} of {events:.0f}",
        f"{hit / events:.2f}" if events else "-",
    )


def process_faults(results: Results, data: Path) -> str:
    found = results.of(Run("tep"))
    if found is None:
        return "(not run)"
    faults = [one for one in found["files"] if one["events"]]
    alarmed = [one for one in faults if one["event_recall"] == 1]
    # A fault lasts to the end of its file: with precision 1, no alarm began before the fault.
    clean = [one for one in alarmed if one["precision"] == 1]
    waits = [one["median_delay_rows"] for one in clean]
    normal = sum(one["false_alarms"] for one in found["files"] if not one["events"])
    rows = [
        ("faults with an incident open at some time", f"{len(alarmed)} of {len(faults)}"),
        ("of these with none before: detected", str(len(clean))),
        ("median delay of these", f"{np.median(waits):.0f} rows" if waits else "-"),
        ("false alarms in the normal run", str(normal)),
    ]
    return table(("tep, causal, 1/week", ""), rows)


def cost(results: Results, data: Path) -> str:
    rows = []
    for dataset in ("tsb-nab", "asd", "smd"):
        found = results.of(Run(dataset))
        if found:
            pooled = found["pooled"]
            rows_each = np.mean([one["train_rows"] for one in found["files"]])
            seconds = np.mean([one["fit_seconds"] for one in found["files"]])
            speed = pooled["score_rows_per_second"]
            rows.append((dataset, f"{rows_each:,.0f}", f"{seconds:.0f}", f"{speed:,.0f}"))
    head = ("data", "training rows a file", "seconds to train the ensemble, one core", "rows scored a second")
    return table(head, rows)


TABLES: dict[str, Callable[[Results, Path], str]] = {
    "detection": detection,
    "published": published,
    "seeds": seeds,
    "ablation": ablation,
    "delays": delays,
    "budget": budget,
    "tep": process_faults,
    "cost": cost,
}


def written(text: str, results: Results, data: Path) -> str:
    """Return the page with the text between each `<!-- NAME -->` and its `<!-- end -->` replaced."""
    for name, make in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = before + mark + make(results, data) + "\n" + end + after
    return text


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parse(argv)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    data = Path(arguments.data)
    if arguments.model is not None:
        _budget_of_family(arguments, data, out)
        return 0
    for run in planned():
        if not arguments.only or any(one in run.name for one in arguments.only.split(",")):
            perform(run, data, out, arguments.jobs, arguments.files)
    results = Results(out)
    for name, make in TABLES.items():
        print(f"\n{name}\n{make(results, data)}")
    if arguments.write and arguments.files is None:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results, data), encoding="utf-8")
        print(f"\nwritten: {PAGE}")
    return 0


def _budget_of_family(arguments: argparse.Namespace, data: Path, out: Path) -> None:
    """Print the table of the alarm budget for one family of models alone."""
    for dataset in BUDGET_SETS:
        run = Run(dataset, arguments.model, changes=family(arguments.model))
        if not arguments.only or any(one in run.name for one in arguments.only.split(",")):
            perform(run, data, out, arguments.jobs, arguments.files, arguments.every)
    print(f"\nbudget, {arguments.model} alone\n{budget_of(Results(out), arguments.model)}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=(__doc__ or "").split("\n", 1)[0],
        epilog="example: python -m benchmarks.quality --data ../shared/data --only tsb-nab",
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="one directory per data set")
    parser.add_argument("--only", metavar="TEXT,...", help="runs whose names contain one of these")
    parser.add_argument("--jobs", type=int, metavar="N", help="files at a time; default: one per core")
    parser.add_argument("--files", type=int, metavar="N", help="the N smallest files of each data set")
    parser.add_argument("--model", choices=FAMILIES, help="only the budget table, of this family alone")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="with --model: every Nth file")
    parser.add_argument("--out", default="build/quality", metavar="DIR", help="where the runs are kept")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/quality.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
