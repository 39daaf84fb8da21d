"""Detection quality on labelled series: every table of docs/quality.md, from the data to the page.

    python -m benchmarks.quality --data DIR [--only NAME,...] [--jobs N] [--every N] [--write [TABLE,...]]

DIR holds one directory per data set, and `published/`. Each run is one evaluation of one data set. Its JSON
stays in --out, and the run is not repeated while that file exists. `--every 3` takes every third file of
each data set, and the tables say so. --write puts the tables, or those named, into docs/quality.md.
`--files N` takes the N smallest files of each data set and writes nothing: it checks only that everything
runs. `--model linear` runs what the table of the alarm budget needs of that family alone.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.labelled.runs import (
    ABLATION_SETS,
    ABLATIONS,
    BUDGET_SETS,
    BUDGETS,
    DELAYS,
    FAMILIES,
    NETWORK_SETS,
    NETWORKS,
    Choice,
    Results,
    Run,
    family,
    perform,
    planned,
)
from trainer.evaluation.operator_measures import read_measures, sum_of

PAGE = Path(__file__).parent.parent / "docs" / "quality.md"


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
            rows.append((results.named(run), mode, str(len(ours)), *shown))
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


def networks(results: Results, data: Path) -> str:
    rows = []
    for dataset in NETWORK_SETS:
        for causal in (True, False):
            for name in ("ensemble", *NETWORKS):
                run = Run(dataset, name, causal)
                ours, linear = results.scores(run), results.scores(run, "linear")
                if ours:
                    ahead = with_interval(np.subtract(ours, linear).tolist())
                    shown = (with_interval(ours), f"{np.mean(linear):.3f}", ahead)
                    mode = "causal" if causal else "offline"
                    rows.append((results.named(run), mode, str(len(ours)), name, *shown))
    return table(("data", "mode", "files", "model", "VUS-PR", "linear, plain", "ahead by"), rows)


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


def budget_linear(results: Results, data: Path) -> str:
    return budget_of(results, "linear")


def budget_of(results: Results, variant: str) -> str:
    rows = []
    for allowed in BUDGETS:
        every: list[dict[str, Any]] = []
        for dataset in BUDGET_SETS:
            run = Run(dataset, variant)
            found = results.of(run)
            files = found["files"] if found else []
            rows.append((allowed, results.named(run), *_budget_row(files, allowed)))
            every += files
        rows.append((allowed, "**pooled**", *_budget_row(every, allowed)))
    head = ("budget", "data", "false alarms", "budgeted", "realised / budgeted", "worst series")
    return table((*head, "found", "event recall", "normal time with a false incident open"), rows)


def _budget_row(files: Sequence[dict[str, Any]], allowed: str) -> tuple[str, ...]:
    if not files:
        return ("-",) * 7
    counts = [one if allowed == BUDGETS[0] else one["further"][allowed] for one in files]
    false = sum(one["false_alarms"] for one in counts)
    budgeted = sum(one["budgeted_alarms"] for one in counts)
    hit = sum(round((one["event_recall"] or 0.0) * one["events"]) for one in counts)
    events = sum(one["events"] for one in counts)
    seen = sum_of(read_measures(one["operator"][allowed]) for one in files)
    worst = max(counts, key=lambda one: one["false_alarms"] - one["budgeted_alarms"])
    return (
        f"{false:.0f}",
        f"{budgeted:.0f}",
        f"{false / budgeted:.2f}" if budgeted else "-",
        f"{worst['false_alarms']:.0f} of {worst['budgeted_alarms']:.1f}",
        f"{hit:.0f} of {events:.0f}",
        f"{hit / events:.2f}" if events else "-",
        f"{seen.false_open_share:.2f}",
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
    "networks": networks,
    "published": published,
    "seeds": seeds,
    "ablation": ablation,
    "delays": delays,
    "budget": budget,
    "budget-linear": budget_linear,
    "tep": process_faults,
    "cost": cost,
}


def written(text: str, results: Results, data: Path, names: Iterable[str] = TABLES) -> str:
    """Return the page with these tables, each between its `<!-- NAME -->` and `<!-- end -->`."""
    for name in names:
        make = TABLES[name]
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = before + mark + make(results, data) + "\n" + end + after
    return text


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parse(argv)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    data = Path(arguments.data)
    choice = Choice(arguments.jobs, arguments.files, arguments.every)
    if arguments.model is None:
        runs = planned()
    else:
        runs = [Run(one, arguments.model, changes=family(arguments.model)) for one in BUDGET_SETS]
    for run in runs:
        if not arguments.only or any(one in run.name for one in arguments.only.split(",")):
            perform(run, data, out, choice)
    results = Results(out, Path(arguments.operators))
    if arguments.model is not None:
        print(f"\nbudget, {arguments.model} alone\n{budget_of(results, arguments.model)}")
    else:
        for name, make in TABLES.items():
            print(f"\n{name}\n{make(results, data)}")
    if arguments.write is not None and arguments.files is None:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(written(page, results, data, arguments.write.split(",")), encoding="utf-8")
        print(f"\nwritten: {PAGE}")
    return 0


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
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth file alone")
    parser.add_argument("--out", default="build/quality", metavar="DIR", help="where the runs are kept")
    parser.add_argument(
        "--operators",
        default="build/operators",
        metavar="DIR",
        help="where `make operators` keeps its runs: the same evaluations, causal; default: %(default)s",
    )
    parser.add_argument(
        "--write",
        nargs="?",
        const=",".join(TABLES),
        metavar="TABLE,...",
        help="put the tables, or these alone, into docs/quality.md",
    )
    arguments = parser.parse_args(argv)
    unknown = set((arguments.write or "").split(",")) - {*TABLES, ""}
    if unknown:
        parser.error(
            f"--write: there is no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}"
        )
    return arguments


if __name__ == "__main__":
    sys.exit(main())
