"""The verbs `streamgauge train` and `streamgauge evaluate`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from trainer.errors import TrainerError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from trainer.config import TrainConfig


def train(args: argparse.Namespace) -> int:
    """Train, calibrate and publish a model; print a summary on standard output."""
    from detector.artifact.registry import publish
    from trainer.fitting.checkpoint import Checkpoints
    from trainer.pipeline import fit_source, source_of
    from trainer.progress import reporting

    config = _train_config(args)
    entry = Path(args.out)
    checkpoints = Checkpoints(entry / ".checkpoint")
    if not args.resume:
        checkpoints.clear()
    elif not checkpoints.exists():
        print(f"nothing to resume in {checkpoints.directory}: starting from the beginning", file=sys.stderr)
    try:
        with reporting(f"training {config.name}") as report:
            source = source_of(args.data, config.data.channels)
            artifact = fit_source(source, config, report, checkpoints.directory)
    except KeyboardInterrupt:
        if checkpoints.exists():
            print("the last epoch is saved; continue with the same command and --resume", file=sys.stderr)
        raise
    saved = publish(artifact, entry)
    checkpoints.clear()
    summary = _summary(entry, saved)
    if args.json:
        print(json.dumps(summary))
    else:
        _print_summary(summary)
    return 0


def _summary(entry: Path, saved: Artifact) -> dict[str, Any]:
    """Return the outcome of a training as `--json` prints it."""
    spec, training = saved.spec, saved.spec.training
    return {
        "path": str(entry),
        "version": saved.version,
        "family": spec.family,
        "window": spec.window,
        "channels": list(spec.channel_names),
        "interval_seconds": spec.interval_ns / 1e9,
        "rows": training["rows"],
        "epochs": training["epochs"],
        "best_epoch": training["best_epoch"],
        "stopped": training["stopped"],
        "train_loss": training["train_loss"],
        "validation_loss": training["validation_loss"],
        "threshold": spec.threshold.value,
        "threshold_method": spec.threshold.method,
        "alarm_budget": spec.threshold.alarm_budget,
    }


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate labelled files; print the table, write --json; return 1 if no file could be evaluated."""
    from trainer.evaluation.evaluate import evaluate as run_evaluation
    from trainer.evaluation.json_report import as_json
    from trainer.evaluation.options import EvaluationOptions
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
        scores=Path(args.scores) if args.scores else None,
    )
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)  # must fail before the work, not after it
    with reporting(f"evaluating {args.model}") as report:
        evaluation = run_evaluation(Path(args.data), options, args.jobs, report)
    console = Console() if sys.stdout.isatty() else Console(width=190)
    print_evaluation(evaluation, console)
    if args.json:
        Path(args.json).write_text(json.dumps(_known(as_json(evaluation)), indent=2) + "\n")
    return 0 if evaluation.results else 1


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
    }
    changes = {section: {name: getattr(args, name) for name in names} for section, names in flags.items()}
    changes["model"]["family"] = args.model
    try:
        changes["data"]["interval_seconds"] = parse_duration(args.interval) if args.interval else None
    except ValueError as error:
        raise TrainerError(f"--interval: {error}") from error
    return override(config, args.name or config.name or Path(args.out).resolve().name, changes)


def _print_summary(summary: dict[str, Any]) -> None:
    print(
        f"{summary['family']} over {len(summary['channels'])} channels, window {summary['window']},"
        f" one row every {summary['interval_seconds']:g} s, {summary['rows']:,} rows\n"
        f"{_course(summary)}\n"
        f"threshold {summary['threshold']:.4g} ({summary['threshold_method'].replace('_', ' ')})"
        f" for {summary['alarm_budget']} false alarms per series\n"
        f"published {summary['path']}, version {summary['version']}\n\n"
        f"next: streamgauge backtest {summary['path']} DATA\n"
        f"      streamgauge inspect {summary['path']}"
    )


def _course(summary: dict[str, Any]) -> str:
    """Return epochs and losses in a line."""
    if not summary["epochs"]:
        return "solved directly, no epochs"
    return (
        f"{summary['epochs']} epochs ({summary['stopped']}), best {summary['best_epoch']}:"
        f" loss {summary['train_loss']:.4g}, validation {summary['validation_loss']:.4g}"
    )


def _known(value: Any) -> Any:
    """Return the value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
