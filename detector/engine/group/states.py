"""The saved states of several engines: which changed, what is saved, and whose a saved one is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from detector.artifact.fallback.statistical import is_fallback
from detector.engine.engine import Changed
from detector.engine.group.member import Member
from detector.engine.snapshot import SeriesState

OpenKind: TypeAlias = Callable[[tuple[str, ...]], Member | None]
"""Returns the fallback of series with these channels; None where there is none."""


def changed_of(members: Sequence[Member]) -> Changed:
    """Return the series that have changed since they were saved.

    Their slots are numbers for `save` alone: slot of the engine * members + number of the member.
    """
    num = len(members)
    if not members:
        no_series = np.empty(0, np.int32)
        return Changed(no_series, no_series, np.empty(0, np.int64), np.empty(0, np.bool_))
    found = [member.engine.changed() for member in members]
    return Changed(
        np.concatenate([one.slot * np.int32(num) + np.int32(at) for at, one in enumerate(found)]),
        np.concatenate([one.partition for one in found]),
        np.concatenate([one.since for one in found]),
        np.concatenate([one.urgent for one in found]),
    )


def save(members: Sequence[Member], slots: NDArray[np.int32]) -> list[SeriesState]:
    """Return the state of these series of `changed_of`, by ascending slot; each names its model."""
    slots, num = np.sort(slots), len(members)
    found: dict[int, SeriesState] = {}
    for at in np.unique(slots % num).tolist():
        places = np.flatnonzero(slots % num == at)
        states = members[at].engine.save(slots[places] // num)
        for place, state in zip(places.tolist(), states, strict=True):
            found[place] = replace(state, model=members[at].name)
    return [found[place] for place in range(len(slots))]


def _no_kind(channels: tuple[str, ...]) -> None:
    """Return None: there is no fallback."""


class Owners:
    """Finds the member that continues a saved series. Not thread-safe.

    Attributes:
        open_kind: returns the fallback of series without a model; at first there is none.
        left: series with a saved state of a model that is not in use; a new state would replace it.
    """

    def __init__(self) -> None:
        self.open_kind: OpenKind = _no_kind
        self.left: set[str] = set()

    def of(self, members: Sequence[Member], state: SeriesState) -> Member | None:
        """Return the member that continues a saved series; None where its model is not in use.

        1. The model that saved it, unless its patterns no longer match and those of another one do.
        2. Of a state without the name of a model: the first with its channels whose patterns match.
        3. Of a state of a fallback: a model that matches and has enough of its channels. Where no name
           matches, the fallback of its channels. Where one matches without these channels, nobody.
        """
        found = self._find(members, state)
        if found is None and not is_fallback(state.model):
            self.left.add(state.name)
        return found

    def leave(self, member: Member) -> None:
        """Take in that a model is not in use any more; its saved states stay."""
        if not member.is_fallback:
            self.left.update(member.engine.latest.names)

    def _find(self, members: Sequence[Member], state: SeriesState) -> Member | None:
        matching = [member for member in members if member.matches(state.name)]
        if not state.model:
            return next((one for one in matching if one.channels == state.origin.channels), None)
        saved = next((one for one in members if one.name == state.model), None)
        if is_fallback(state.model) and not matching:
            return self.open_kind(state.origin.channels)
        if (saved is None and not is_fallback(state.model)) or saved in matching:
            return saved
        has = set(state.origin.channels)
        fits = (one for one in matching if len(has.intersection(one.channels)) >= one.least_channels)
        return next(fits, None if is_fallback(state.model) else saved)
