"""`streamgauge demo`. Light: heavy imports stand inside the function."""

from __future__ import annotations

import argparse

from detector.commands.arguments import add_examples


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge demo`."""
    add_examples(
        parser,
        "streamgauge demo",
        "streamgauge demo --keep-running --out plant/",
        "streamgauge demo --no-browser                    # for scripts: ends after the table",
    )
    parser.add_argument(
        "--keep-running",
        action="store_true",
        help="keep everything running at the end; on a terminal that is the default",
    )
    parser.add_argument(
        "--no-browser",
        action="store_true",
        help="open no browser, print the address of the explorer, and end after the table",
    )
    parser.add_argument("--out", metavar="DIR", help="directory to keep history, models and verdicts in")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="random seed of plant and training")
    parser.add_argument("--seconds", type=float, metavar="N", help="seconds to stream for")


def demo(args: argparse.Namespace) -> int:
    """Run `streamgauge demo`. Returns the exit code."""
    from trainer.demo.demo import demo as run_demo

    return run_demo(args)
