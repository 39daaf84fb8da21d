"""Say on the terminal that a store is being opened, and how much of it was fetched."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_QUIET_SECONDS = 1.0


@contextmanager
def opening(place: str, quiet_seconds: float = _QUIET_SECONDS) -> Iterator[Callable[[int, int], None]]:
    """Say on standard error that a place is being opened, if that takes time or files have to be fetched.

    Yields a function to call with two numbers: the files that were fetched, and those to fetch in all. They
    are shown as a bar, if standard error is a terminal.

    Args:
        place: as the user named it.
        quiet_seconds: nothing is printed before.
    """
    once = threading.Lock()

    def say() -> None:
        if once.acquire(blocking=False):
            print(f"opening {place}", file=sys.stderr, flush=True)

    timer = threading.Timer(quiet_seconds, say)
    timer.daemon = True
    timer.start()
    try:
        with _bar() as advance:

            def on_fetch(done: int, of: int) -> None:
                say()
                advance(done, of)

            yield on_fetch
    finally:
        timer.cancel()


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("fetching files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)
        yield lambda done, of: progress.update(task, completed=done, total=of, visible=True)
