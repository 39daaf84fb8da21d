"""One of two members ends, killed or asked to: seconds until all its partitions are committed again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.scaling.capacity import settle
from benchmarks.scaling.group import NUM_SERIES, Feed, Group, Site

SESSION_SECONDS = 10.0
TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Takeover:
    """Hold the signal, and for each round the seconds until every partition was committed again."""

    signal: str
    seconds: list[float]


def measure_signals(site: Site, num_rounds: int) -> list[Takeover]:
    """Measure SIGTERM and SIGKILL, each in as many rounds, on one group that is made whole after each."""
    feed = Feed(site, "takeover")
    feed.send(NUM_SERIES)
    found = []
    with Group(site, "takeover", SESSION_SECONDS) as group:
        for how in (signal.SIGTERM, signal.SIGKILL):
            seconds = [_round(group, feed, how) for _ in range(num_rounds)]
            found.append(Takeover(how.name, seconds))
    feed.close()
    return found


def _round(group: Group, feed: Feed, how: signal.Signals) -> float:
    """End one member while every partition gets rows ten times a second."""
    group.start(2 - len(group.members))
    group.wait_until(group.is_shared, "a group of two")
    settle(group, feed)
    with _flowing(feed):
        began = group.committed()
        group.wait_until(lambda: _is_beyond(group, began), "rows of every partition")
        ended = time.perf_counter()
        group.end(group.members[0], how)
        at_end = group.committed()
        group.wait_until(lambda: _is_beyond(group, at_end), "a commit of every partition")
        seconds = time.perf_counter() - ended
    settle(group, feed)
    return seconds


def _is_beyond(group: Group, offsets: list[int]) -> bool:
    """Return whether each partition was committed since."""
    return all(now > before for now, before in zip(group.committed(), offsets, strict=True))


@contextmanager
def _flowing(feed: Feed) -> Iterator[None]:
    """Write a row of every series each tick while the context lasts."""
    is_over = threading.Event()

    def flow() -> None:
        while not is_over.wait(TICK_SECONDS):
            feed.send(NUM_SERIES)

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
