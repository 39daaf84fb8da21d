"""What a soak does and when, from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.groups.events import EVENTS


@dataclass(frozen=True)
class Course:
    """What a soak does, and when. A period of 0: never.

    share    of the capacity that is written, unless there is a rate in readings a second
    kills    minutes from one kill to the next
    joins    minutes from one rebalance by a further member to the next
    """

    minutes: int
    rate: float | None
    share: float
    kills: int
    joins: int
    events: tuple[str, ...]
    quiet_minutes: float
    disk_minutes: float
    out: str = ""

    def due(self, minute: int) -> list[str]:
        """The events of a minute: spread over the soak."""
        at = {
            round((n + 1) * self.minutes / (len(self.events) + 1)): one for n, one in enumerate(self.events)
        }
        return [at[minute]] if minute in at else []


def parse(argv: Sequence[str] | None, description: str) -> Course:
    """The course of these arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=description)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--minutes", type=int, default=30, metavar="M")
    add("--rate", type=float, metavar="N", help="readings a second; default: a share of the capacity")
    add("--share", type=float, default=0.5, metavar="S", help="of the capacity")
    add("--kills", type=int, default=1, metavar="M", help="minutes between two kills; 0: none")
    add("--joins", type=int, default=60, metavar="M", help="minutes between two rebalances; 0: none")
    add("--events", nargs="*", default=[], choices=list(EVENTS), help="which happen, spread over the time")
    add("--quiet-minutes", type=float, default=3.0, metavar="M", help="without rows, until ids expire")
    add("--disk-minutes", type=float, default=1.0, metavar="M", help="with a full disk")
    add("--out", metavar="FILE", help="write the table as JSON")
    add("--long", action="store_true", help="two hours at a third, hourly rebalances, every event")
    add("--slice", action="store_true", help="six minutes, a rebalance, every event")
    found = parser.parse_args(argv)
    events, out = tuple(found.events), found.out or ""
    if found.long:
        return Course(120, found.rate, 1 / 3, 0, 60, tuple(EVENTS), 3.0, 1.0, out)
    if found.slice:
        return Course(6, found.rate or 1_000.0, 1 / 3, 0, 2, tuple(EVENTS), 1.0, 0.5, out)
    return Course(
        found.minutes,
        found.rate,
        found.share,
        found.kills,
        found.joins,
        events,
        found.quiet_minutes,
        found.disk_minutes,
        out,
    )
