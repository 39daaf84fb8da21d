"""What an operator sees: the boards of docs/trust.md, on generated plants and labelled data.

    python -m benchmarks.operators [--data DIR] [--only TEXT,...] [--worth] [--out DIR] [--write] [--quick]

Each run is one family of models on one line of a plant, or on one data set. Its JSON stays in --out, and the
run is not repeated while that file exists, so a command that was stopped goes on. --quick takes one small
plant and the linear model, and keeps and writes nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.operators.plants import BUDGETS, LineRun, outcome
from benchmarks.operators.tables import Kept, board, by_fault, plain, worth, written
from benchmarks.plants.plant import CHOOSING, CONFIRMING, PlantOptions
from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.json_report import as_json
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.process_pool import in_processes
from trainer.progress import ProgressReport, reporting

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
FAMILIES = ("ensemble", "linear", "conv", "lstm")
PURPOSES = {"choosing": CHOOSING, "confirming": CONFIRMING}
SETS = ("tsb-nab", "asd", "smd", "nab", "mscloud", "tep", "tsb-u", "tsb-m")
_DATA = "../shared/data"
QUICK = PlantOptions(1, ("pump",), machines=2, history_weeks=2, live_weeks=2)


@dataclass(frozen=True, slots=True)
class DataRun:
    """One family of models on a labelled data set; `name` is the name of its file of results."""

    directory: Path
    family: str
    worth: bool

    @property
    def name(self) -> str:
        return f"data-{self.directory.name}.{self.family}"


Run = LineRun | DataRun


def planned(data: Path, worth: bool = False) -> list[Run]:
    """Return every run: plants first, the default ensemble and the linear model before the others."""
    lines = [
        LineRun(plant, kind, family, purpose, worth)
        for family in FAMILIES
        for purpose, plants in PURPOSES.items()
        for plant in plants
        for kind in plant.kinds
    ]
    sets = [name for name in SETS if (data / name).is_dir()]
    return [*lines, *[DataRun(data / name, family, worth) for family in FAMILIES for name in sets]]


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
    """Return the names of runs, without repeating those that differ in the family or the line alone."""
    plants = sorted({run.name.split(".", 1)[0] for run in runs})
    return f"{', '.join(plants)}, each with .{' .'.join(FAMILIES)}"


def perform(runs: Sequence[Run], out: Path, jobs: int) -> list[str]:
    """Perform the runs that have no result yet, several lines or files at a time; return what failed."""
    left = [run for run in runs if not _path(out, run).exists()]
    lines = [run for run in left if isinstance(run, LineRun)]
    failed = []
    with reporting("lines") as report:
        outcomes = in_processes(outcome, lines, jobs, lambda run: (run, None))
        for done, (run, found) in enumerate(outcomes, 1):
            if found is None:
                failed.append(run.name)
            else:
                _keep(out, run, found)
            report(done / len(lines), run.name)
    for one in left:
        if isinstance(one, DataRun):
            with reporting(one.name) as report:
                _keep(out, one, _evaluated(one, jobs, report))
    return failed


def options_of(run: DataRun) -> EvaluationOptions:
    """Return the options of the evaluation of a labelled data set."""
    base = TrainConfig.model_validate({"model": {"family": run.family}})
    return EvaluationOptions(
        family=run.family, alarm_budget=BUDGETS[0], budgets=BUDGETS[1:], worth=run.worth, base=base
    )


def _evaluated(run: DataRun, jobs: int, report: ProgressReport) -> dict[str, Any]:
    return as_json(evaluate(run.directory, options_of(run), jobs, report))


def _path(out: Path, run: Run) -> Path:
    return out / f"{run.name}.json"


def _keep(out: Path, run: Run, found: dict[str, Any]) -> None:
    _path(out, run).write_text(json.dumps(plain(found), indent=1) + "\n")


def tables_of(out: Path) -> dict[str, str]:
    """Return the tables of the page by the names of their marks."""
    kept = Kept(out)
    return {
        "plants": board(kept, tuple(PURPOSES), FAMILIES, is_plant=True),
        "worth": worth(kept, tuple(PURPOSES), FAMILIES),
        "faults": by_fault(kept, tuple(PURPOSES), FAMILIES[0]),
        "labelled": board(kept, SETS, FAMILIES, is_plant=False),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Perform the runs, print the boards, and put them into the page with --write."""
    arguments = _parse(argv)
    if arguments.quick:
        with tempfile.TemporaryDirectory() as scratch:
            perform([LineRun(QUICK, "pump", "linear", "choosing", worth=True)], Path(scratch), 1)
            kept = Kept(Path(scratch))
            print(board(kept, ("choosing",), ("linear",), is_plant=True))
            print(worth(kept, ("choosing",), ("linear",)))
        return 0
    out = Path(arguments.out)
    runs = planned(Path(arguments.data), arguments.worth)
    if arguments.only is not None:
        try:
            runs = chosen(runs, arguments.only)
        except ValueError as error:
            print(f"python -m benchmarks.operators: {error}", file=sys.stderr)
            return 2
    out.mkdir(parents=True, exist_ok=True)
    failed = perform(runs, out, arguments.jobs or os.cpu_count() or 1)
    for name in failed:
        print(f"python -m benchmarks.operators: {name}: its process was killed", file=sys.stderr)
    tables = tables_of(out)
    for name, text in tables.items():
        print(f"\n{name}\n{text}")
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
        print(f"written: {PAGE}")
    return 1 if failed else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operators",
        description=(__doc__ or "").split("\n", 1)[0],
        epilog=f"runs: {_names(planned(Path(_DATA)))}."
        " example: python -m benchmarks.operators --only choosing-1.linear",
    )
    parser.add_argument(
        "--data", default=_DATA, metavar="DIR", help="labelled data sets, if any; default: %(default)s"
    )
    parser.add_argument(
        "--only", metavar="TEXT,...", help="runs whose names contain one of them; default: all"
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="lines or files at a time; default: one per core"
    )
    parser.add_argument(
        "--out",
        default="build/operators",
        metavar="DIR",
        help="where the runs are kept; default: %(default)s",
    )
    parser.add_argument("--write", action="store_true", help="put the boards into docs/trust.md")
    parser.add_argument(
        "--worth", action="store_true", help="also run without each kind of evidence: 2 to 4 times as long"
    )
    parser.add_argument("--quick", action="store_true", help="one small plant with the linear model")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
