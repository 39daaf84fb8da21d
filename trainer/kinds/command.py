"""`streamgauge train --group-by`: the training of a plant and its table."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext

from rich.console import Console
from rich.table import Table

from connectors.objects.names import is_remote, local_path
from detector.commands.arguments import note_of, place_of
from detector.workers.dask_cluster import workers_on
from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.kinds.grouping import Kind
from trainer.kinds.train_kind import KindModel
from trainer.kinds.train_plant import PlantOptions, PlantTraining, train_plant
from trainer.progress import reporting

_MOST_PATTERNS = 4
_MOST_SECTIONS = 8


def train_kinds(args: argparse.Namespace, config: TrainConfig) -> int:
    """Train a model of each kind and print the table; return 1 if a kind or a series has no model."""
    if args.name is not None:
        raise TrainerError("--name and --group-by exclude each other: each model has the name of its kind")
    registry = args.out if is_remote(args.out) else str(place_of(local_path(args.out), args))
    options = PlantOptions(args.group_by, config, args.jobs, args.resume, args.promote, note_of(args, {}))
    try:
        with (
            workers_on(args.on, args.jobs) if args.on else nullcontext() as executor,
            reporting(f"training the kinds of {args.data}") as report,
        ):
            plant = train_plant(place_of(args.data, args), registry, options, report, executor)
    except KeyboardInterrupt:
        words = "finished kinds are published; with --resume the others go on from their last epoch"
        print(words, file=sys.stderr)
        raise
    for model in plant.models:
        for line in model.findings:
            print(f"{model.kind.name}: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps(plant.as_json()))
    else:
        print_plant(plant, Console() if sys.stdout.isatty() else Console(width=140))
    return 0 if plant.is_complete else 1


def print_plant(plant: PlantTraining, console: Console) -> None:
    """Print a row for each kind, what stands out or failed, and the sections for daemons."""
    table = Table(title=f"kinds in {plant.registry}")
    table.add_column("kind", overflow="fold")
    for name in ("series", "channels", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("names", overflow="fold")
    table.add_column("model")
    for model in plant.models:
        summary = model.summary
        words = f"{summary['family']}, window {summary['window']}, version {summary['version']}"
        words += "" if summary["in_use"] else ", a candidate: see `streamgauge models promote`"
        table.add_row(*_sizes(model.kind), _patterns(model.kind, plant), words)
    for failure in plant.failures:
        table.add_row(*_sizes(failure.kind), "", "failed", style="bold")
    console.print(table)
    for line in _lines(plant):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _sizes(kind: Kind) -> tuple[str, ...]:
    return kind.name, f"{len(kind.series):,}", str(len(kind.channels)), f"{kind.num_rows:,}"


def _patterns(kind: Kind, plant: PlantTraining) -> str:
    """Return the patterns of the series of a kind, the first ones if there are many."""
    patterns = plant.patterns(kind)
    more = len(patterns) - _MOST_PATTERNS
    return ", ".join(patterns[:_MOST_PATTERNS]) + (f" and {more:,} more" if more > 0 else "")


def _lines(plant: PlantTraining) -> list[str]:
    lines = [f"{model.kind.name}: {one.words()}" for model in plant.models for one in model.stands_out]
    lines += [f"{model.kind.name}: note: {note}" for model in plant.models for note in model.summary["notes"]]
    lines += [f"not trained: {one.kind.name}: {one.reason}" for one in plant.failures]
    lines += [f"without a model: {name}: {reason}" for name, reason in sorted(plant.left_out.items())]
    for model in plant.models[:_MOST_SECTIONS]:
        lines += _next(model, plant)
    more = len(plant.models) - _MOST_SECTIONS
    return [*lines, f"and {more:,} more kinds: --json has all of them"] if more > 0 else lines


def _next(model: KindModel, plant: PlantTraining) -> list[str]:
    """Return the table of the configuration of one daemon for all kinds, or its section for the only one."""
    patterns = plant.patterns(model.kind)
    shown = ", ".join(json.dumps(one) for one in patterns[:_MOST_PATTERNS])
    more = (
        f"  # and {len(patterns) - _MOST_PATTERNS:,} more: see --json"
        if len(patterns) > _MOST_PATTERNS
        else ""
    )
    return [
        "",
        "[[models]]" if len(plant.models) > 1 else "[model]",
        f"path = {json.dumps(model.summary['path'])}",
        f"series = [{shown}]{more}",
    ]
