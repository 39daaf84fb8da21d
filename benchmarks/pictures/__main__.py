"""Draw the pictures of docs/context.md, docs/alarms.md and docs/method.md: `make pictures`.

    python -m benchmarks.pictures [NAME ...] [--out DIR]

Each picture is a generated history through the real training, and a stream through the real engine. The model
is linear, so all of them take about two minutes. They are PNG files of few colours in docs/images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.pictures import context, lasting
from benchmarks.pictures.drawing import save

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
PICTURES: dict[str, Callable[[], Figure]] = {
    "season": context.season,
    "modes": context.modes,
    "wear": context.wear,
    "counts": context.counts,
    "lasting-fault": lasting.lasting_fault,
    "acceptance": lasting.acceptance,
    "method": lasting.method,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the named pictures, or all of them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(PICTURES)}; default: all"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=IMAGES, help="default: docs/images")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in PICTURES]:
        parser.error(f"no such picture: {', '.join(unknown)}; known: {', '.join(PICTURES)}")
    for name in args.names or PICTURES:
        path = args.out / f"{name}.png"
        save(PICTURES[name](), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
