"""The picture of the terminal, from a real run of the demo: part of `make screenshots`.

    python -m benchmarks.pictures.terminal [--out DIR]

The demo runs for about two minutes. Its output becomes docs/images/demo.svg.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
_COMMAND = ("demo", "--no-browser", "--out", "plant")
_WIDTH = 120
_COLOURED = {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "0"}
"""Colours, but no bars of progress, though the output is no terminal."""
_PATIENCE_SECONDS = 1_800


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and write the picture. Returns the exit code of the demo."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures.terminal", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", metavar="DIR", type=Path, default=IMAGES, help="default: docs/images")
    args = parser.parse_args(argv)
    path = args.out / "demo.svg"
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        ended = subprocess.run(
            [sys.executable, "-m", "streamgauge", *_COMMAND],
            cwd=directory,
            env=os.environ | _COLOURED,
            stdout=subprocess.PIPE,
            timeout=_PATIENCE_SECONDS,
            check=False,
            text=True,
        )
        shown = ended.stdout.replace(f"{directory}/", "")  # the place is another one in each run
    if ended.returncode == 0:
        args.out.mkdir(parents=True, exist_ok=True)
        path.write_text(drawn(f"$ streamgauge {' '.join(_COMMAND)}\n{shown}"), encoding="utf-8")
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return ended.returncode


def drawn(output: str) -> str:
    """Return the output of a command, with its ANSI colours, as SVG that loads nothing."""
    console = Console(
        record=True, width=_WIDTH, file=io.StringIO(), color_system="truecolor", highlight=False
    )
    console.print(Text.from_ansi(output))
    fonts = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)  # they would come from another site
    form = fonts.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title="streamgauge demo", code_format=form, unique_id="demo")


if __name__ == "__main__":
    sys.exit(main())
