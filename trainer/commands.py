"""`streamgauge train`, `check` and `evaluate`. Light: heavy imports stand inside the functions."""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.objects.names import cache_of, is_remote, local_path, name_of
from detector.commands.arguments import (
    add_data,
    add_examples,
    add_jobs,
    add_json,
    add_promote,
    add_without,
    note_of,
    place_of,
    switches_of_flag,
)
from detector.commands.models.on_copy import on_copy
from detector.models.listing import FAMILY_CLASSES
from trainer.errors import TrainerError
from trainer.fitting.parallel.launch import launched

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from trainer.config import TrainConfig
    from trainer.fitting.checkpoint import Checkpoints
    from trainer.training_report.report import HeldOutWindows

MODELS = ("ensemble", *FAMILY_CLASSES)


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge train`."""
    add_examples(
        parser,
        "streamgauge train history/ --out models/pump",
        "streamgauge train history/ --out models/pump --model lstm --window 128 --alarm-budget 1/month",
        "streamgauge train history/ --out models/pump --zone Europe/Berlin --modes auto",
        "streamgauge train history/ --out models/pump --config train.toml --resume",
        "streamgauge train plant/ --out models --group-by auto    # a model for each kind of machine",
        "streamgauge train /shared/plant/ --out /shared/models --group-by auto --on dask://scheduler:8786",
        "streamgauge train history/ --out s3://bucket/models/pump --promote    # in use at once, unchecked",
        "torchrun --nproc-per-node 2 -m streamgauge train history/ --out models/pump    # two processes",
    )
    parser.add_argument(
        "data", metavar="DATA", help="Parquet file, or directory of Parquet files (also Hive-partitioned)"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="registry entry to publish to (DIR/NAME, or a URI)"
    )
    parser.add_argument("--config", metavar="FILE", help="training configuration in TOML; flags override it")
    parser.add_argument("--name", help="name of the model; default: the last part of --out")
    _add_kinds(parser)
    _add_model(parser)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--interval", metavar="TIME", help="sampling interval, such as 60s; default: found in the data"
    )
    add_accept(data)
    data.add_argument(
        "--zone",
        metavar="ZONE",
        help="time zone whose days and weeks count, such as Europe/Berlin; default: UTC",
    )
    data.add_argument("--stride", type=int, metavar="N", help="rows from one training window to the next")
    data.add_argument(
        "--modes",
        choices=("off", "auto"),
        help="auto: take the modes of operation that the history shows; default: those of the file",
    )
    _add_training(parser)
    add_promote(parser)
    add_json(parser)


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge check`."""
    add_examples(
        parser,
        "streamgauge check history/",
        "streamgauge check history/ --json",
        "streamgauge check history/ --channels flow,pressure --accept looks_like_time",
    )
    add_data(parser)
    parser.add_argument("--channels", metavar="A,B", help="columns to use; default: all columns of numbers")
    add_accept(parser)
    add_json(parser)


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge evaluate`."""
    add_examples(
        parser,
        "streamgauge evaluate benchmark/ --model lstm --json out.json",
        "streamgauge evaluate benchmark/ --train-rows 2000 --offline --scores scores/",
        "streamgauge evaluate benchmark/ --model linear --worth",
        "streamgauge evaluate benchmark/ --report evaluation.html",
        "streamgauge evaluate /shared/benchmark/ --on dask://scheduler:8786    # on a cluster",
    )
    parser.add_argument("data", metavar="DIR", help="labelled Parquet files (columns label and split)")
    parser.add_argument("--model", choices=MODELS, default="ensemble", help="model family; default: ensemble")
    parser.add_argument("--json", metavar="FILE", help="write the measures to this file as JSON")
    parser.add_argument(
        "--report", metavar="FILE", help="write a sortable table as one HTML file that needs no server"
    )
    parser.add_argument(
        "--scores", metavar="OUT", help="write one Parquet file of scores per input file there"
    )
    parser.add_argument(
        "--train-rows", type=int, metavar="N", help="train on the first N rows; default: by the column split"
    )
    parser.add_argument("--window", type=_rows, metavar="N|auto", help="rows that the model sees at once")
    parser.add_argument(
        "--alarm-budget",
        metavar="N/TIME",
        help="false alarms allowed per series; default: 1/week, and 1/day beside it",
    )
    add_without(parser)
    parser.add_argument(
        "--worth", action="store_true", help="also run without each kind of evidence, and show the difference"
    )
    parser.add_argument("--max-epochs", type=int, metavar="N", help="most epochs to train for")
    parser.add_argument("--seed", type=int, metavar="N", help="random seed of the trainings")
    add_jobs(parser, "files", "evaluate the files")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--causal", action="store_true", default=True, help="score rows as the stream does (default)"
    )
    when.add_argument(
        "--offline", action="store_false", dest="causal", help="let windows that end later score a row too"
    )


