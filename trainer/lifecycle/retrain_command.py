"""`streamgauge retrain`: for cron, a CronJob, or by hand."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from detector.commands.arguments import add_examples, add_json
from detector.commands.models.on_copy import on_copy, the_current
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config.models.section import ModelSection
    from detector.engine.engine import EngineOptions
    from trainer.config import TrainConfig
    from trainer.lifecycle.retrain import Outcome, Wish

DONE = 0


def retrain_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge retrain`."""
    add_examples(
        parser,
        "streamgauge retrain history/ --out models/pump --daemon streamgauge.toml",
        "streamgauge retrain history/ --out models/pump --incidents report/ --held-back 3d",
        "streamgauge retrain history/ --out models/pump --config train.toml --json",
    )
    parser.add_argument(
        "data", metavar="DATA", help="recorded history: a file or directory of Parquet or CSV"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="registry entry of the model (DIR/NAME)")
    parser.add_argument(
        "--config", metavar="FILE", help="training configuration in TOML; default: as the current version"
    )
    parser.add_argument(
        "--daemon",
        metavar="FILE",
        help="the daemon's configuration: its incident rules, series, and topics of alerts and decisions",
    )
    parser.add_argument(
        "--incidents",
        metavar="SOURCE",
        help="incidents and decisions instead of the daemon's topics: output of a backtest, or a file",
    )
    parser.add_argument(
        "--held-back",
        metavar="TIME",
        help="the newest rows to compare on, such as 3d; default: a fifth of the history, at most a week",
    )
    parser.add_argument("--who", metavar="NAME", help="who asks for it; default: user@host")
    add_json(parser)


def retrain(args: argparse.Namespace) -> int:
    """Refit a model, and publish a candidate only if it is better. Returns the exit code."""
    return on_copy(args, "out", _retrain, the_current)


def _retrain(args: argparse.Namespace) -> int:
    from detector.commands.autoencoder import progress_bar
    from detector.journal import claimed
    from trainer.lifecycle.retrain import CLAIM, Outcome
    from trainer.lifecycle.retrain import retrain as run
    from trainer.progress import reporting

    wish = _wish(args)
    if wish.incidents is None:
        print(
            "no incidents were given: open ones are not seen, and none are left out; give --daemon or"
            " --incidents",
            file=sys.stderr,
        )
    with claimed(wish.entry, CLAIM) as is_ours:
        if not is_ours:
            outcome = Outcome("busy", "another retraining of this model is running")
        else:
            with (
                tempfile.TemporaryDirectory(prefix="streamgauge-retrain-") as scratch,
                reporting(f"retraining {wish.entry.name}") as report,
            ):
                outcome = run(wish, Path(scratch), report, lambda rows: progress_bar("comparing", rows))
    _tell(args, wish, outcome)
    return DONE


def _wish(args: argparse.Namespace) -> Wish:
    from detector.config.load import parse_duration
    from detector.delivery.decisions.deciding import user_at_host
    from trainer.lifecycle.own_series import own_series
    from trainer.lifecycle.retrain import Wish

    try:
        held_back = parse_duration(args.held_back) if args.held_back else None
    except ValueError as error:
        raise ConfigError(f"--held-back: {error}") from error
    if held_back is not None and held_back <= 0:
        raise ConfigError("--held-back: must be more than 0s: the models are compared on these rows")
    daemon = _daemon(args)
    return Wish(
        Path(args.data),
        Path(args.out),
        _config(args.config),
        args.incidents or args.daemon,
        held_back,
        _options(args),
        args.who or user_at_host(),
        own_series(Path(args.out), daemon),
        daemon,
    )


def _config(file: str | None) -> TrainConfig | None:
    from detector.config.load import load_toml
    from trainer.config import TrainConfig

    return load_toml(Path(file), TrainConfig) if file else None


def _options(args: argparse.Namespace) -> EngineOptions:
    from detector.config.engine_options import default_threads, engine_options
    from detector.config.models.entries import load_for
    from detector.engine.engine import EngineOptions

    if args.daemon:
        return engine_options(load_for(Path(args.daemon), args.place))
    return EngineOptions(threads=default_threads())


def _daemon(args: argparse.Namespace) -> ModelSection | None:
    from detector.config.models.entries import load_for

    return load_for(Path(args.daemon), args.place).model if args.daemon else None


def _tell(args: argparse.Namespace, wish: Wish, outcome: Outcome) -> None:
    from detector.lifecycle.versions import standing_line
    from trainer.lifecycle.listing import print_judgement

    judgement = outcome.judgement
    if args.json:
        found = {"outcome": outcome.kind, "why": outcome.why, "version": outcome.version or None}
        print(json.dumps(found | (judgement.as_json() if judgement is not None else {})))
        return
    if judgement is not None:
        print_judgement(judgement)
    if outcome.version:
        print(f"{outcome.why}\n{standing_line(wish.entry, outcome.version)}")
    else:
        print(f"nothing published, {outcome.kind}: {outcome.why}")
