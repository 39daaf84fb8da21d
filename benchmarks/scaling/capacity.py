"""Groups of 1 to 8 members on 16 partitions: fairness, first commit, rows a second, CPU time of a row.

The members are stopped (SIGSTOP) while the rows are written, with everything before committed. So nothing is
in flight where processor time is read. The start of the processes counts in no figure but the first commit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from benchmarks.scaling.figures import unfairness
from benchmarks.scaling.group import NUM_SERIES, Feed, Group, Site

SIZES = (1, 2, 4, 8)
WARMING_ROWS = 100 * NUM_SERIES
"""Fills the windows of 64 rows."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Hold the figures of a group: medians over its rounds, of which none has the start."""

    num_members: int
    unfair: int
    first_commit_seconds: float
    rows_per_second: float
    cpu_us_per_row: float


def measure_sizes(site: Site, sizes: tuple[int, ...], num_rows: int, num_rounds: int) -> list[Capacity]:
    """Measure groups one after the other, each with a topic of its own."""
    return [_measure(site, size, num_rows, num_rounds) for size in sizes]


def _measure(site: Site, num_members: int, num_rows: int, num_rounds: int) -> Capacity:
    topic = f"capacity-{num_members}"
    feed = Feed(site, topic)
    feed.send(WARMING_ROWS)
    with Group(site, topic) as group:
        began = time.perf_counter()
        group.start(num_members)
        group.wait_until(lambda: sum(group.committed()) > 0, "the first commit")
        first = time.perf_counter() - began
        group.wait_until(group.is_shared, "a group of all members")
        unfair = unfairness(group.partitions())
        settle(group, feed)
        rounds = [_round(group, feed, num_rows) for _ in range(num_rounds)]
    feed.close()
    cpu, seconds = (median(column) / num_rows for column in zip(*rounds, strict=True))
    return Capacity(num_members, unfair, first, 1 / seconds, 1e6 * cpu)


def _round(group: Group, feed: Feed, num_rows: int) -> tuple[float, float]:
    """Return the CPU seconds of all members for rows that are all there, and the seconds that pass."""
    group.pause()
    feed.send(num_rows)
    cpu, began = group.cpu_seconds(), time.perf_counter()
    group.go_on()
    settle(group, feed)
    return group.cpu_seconds() - cpu, time.perf_counter() - began


def settle(group: Group, feed: Feed) -> None:
    """Wait until everything that was sent is committed."""
    group.wait_until(lambda: sum(group.committed()) >= feed.num_sent, "the commit of every row")