def check(args: argparse.Namespace) -> int:
    """Print the data report; return 1 if a finding would stop a training and is not accepted."""
    from trainer.progress import reporting
    from trainer.report.findings import check_accepted
    from trainer.report.report import report_of

    check_accepted(args.accept)
    channels = tuple(args.channels.split(",")) if args.channels else None
    with reporting("checking") as progress:
        report = report_of(args.data, channels, progress)
    print(json.dumps(report.as_json()) if args.json else report.as_text())
    return 1 if report.stopping(args.accept) else 0


def train(args: argparse.Namespace) -> int:
    """Train, calibrate and publish a model, or one of each kind: candidates, unless first of their name."""
    place = launched()
    if place.rank > 0:
        from trainer.fitting.parallel.following import follow

        return follow(place)
    config = _train_config(args)
    if args.group_by is not None:
        if place.several:
            raise TrainerError("torchrun splits the training of one model; train kinds at a time by --jobs")
        from trainer.kinds.command import train_kinds

        return train_kinds(args, config)
    for name in ("jobs", "on"):
        if getattr(args, name) is not None:
            raise TrainerError(f"--{name} needs --group-by: a single model is trained in one process")
    from trainer.fitting.parallel.group import leading
    from trainer.fitting.parallel.restart import checkpoints_of

    kept = cache_of(args.out) if is_remote(args.out) else Path(local_path(args.out))
    # Before the others are met: a restart must not find the state of another training.
    checkpoints, goes_on = checkpoints_of(kept / ".checkpoint", args.resume, place)
    if goes_on and not checkpoints.exists():
        print(f"nothing to resume in {checkpoints.directory}: starting from the beginning", file=sys.stderr)
    with leading(place, config.fit.device):
        return _train_one(args, config, checkpoints)


def _train_one(args: argparse.Namespace, config: TrainConfig, checkpoints: Checkpoints) -> int:
    from trainer.pipeline import fit_source, source_of
    from trainer.progress import reporting
    from trainer.report.report import checked
    from trainer.training_report.report import HeldOutWindows

    data, held_out = config.data, HeldOutWindows()
    try:
        with reporting(f"training {config.name}") as report:
            for finding in checked(args.data, data.channels, data.accept, report, data.names()).findings:
                print(finding.line(), file=sys.stderr)
            source = source_of(args.data, data.channels, data.names())
            artifact = fit_source(source, config, report, checkpoints, held_out.keep)
    except KeyboardInterrupt:
        if checkpoints.exists():
            print("the last epoch is saved; continue with the same command and --resume", file=sys.stderr)
        raise
    code = on_copy(args, "out", lambda args: _publish(args, artifact, held_out), lambda args, entry: ())
    checkpoints.clear()
    return code


