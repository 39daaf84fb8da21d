"""`streamgauge run`: the daemon."""

from __future__ import annotations

import argparse
from pathlib import Path

from detector.commands.arguments import add_examples

DONE = 0


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge run`."""
    add_examples(parser, "streamgauge run streamgauge.toml")
    parser.add_argument(
        "config", metavar="CONFIG", help="configuration in TOML; `config init` writes an example"
    )


def run(args: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or Ctrl-C stops it. Returns the exit code."""
    from detector.config.load import load_config

    path = Path(args.config)
    config = load_config(path)  # before the heavy imports: a wrong file is reported at once
    from detector.service.daemon import serve

    serve(config, lambda: load_config(path))
    return DONE
