"""What the measurements are made of: fairness, gaps between commits, the needs of a rate, Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil


def unfairness(partitions: Sequence[int]) -> int:
    """Return the largest number of partitions of a member less the smallest; 0 and 1 are fair."""
    return max(partitions) - min(partitions)


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold what was committed, and what had been sent, at a time in seconds."""

    seconds: float
    committed: int
    sent: int


def gaps(samples: Sequence[Sample]) -> list[float]:
    """Return the seconds of each stretch in which rows waited and no commit was seen, in order of time.

    A stretch ends with the first sample of more commits, or of nothing that waits.
    """
    found: list[float] = []
    since: float | None = None
    for before, after in pairwise(samples):
        waited = before.sent > before.committed
        if waited and after.committed == before.committed:
            since = before.seconds if since is None else since
        elif since is not None:
            found.append((after if waited else before).seconds - since)
            since = None
    if since is not None:
        found.append(samples[-1].seconds - since)
    return found


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold what one row costs a member.

    decode, score, write  processor time in microseconds of the three steps, measured alone
    whole                 processor time of a member in microseconds, with the client of Kafka and the service
    bytes_in, bytes_out   bytes read from the broker and written to it
    """

    decode: float
    score: float
    write: float
    whole: float
    bytes_in: float
    bytes_out: float


@dataclass(frozen=True, slots=True)
class Needs:
    """Hold what a rate needs: cores of one member each, partitions, MB/s in and out."""

    cores: int
    partitions: int
    mb_in: float
    mb_out: float


def needs(cost: Cost, rows_per_second: float, load: float) -> Needs:
    """Compute what a rate needs, from the cost of a row on one core.

    A member has one core. Twice as many partitions as members let a group grow twofold.

    Args:
        cost: of one row.
        rows_per_second: the rate.
        load: share of a core that may be used, in (0, 1].
    """
    cores = ceil(rows_per_second * cost.whole * 1e-6 / load)
    mb_in, mb_out = (rows_per_second * size * 1e-6 for size in (cost.bytes_in, cost.bytes_out))
    return Needs(cores, 2 * cores, mb_in, mb_out)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is of text, the others of numbers."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
