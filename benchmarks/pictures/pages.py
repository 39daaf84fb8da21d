"""Pictures of the explorer's pages, from a backtest of a simulated plant: `make screenshots`.

    python -m benchmarks.pictures.pages [NAME ...] [--out DIR] [--all]

A day of pumps with ten faults goes through training, backtest and explorer; Chromium shows the pages.
Everything follows from a seed. `--all` also makes the pictures that no page of the docs shows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from connectors.parquet.writer import TableWriter
from streamgauge import main as streamgauge
from trainer.demo.plant import Plant, faults_of_a_day, history_columns

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
SERIES, CHANNEL = "pump-01", "current"
_DAY_NS = 86_400_000_000_000
_START_NS = 1_780_272_000_000_000_000
"""Monday, 2026-06-01, UTC."""
_HISTORY_DAYS = 4
_COLOURS = 200
_GAP = 24
_PATIENCE_MS = 120_000
DESKTOP, PHONE = (1280, 860), (390, 844)


@dataclass(frozen=True, slots=True)
class Shot:
    """Describe a picture.

    paths     of the pages, beside each other; "{series}" and "{incident}" are filled in
    size      width and height of the window in CSS pixels
    scheme    light or dark
    is_shown  whether a page of the docs has it
    """

    paths: tuple[str, ...]
    size: tuple[int, int] = DESKTOP
    scheme: str = "light"
    is_shown: bool = True


_FLEET, _SERIES, _INCIDENT = "/", "/series?name={series}", "/incident?id={incident}"
SHOTS = {
    "explorer-fleet": Shot((_FLEET,)),
    "explorer-series": Shot((_SERIES,)),
    "explorer-incident": Shot((_INCIDENT,)),
    "explorer-dark": Shot((_INCIDENT,), scheme="dark"),
    "explorer-phone": Shot((_FLEET, _SERIES, _INCIDENT), PHONE),
    "explorer-fleet-dark": Shot((_FLEET,), scheme="dark", is_shown=False),
    "explorer-series-dark": Shot((_SERIES,), scheme="dark", is_shown=False),
    "explorer-phone-dark": Shot((_FLEET, _SERIES, _INCIDENT), PHONE, "dark", is_shown=False),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the named pictures, or those that the docs show. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures.pages", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(SHOTS)}")
    parser.add_argument("--out", metavar="DIR", type=Path, default=IMAGES, help="default: docs/images")
    parser.add_argument("--all", action="store_true", help="also those that no page shows")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="where to keep and find the backtest")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in SHOTS]:
        parser.error(f"no such picture: {', '.join(unknown)}; known: {', '.join(SHOTS)}")
    names = args.names or [name for name, shot in SHOTS.items() if shot.is_shown or args.all]
    args.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        directory = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = stack.enter_context(_explored(_backtested(directory)))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        for name in names:
            path = args.out / f"{name}.png"
            _save(_beside([_taken(browser, site, page, SHOTS[name]) for page in SHOTS[name].paths]), path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return 0


def _backtested(directory: Path) -> Path:
    """Return the output of a backtest of a day with faults; it is made where it is missing."""
    out = directory / "report"
    if (out / "backtest.json").exists():
        return out
    healthy = Plant()
    plant = Plant(faults=faults_of_a_day(healthy, _START_NS))
    _write(healthy, directory / "history", _START_NS - _HISTORY_DAYS * _DAY_NS, _START_NS)
    _write(plant, directory / "day", _START_NS, _START_NS + _DAY_NS)
    model, history = str(directory / "models" / "pumps"), str(directory / "history")
    for words in (
        ("train", history, "--out", model, "--model", "linear"),
        ("backtest", model, str(directory / "day"), "--out", str(out)),
    ):
        with contextlib.redirect_stdout(io.StringIO()):
            code = streamgauge(words)
        if code:
            raise SystemExit(f"`streamgauge {' '.join(words)}` failed with {code}")
    return out


def _write(plant: Plant, directory: Path, start_ns: int, end_ns: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, columns in history_columns(plant, start_ns, end_ns):
        with TableWriter(directory / f"{name}.parquet") as writer:
            writer.write({key: value for key, value in columns.items() if key != "label"})


@contextlib.contextmanager
def _explored(report: Path) -> Iterator[str]:
    """Yield the address of the explorer, without a slash at its end."""
    command = [sys.executable, "-m", "streamgauge", "explore", str(report), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = (word for line in process.stdout for word in line.split())
            yield next(word.rstrip("/") for word in words if word.startswith("http"))
        finally:
            process.terminate()


def _taken(browser: Browser, site: str, path: str, shot: Shot) -> Image.Image:
    """Return the picture of a page as a window of that size shows it."""
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if shot.scheme == "dark" else "light",
        device_scale_factor=1,
        locale="en-GB",
        timezone_id="UTC",
    )
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{site}/series?name={SERIES}")
    page.wait_for_selector("body:not([aria-busy])")
    of_channel = page.locator("#incidents a", has_text=CHANNEL)
    href = of_channel.first.get_attribute("href") or ""
    page.goto(site + path.format(series=SERIES, incident=href.partition("id=")[2]))
    page.wait_for_selector("body:not([aria-busy])")
    taken = page.screenshot(animations="disabled")
    context.close()
    return Image.open(io.BytesIO(taken)).convert("RGB")


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures beside each other, with a gap between them."""
    width = sum(one.width for one in pictures) + _GAP * (len(pictures) - 1)
    joined = Image.new("RGB", (width, max(one.height for one in pictures)), "#8a8f98")
    left = 0
    for one in pictures:
        joined.paste(one, (left, 0))
        left += one.width + _GAP
    return joined


def _save(picture: Image.Image, path: Path) -> None:
    picture.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
