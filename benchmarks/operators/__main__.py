"""What an operator sees: the boards of docs/trust.md, on generated plants and labelled data.

    python -m benchmarks.operators [--data DIR] [--only TEXT,...] [--out build/operators] [--write] [--quick]

Each run is one family of models on one plant or data set. Its JSON stays in --out, and the run is not
repeated while that file exists, so a command that was stopped goes on. --quick takes one small plant and the
linear model, and keeps and writes nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.operators.plants import BUDGETS, PlantRun, measured
from benchmarks.operators.tables import Kept, board, by_fault, plain, written
from benchmarks.plants.plant import CHOOSING, CONFIRMING, PlantOptions
from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.json_report import as_json
from trainer.evaluation.options import EvaluationOptions
from trainer.progress import ProgressReport, reporting

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
FAMILIES = ("ensemble", "linear", "conv", "lstm")
PURPOSES = {"choosing": CHOOSING, "confirming": CONFIRMING}
SETS = ("tsb-nab", "asd", "smd", "nab", "mscloud", "tep", "tsb-u", "tsb-m")
_DATA = "../shared/data"
QUICK = PlantOptions(1, ("pump",), machines=2, history_weeks=2, live_weeks=2)


@dataclass(frozen=True, slots=True)
class Run:
    """A name and what returns its result as plain values."""

    name: str
    perform: Callable[[ProgressReport], dict[str, Any]]


def planned(data: Path, jobs: int | None) -> list[Run]:
    """Return every run: plants first, the default ensemble and the linear model before the others."""
    runs = []
    for family in ("linear", "ensemble", "conv", "lstm"):
        for purpose, plants in PURPOSES.items():
            runs += [of_plant(PlantRun(plant, family, purpose)) for plant in plants]
    for family in ("linear", "ensemble", "conv", "lstm"):
        runs += [_of_data(data / name, family, jobs) for name in SETS if (data / name).is_dir()]
    return runs


def chosen(runs: Sequence[Run], texts: str) -> list[Run]:
    """Return the runs whose names contain one of the texts, which commas separate.

    Raises:
        ValueError: No name contains one of the texts.
    """
    wanted = texts.split(",")
    for text in wanted:
        if not text or not any(text in run.name for run in runs):
            raise ValueError(f"--only: no run has {text!r} in its name; known: {_names(runs)}")
    return [run for run in runs if any(text in run.name for text in wanted)]


def _names(runs: Sequence[Run]) -> str:
    """Return the names of runs, without repeating those that differ in the family alone."""
    plants = sorted({run.name.rpartition(".")[0] for run in runs})
    return f"{', '.join(plants)}, each with .{' .'.join(FAMILIES)}"


def of_plant(run: PlantRun) -> Run:
    """Return the run of a family on a plant."""
    return Run(run.name, lambda report: measured(run, report))


def _of_data(directory: Path, family: str, jobs: int | None) -> Run:
    base = TrainConfig.model_validate({"model": {"family": family}})
    options = EvaluationOptions(family=family, alarm_budget=BUDGETS[0], budgets=BUDGETS[1:], base=base)
    return Run(
        f"data-{directory.name}.{family}",
        lambda report: as_json(evaluate(directory, options, jobs, report)),
    )


def perform(runs: Sequence[Run], out: Path) -> None:
    """Perform the runs that have no result yet."""
    for run in runs:
        path = out / f"{run.name}.json"
        if path.exists():
            continue
        with reporting(run.name) as report:
            found = run.perform(report)
        path.write_text(json.dumps(plain(found), indent=1) + "\n")


def tables_of(out: Path) -> dict[str, str]:
    """Return the tables of the page by the names of their marks."""
    kept = Kept(out)
    return {
        "plants": board(kept, tuple(PURPOSES), FAMILIES, is_plant=True),
        "faults": by_fault(kept, tuple(PURPOSES), "ensemble"),
        "labelled": board(kept, SETS, FAMILIES, is_plant=False),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Perform the runs, print the boards, and put them into the page with --write."""
    arguments = _parse(argv)
    if arguments.quick:
        with tempfile.TemporaryDirectory() as scratch:
            perform([of_plant(PlantRun(QUICK, "linear", "choosing"))], Path(scratch))
            print(board(Kept(Path(scratch)), ("choosing",), ("linear",), is_plant=True))
        return 0
    out = Path(arguments.out)
    runs = planned(Path(arguments.data), arguments.jobs)
    if arguments.only is not None:
        try:
            runs = chosen(runs, arguments.only)
        except ValueError as error:
            print(f"python -m benchmarks.operators: {error}", file=sys.stderr)
            return 2
    out.mkdir(parents=True, exist_ok=True)
    perform(runs, out)
    tables = tables_of(out)
    for name, text in tables.items():
        print(f"\n{name}\n{text}")
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
        print(f"written: {PAGE}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operators",
        description=(__doc__ or "").split("\n", 1)[0],
        epilog=f"runs: {_names(planned(Path(_DATA), None))}."
        " example: python -m benchmarks.operators --only choosing-1.linear",
    )
    parser.add_argument(
        "--data", default=_DATA, metavar="DIR", help="labelled data sets, if any; default: %(default)s"
    )
    parser.add_argument(
        "--only", metavar="TEXT,...", help="runs whose names contain one of them; default: all"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="files at a time; default: one per core")
    parser.add_argument(
        "--out",
        default="build/operators",
        metavar="DIR",
        help="where the runs are kept; default: %(default)s",
    )
    parser.add_argument("--write", action="store_true", help="put the boards into docs/trust.md")
    parser.add_argument("--quick", action="store_true", help="one small plant with the linear model")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
