"""`streamgauge run`: the daemon."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from detector.commands.arguments import add_examples
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config.load import Config

DONE = 0
_LEAST_SECONDS = 60.0


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge run`."""
    add_examples(
        parser,
        "streamgauge run streamgauge.toml",
        "streamgauge run streamgauge.toml --retrain-every 7d --history history/",
    )
    parser.add_argument(
        "config", metavar="CONFIG", help="configuration in TOML; `config init` writes an example"
    )
    parser.add_argument(
        "--retrain-every",
        metavar="TIME",
        help="run `retrain` in a process of low priority after this time, such as 7d; needs --history",
    )
    parser.add_argument(
        "--history", metavar="DIR", help="what `streamgauge record` writes, for --retrain-every"
    )


def run(args: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or Ctrl-C stops it. Returns the exit code."""
    from detector.config.load import load_config

    path = Path(args.config)
    config = load_config(path)  # before the heavy imports: a wrong file is reported at once
    with _retraining(args, config):
        from detector.service.daemon import serve

        serve(config, lambda: load_config(path))
    return DONE


@contextmanager
def _retraining(args: argparse.Namespace, config: Config) -> Iterator[None]:
    """Retrain now and then while the context lasts, if the flags ask for it. Raises ConfigError."""
    from detector.artifact.description.manifest import MANIFEST
    from detector.config.load import parse_duration
    from detector.service.candidates.retraining import Retraining, retrain_command

    if args.retrain_every is None and args.history is None:
        yield
        return
    if args.retrain_every is None or args.history is None:
        raise ConfigError("--retrain-every and --history need each other")
    try:
        every = parse_duration(args.retrain_every)
    except ValueError as error:
        raise ConfigError(f"--retrain-every: {error}") from error
    if every < _LEAST_SECONDS:
        raise ConfigError("--retrain-every: at least 1m, such as 7d")
    entry = Path(config.model.path)
    if "://" in config.model.path or (entry / MANIFEST).exists():
        raise ConfigError(f"--retrain-every: [model] path {entry} is no registry entry on this disk")
    command = retrain_command(Path(args.history), entry, Path(args.config))
    retraining = Retraining(entry, every, command)
    retraining.start()
    try:
        yield
    finally:
        retraining.close()
