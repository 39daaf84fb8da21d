"""`streamgauge train`, `evaluate` and `demo`. Light: heavy imports stand inside the functions."""

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
    from trainer.config import TrainConfig


def train(args: argparse.Namespace) -> int:
    """Train, calibrate and publish a model; print a summary on standard output."""
    from detector.artifact.registry import publish
    from trainer.fitting.checkpoint import Checkpoints
    from trainer.model_card import summary_text, training_summary
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
    summary = training_summary(saved, entry)
    if args.json:
        print(json.dumps(summary))
    else:
        print(summary_text(summary))
    return 0


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


def _known(value: Any) -> Any:
    """Return the value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
