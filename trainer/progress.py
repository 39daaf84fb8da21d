"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_LINE_SECONDS = 5.0


class ProgressReport(Protocol):
    """Takes how far the work is, 0 to 1, and a few words; what is notable is always shown."""

    def __call__(self, done: float, words: str, notable: bool = False) -> None: ...


def quiet(done: float, words: str, notable: bool = False) -> None:
    """A report that goes nowhere."""


@contextmanager
def reporting(title: str, show: bool = True) -> Iterator[ProgressReport]:
    """A report shown on standard error while the context lasts."""
    if not show:
        yield quiet
    elif sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield _Lines(title)


def _bar(title: str) -> Iterator[ProgressReport]:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=1.0, words="")

        def report(done: float, words: str, notable: bool = False) -> None:
            if notable:
                progress.console.print(f"{title}: {words}", highlight=False, markup=False)
            progress.update(task, completed=done, words=words)

        yield report


class _Lines:
    """At most a line every few seconds, but the last one and what is notable in any case."""

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
