"""Progress of long work: a bar on a terminal, lines elsewhere, nothing when it is not wanted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

VARIABLE = "STREAMGAUGE_PROGRESS"
"""Environment variable that shows (1) or hides (0) the progress of library calls."""
_LINE_SECONDS = 5.0
_NO = {"0", "false", "no", "off"}


class ProgressReport(Protocol):
    """Receive the share of the work that is done, 0 to 1, and a few words; notable words are always shown."""

    def __call__(self, done: float, words: str, notable: bool = False) -> None: ...


def quiet(done: float, words: str, notable: bool = False) -> None:
    """Show nothing."""


def is_wanted() -> bool:
    """Return whether a library call shows its progress: on a terminal, in a notebook, or if VARIABLE asks.

    Scripts whose standard error goes to a file stay silent.
    """
    setting = os.environ.get(VARIABLE, "").strip().lower()
    return setting not in _NO if setting else sys.stderr.isatty() or _is_notebook()


@contextmanager
def reporting(title: str, show: bool = True) -> Iterator[ProgressReport]:
    """Show a report on standard error while the context lasts.

    Args:
        title: Words before each line, such as "training pump".
        show: False gives a report that shows nothing.
    """
    if not show:
        yield quiet
    elif sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield _Lines(title)


def _is_notebook() -> bool:
    """Return whether an IPython kernel runs this code; IPython is not imported for it."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and hasattr(get_ipython(), "kernel")


def _bar(title: str) -> Iterator[ProgressReport]:
    columns = (
        TextColumn("{task.description}", "bold", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=1.0, words="")

        def report(done: float, words: str, notable: bool = False) -> None:
            if notable:
                progress.console.print(f"{title}: {words}", highlight=False, markup=False)
            progress.update(task, completed=done, words=words)

        yield report


class _Lines:
    """Print at most one line every few seconds; the last line and notable ones are always printed."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = time.monotonic()
        self._next = 0.0

    def __call__(self, done: float, words: str, notable: bool = False) -> None:
        now = time.monotonic()
        if now < self._next and done < 1.0 and not notable:
            return
        self._next = now + _LINE_SECONDS
        spent = now - self._started
        left = f", about {spent / done * (1 - done):.0f} s left" if 0 < done < 1 else ""
        print(f"{self._title}: {done:4.0%} {words}{left}", file=sys.stderr, flush=True)
