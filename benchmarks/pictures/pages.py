"""Pictures of the pages and reports, from a simulated plant: `make screenshots`.

    python -m benchmarks.pictures.pages [NAME ...] [--out DIR] [--all]

A day of pumps with ten faults goes through training, backtest, reports and explorer. For the live page it
goes through Apache Kafka, a daemon, and the explorer of the group. Chromium shows the pages. Everything
follows from a seed. `--all` also makes the pictures that no page of the docs shows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.pages.running_group import running_group
from benchmarks.pictures import plant_day
from benchmarks.pictures.shots import BACKTEST, GROUPS, LIVE, SHOTS, Shot

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
SERIES, CHANNEL = "pump-01", "current"
_COLOURS = 128
_GAP = 24
_LOOSER = 3
"""Steps of the slider from the alarm budget in force, 1/week, to 3/day."""
_FLAGS = ("--port", "0", "--no-browser", "--user", "ada")
_PATIENCE_MS = 300_000
_READY = "body:not([aria-busy])"
REPORTS: dict[str, Callable[[], Path]] = {
    "backtest.html": plant_day.backtest_report,
    "both.html": plant_day.comparison_report,
    "training.html": plant_day.training_report,
    "evaluation.html": plant_day.evaluation_report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the named pictures, or those that the docs show. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures.pages", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(SHOTS)}")
    parser.add_argument("--out", metavar="DIR", type=Path, default=IMAGES, help="default: docs/images")
    parser.add_argument("--all", action="store_true", help="also those that no page shows")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="where to keep and find data and backtest")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in SHOTS]:
        parser.error(f"no such picture: {', '.join(unknown)}; known: {', '.join(SHOTS)}")
    names = args.names or [name for name, shot in SHOTS.items() if shot.is_shown or args.all]
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        place = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plant-")))
        place.mkdir(parents=True, exist_ok=True)
        stack.enter_context(contextlib.chdir(place))  # the pages show relative paths then
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        for source in dict.fromkeys(SHOTS[name].source for name in names):
            with _served(source) as site:
                for name in names:
                    if SHOTS[name].source == source:
                        path = out / f"{name}.png"
                        _save(_picture(browser, site, SHOTS[name]), path)
                        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return 0


@contextlib.contextmanager
def _served(source: str) -> Iterator[str]:
    """Yield the address of an explorer, without a slash at its end; empty where none is needed."""
    if source in (BACKTEST, GROUPS):
        report = plant_day.backtest() if source == BACKTEST else plant_day.backtest_of_lines()
        with _explored(report) as site:
            yield site
    elif source == LIVE:
        plant, start_ns = plant_day.plant_with_faults(), plant_day.START_NS
        model = plant_day.model()
        with tempfile.TemporaryDirectory() as scratch, running_group(Path(scratch), model) as group:
            readings = plant.readings(start_ns, start_ns + plant_day.DAY_NS // 3)
            group.send(readings)
            group.wait_for_rows(len(readings) - plant.num_pumps)  # the newest row of each is still open
            yield group.site
    else:
        yield ""


@contextlib.contextmanager
def _explored(report: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "streamgauge", "explore", str(report), *_FLAGS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = (word for line in process.stdout for word in line.split())
            yield next(word.rstrip("/") for word in words if word.startswith("http"))
        finally:
            process.terminate()


def _picture(browser: Browser, site: str, shot: Shot) -> Image.Image:
    """Return the pages of a picture beside each other, as windows of its size show them."""
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
    try:
        return _beside([_taken(page, _address(page, site, one), shot) for one in shot.paths])
    finally:
        context.close()


def _address(page: Page, site: str, path: str) -> str:
    """Return the whole address of a page; the incident is one of the named channel."""
    if path in REPORTS:
        return REPORTS[path]().resolve().as_uri()
    incident = ""
    if "{incident}" in path:
        page.goto(f"{site}/series?name={SERIES}")
        page.wait_for_selector(_READY)
        href = page.locator("#incidents a", has_text=CHANNEL).first.get_attribute("href") or ""
        incident = href.partition("id=")[2]
    return site + path.format(series=SERIES, incident=incident)


def _taken(page: Page, address: str, shot: Shot) -> Image.Image:
    page.goto(address)
    page.wait_for_selector(_READY)
    if shot.asks:
        _ask(page)
    if shot.at:
        page.locator(shot.at).evaluate("one => one.scrollIntoView()")
    taken = page.screenshot(animations="disabled")
    return Image.open(io.BytesIO(taken)).convert("RGB")


def _ask(page: Page) -> None:
    """Ask what a looser budget finds, and wait for the answer."""
    page.locator("#whatif > summary").click()
    for _ in range(_LOOSER):
        page.get_by_label("Alarm budget").press("ArrowRight")
    page.get_by_role("button", name="Compute").click()
    expect(page.get_by_label("Changed settings as TOML")).to_be_visible(timeout=_PATIENCE_MS)


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
