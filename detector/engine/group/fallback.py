"""The kinds that a fallback judges: series with equal channels, each kind by an engine of its own.

A kind is made when its first series comes, or when a saved state of one is restored. Its engine is one of
the group like any other, with a model that nobody has trained (`detector.artifact.fallback`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from detector.engine.engine import names_of, num_learnt_rows
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class KindLimits:
    """Bound what a fallback judges; what is beyond stays unassigned.

    kinds     different sets of channels
    series    series of all kinds together
    channels  channels of one kind
    """

    kinds: int = 32
    series: int = 1_000
    channels: int = 128


@dataclass(frozen=True, slots=True)
class Kind:
    """Hold how far a kind has come.

    model     the name of its fallback
    channels  sorted
    series    the series that it judges, in the order in which they came
    rows      normal rows from which these have learnt
    """

    model: str
    channels: tuple[str, ...]
    series: tuple[str, ...]
    rows: int


class FallbackKinds:
    """Makes the engines of unknown kinds, and tells how far they are. Not thread-safe.

    Args:
        group: receives the engines.
        make: returns the member of series with these channels, which are sorted.
        limits: the bounds.
        end: takes each member that was taken out, because its series are gone.
    """

    def __init__(
        self,
        group: EngineGroup,
        make: Callable[[tuple[str, ...]], Member],
        limits: KindLimits,
        end: Callable[[Member], None],
    ) -> None:
        self._group, self._make, self._limits, self._end = group, make, limits, end
        self._members: dict[tuple[str, ...], Member] = {}
        self._used: set[Member] = set()
        group.owners.open_kind = self.open

    def open(self, channels: tuple[str, ...]) -> Member | None:
        """Return the member of series with these channels, a new one if need be; None beyond the bounds."""
        channels = tuple(sorted(channels))
        found = self._members.get(channels)
        if found is not None:
            self._used.discard(found)  # a series of it is to come
            return found
        if not 0 < len(channels) <= self._limits.channels:
            return None
        if len(self._members) >= self._limits.kinds:
            self._free()
        if len(self._members) >= self._limits.kinds:
            return None
        member = self._members[channels] = self._make(channels)
        self._group.add(member, 0)
        return member

    def room(self) -> int:
        """Return how many further series may be judged; note which kinds have series."""
        num = {member: len(names_of(member.engine)) for member in self._members.values()}
        self._used |= {member for member in num if num[member]}
        return max(self._limits.series - sum(num.values()), 0)

    def _free(self) -> None:
        """Take out kinds that had series once and have none now."""
        for channels, member in list(self._members.items()):
            if member in self._used and not names_of(member.engine):
                del self._members[channels]
                self._used.discard(member)
                self._group.remove(member)
                self._end(member)

    def all(self) -> tuple[Kind, ...]:
        """Return the kinds with a series, in the order in which they came."""
        return tuple(
            Kind(member.name, channels, names, num_learnt_rows(member.engine))
            for channels, member in self._members.items()
            if (names := names_of(member.engine))
        )


def open_series(group: EngineGroup) -> Callable[[str], bool]:
    """Return a test whether a series is open: a fallback judges it, or no model matches its name.

    A model that comes while the daemon runs may match the name of a series that a fallback knows. The
    fallback keeps this series until the next restart. The answers hold until a model comes or goes.
    """
    is_matched = lru_cache(_REMEMBERED)(group.is_matched)

    def is_open(series: str) -> bool:
        home = group.home_of(series)
        return not is_matched(series) if home is None else home.is_fallback

    return is_open