def _publish(args: argparse.Namespace, artifact: Artifact, held_out: HeldOutWindows) -> int:
    from detector.artifact.registry import propose, publish
    from trainer.model_card import figures_of, summary_text, training_summary
    from trainer.training_report.report import write_training_report

    entry = Path(args.out)
    saved = (publish if args.promote else propose)(artifact, entry, note_of(args, figures_of(artifact.spec)))
    write_training_report(saved, held_out, entry / saved.version)
    summary = training_summary(saved, entry)
    if args.json:
        print(json.dumps(summary))
    else:
        print(summary_text(summary))
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate labelled files; print the table, write --json; return 1 if a file could not be evaluated."""
    from rich.console import Console

    from detector.workers.dask_cluster import workers_on
    from trainer.evaluation.evaluate import evaluate as run_evaluation
    from trainer.evaluation.json_report import as_json
    from trainer.evaluation.options import EvaluationOptions
    from trainer.evaluation.report import write_evaluation_report
    from trainer.evaluation.table import print_evaluation
    from trainer.progress import reporting

    options = EvaluationOptions(
        family=args.model,
        train_rows=args.train_rows,
        causal=args.causal,
        window=args.window,
        seed=args.seed or 0,
        max_epochs=args.max_epochs,
        alarm_budget=args.alarm_budget or "1/week",
        budgets=() if args.alarm_budget else ("1/day",),
        scores=place_of(args.scores, args) if args.scores else None,
        worth=args.worth,
        without=switches_of_flag(args.without) or (),
    )
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)  # must fail before the work, not after it
    with (
        workers_on(args.on, args.jobs) if args.on else nullcontext() as executor,
        reporting(f"evaluating {args.model}") as report,
    ):
        evaluation = run_evaluation(place_of(args.data, args), options, args.jobs, report, executor)
    width = None if sys.stdout.isatty() else 190
    console = Console(width=width, markup=False, emoji=False)  # names of channels may have brackets
    print_evaluation(evaluation, console)
    if args.json:
        Path(args.json).write_text(json.dumps(_known(as_json(evaluation)), indent=2) + "\n")
    if args.report:
        write_evaluation_report(evaluation, Path(args.report))
    return 1 if evaluation.failures or not evaluation.results else 0


def _add_kinds(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_argument_group("a plant of several kinds of machines")
    kinds.add_argument(
        "--group-by",
        metavar="COLUMN|auto",
        help="a model for each value of a column, or (auto) for the series with equal channels; --out is"
        " then the registry, with an entry for each kind",
    )
    add_jobs(kinds, "kinds", "train the kinds")


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model (defaults belong to each family)")
    model.add_argument("--model", choices=MODELS, help="model family; default: ensemble")
    model.add_argument("--window", type=_rows, metavar="N|auto", help="rows that the model sees at once")
    model.add_argument("--latent", type=int, metavar="N", help="latent dimension")
    model.add_argument("--layers", type=int, metavar="N", help="number of layers")
    model.add_argument("--nodes", type=int, metavar="N", help="nodes per layer")
    model.add_argument("--patch", type=int, metavar="N", help="rows combined into one time step (lstm, gru)")
    model.add_argument("--activation", metavar="NAME", help="activation function")
    model.add_argument("--loss", metavar="NAME", help="loss function")
    model.add_argument("--beta", type=float, metavar="X", help="weight of the KL divergence (vae)")
    model.add_argument("--backbone", choices=("dense", "conv"), help="type of encoder and decoder (vae)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument(
        "--alarm-budget",
        metavar="N/TIME",
        help="false alarms allowed per series, such as 1/week (default), or in all, such as '3/day in all'",
    )
    training.add_argument(
        "--delay",
        metavar="N|TIME",
        help="decide so many rows later, or a time such as 5min, more accurately; default: 0",
    )
    training.add_argument("--max-epochs", type=int, metavar="N", help="most epochs to train for")
    training.add_argument("--seed", type=int, metavar="N", help="the same seed and data give the same model")
    training.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: auto")
    training.add_argument(
        "--noise", type=float, metavar="X", help="random noise added to training input, in scaled units"
    )
    training.add_argument(
        "--mask", type=float, metavar="SHARE", help="share of training input cells to hide (0 to below 1)"
    )
    training.add_argument(
        "--trim", type=float, metavar="SHARE", help="share of worst training windows to ignore (0 to 0.5)"
    )
    training.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint of an interrupted run"
    )


def add_accept(parser: argparse._ActionsContainer) -> None:
    """Add the flag --accept."""
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="NAME",
        help="train in spite of this finding of the data report; may be repeated",
    )


def _rows(text: str) -> int | None:
    """Return a number of rows, or None for "auto"."""
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of rows nor auto")
    return None if text == "auto" else int(text)


def _train_config(args: argparse.Namespace) -> TrainConfig:
    """Return the configuration of the file, overridden by the flags that were given."""
    from detector.config.load import load_toml, parse_duration
    from trainer.config import TrainConfig, override

    config = load_toml(Path(args.config), TrainConfig) if args.config else TrainConfig()
    flags = {
        "model": (
            *("window", "stride", "latent", "layers", "nodes", "activation", "loss", "patch"),
            *("beta", "backbone"),
        ),
        "fit": ("max_epochs", "seed", "device", "noise", "mask", "trim"),
        "scoring": ("alarm_budget", "delay"),
        "data": (),
        "calendar": ("zone",),
    }
    changes = {section: {name: getattr(args, name) for name in names} for section, names in flags.items()}
    changes["model"]["family"] = args.model
    changes["data"]["accept"] = (*config.data.accept, *args.accept)
    try:
        changes["data"]["interval_seconds"] = parse_duration(args.interval) if args.interval else None
    except ValueError as error:
        raise TrainerError(f"--interval: {error}") from error
    if args.modes is not None:
        config = config.model_copy(update={"modes": args.modes})
    return override(config, args.name or config.name or _name(args.out), changes)


def _name(out: str) -> str:
    return name_of(out) if is_remote(out) else Path(local_path(out)).resolve().name


def _known(value: Any) -> Any:
    """Return the value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
