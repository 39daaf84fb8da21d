"""Names of the events of a model on object storage, and what follows from the names alone.

    journal/00000008.1f2e3d4c.promoted.8546cced512f.json

A name has a number, a random text, the action and the version. The number is one more than the highest that
its writer saw. Names are ordered by number, then by the random text, and the newest move counts. Two
processes that write at once have names of their own. So neither replaces what the other wrote, and all
readers agree.

A version that was removed, and not published since, is never the current one. Each process that moves or
removes looks again after it wrote. Of two at once, at least one sees the other, and the order of the names
decides. No clock and no lock is part of this.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

FOLDER = "journal"
MOVES = ("promoted", "rolled back")
_NAME = re.compile(r"journal/(\d{8,})\.([0-9a-f]{8})\.([a-z-]+)\.([0-9a-f]{12})?\.json")


class EventName(NamedTuple):
    """Hold the name of an event; names are ordered as events are.

    number   one more than the highest that its writer saw
    random   tells two events of one number apart
    action   as in the journal, such as "rolled back"
    version  the version that it is about; empty for some
    """

    number: int
    random: str
    action: str
    version: str

    @property
    def path(self) -> str:
        """The name of the object, from the entry on."""
        action = self.action.replace(" ", "-")
        return f"{FOLDER}/{self.number:08d}.{self.random}.{action}.{self.version}.json"


def names_of(objects: Iterable[str]) -> tuple[EventName, ...]:
    """Return the events among names of objects, the oldest first.

    >>> [one.action for one in names_of(["journal/00000001.0a1b2c3d.rolled-back.8546cced512f.json", "x"])]
    ['rolled back']
    """
    found = (_NAME.fullmatch(one) for one in objects)
    return tuple(
        sorted(EventName(int(one[1]), one[2], one[3].replace("-", " "), one[4] or "") for one in found if one)
    )


def next_name(names: Sequence[EventName], action: str, version: str) -> EventName:
    """Return a name that comes after all of `names`, and is unlike any other.

    >>> next_name(names_of(["journal/00000007.0a1b2c3d.removed.8546cced512f.json"]), "removed", "").number
    8
    """
    return EventName(names[-1].number + 1 if names else 1, secrets.token_hex(4), action, version)


def pointer_of(names: Sequence[EventName]) -> str | None:
    """Return the version that the newest move made current, None if none counts.

    >>> first = "journal/00000001.0a1b2c3d.promoted.8546cced512f.json"
    >>> second = "journal/00000002.0a1b2c3d.promoted.0123456789ab.json"
    >>> pointer_of(names_of([first, second]))
    '0123456789ab'
    >>> gone = "journal/00000003.0a1b2c3d.removed.0123456789ab.json"
    >>> pointer_of(names_of([first, second, gone]))
    '8546cced512f'
    """
    removed = removed_of(names)
    moves = (one for one in reversed(names) if one.action in MOVES and one.version not in removed)
    return next((one.version for one in moves), None)


def removed_of(names: Sequence[EventName]) -> frozenset[str]:
    """Return the versions that were removed, and not published since."""
    last = {one.version: one.action for one in names if one.action in ("published", "removed")}
    return frozenset(version for version, action in last.items() if action == "removed")
