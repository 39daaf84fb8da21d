"""Route series that no model matches to a fallback, which judges every kind from its first rows.

The rule. A series is *open* if its name matches the patterns of no model. Its kind are the channels of its
first message with a value. It stays with the fallback of this kind while that one knows it, even if a model
comes that matches its name. Channels that come later are unknown ones. What is beyond the bounds of the
fallback stays unassigned. So does a series with a saved state of a model that is not in use.

Names and the order of messages in a partition decide, and not how they are cut into batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from connectors.records import Batch, Readings, Reject
from detector import logs
from detector.delivery.routing.router import Router
from detector.delivery.routing.tally import Unassigned
from detector.delivery.unassigned import begins_of
from detector.engine.group.fallback import FallbackKinds
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member


class FallbackRouter:
    """Routes batches whose columns are those of the models and those of open series (`Router`).

    Args:
        group: all models, those of the fallback among them.
        kinds: makes the latter.
        router: routes what is not open.
        columns: returns the channels of the columns of the last batch, or more of them.
        is_cut: whether a channel of a series was left out, because there were too many. Such a series is not
            judged, since its kind would be another one after a restart.
    """

    def __init__(
        self,
        group: EngineGroup,
        kinds: FallbackKinds,
        router: Router,
        columns: Callable[[], tuple[str, ...]],
        is_cut: Callable[[str], bool],
    ) -> None:
        self._group, self._kinds, self._router, self._columns = group, kinds, router, columns
        self._is_cut, self._has_told = is_cut, False

    @property
    def unassigned(self) -> Unassigned:
        """What is unassigned now."""
        return self._router.unassigned

    def route(self, batch: Batch) -> Batch:
        """Return the batch without unassigned messages, in the columns of all models."""
        readings = batch.readings
        has = ~np.isnan(readings.values)
        homes = self._homes(readings, has)
        judged = np.array([name in homes for name in readings.names], np.bool_)
        first = np.array([homes.get(name, (None, 0))[1] for name in readings.names], np.int64)
        mine = judged[readings.series] & (np.arange(len(readings)) >= first[readings.series])
        begins = begins_of(readings, mine)
        rejects = {
            at for at, one in enumerate(batch.rejects) if self._is_of_judged(one, begins)
        }  # the others may be of unassigned series
        of_models, of_open = self._columns_of_group(readings.values.shape[1])
        rest = self._router.route(
            replace(
                batch,
                readings=_placed(readings, ~mine, of_models),
                rejects=tuple(one for at, one in enumerate(batch.rejects) if at not in rejects),
            )
        )
        kept = {id(one) for one in rest.rejects} | {id(batch.rejects[at]) for at in rejects}
        for name, (member, _) in homes.items():
            self._group.assign(name, member)
        self._router.forget_unassigned(homes)
        own = self._of_kinds(_placed(readings, mine, of_open), has[mine], homes)
        strange = int(np.count_nonzero(has[mine])) - int(np.count_nonzero(~np.isnan(own.values)))
        return replace(
            rest,
            readings=_both(rest.readings, own),
            rejects=tuple(one for one in batch.rejects if id(one) in kept),
            unknown_values=rest.unknown_values + strange,
        )

    def _homes(self, readings: Readings, has: NDArray[np.bool_]) -> dict[str, tuple[Member, int]]:
        """Return the fallback of each series that has one, and the reading from which it judges."""
        found: dict[str, tuple[Member, int]] = {}
        room = self._kinds.room()
        names, has_value = self._columns(), has.any(axis=1)
        for code, name in enumerate(readings.names):
            home = self._group.home_of(name)
            if home is not None and home.is_fallback:  # also if a model that came later matches the name
                found[name] = home, 0
            if (
                home is not None
                or room <= 0
                or name in self._group.owners.left
                or self._group.is_matched(name)
            ):
                continue
            rows = np.flatnonzero((readings.series == code) & has_value)
            if not len(rows) or self._is_beyond(name):
                continue
            channels = tuple(names[column] for column in np.flatnonzero(has[rows[0]]).tolist())
            member = self._kinds.open(channels)
            if member is not None:
                found[name] = member, int(rows[0])
                room -= 1
        return found

    def _is_beyond(self, series: str) -> bool:
        """Return whether a channel of a new series was left out; log this once."""
        if not self._is_cut(series):
            return False
        if not self._has_told:
            self._has_told = True
            logs.event(
                "fallback leaves series alone: there are too many different channels",
                logging.WARNING,
                series=series,
                remedy="train models of the kinds that there are and restart",
            )
        return True

    def _is_of_judged(self, reject: Reject, begins: Mapping[tuple[str, int], int]) -> bool:
        """Return whether a rejected message is one of a series that a fallback judges at this message."""
        if not reject.series or reject.strangers:
            return False
        home = self._group.home_of(reject.series)
        first = begins.get((reject.series, reject.partition))
        return (home is not None and home.is_fallback) or (first is not None and first <= reject.offset)

    def _columns_of_group(self, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the column of the batch of each column of the group, twice, intp; -1 where it has none.

        A model and an open series may share the name of a channel, which then has two columns. The first one
        is of series of models, and the last one of open series.
        """
        named = list(enumerate(self._columns()[:width]))
        first = {name: column for column, name in reversed(named)}
        last = {name: column for column, name in named}
        wanted = self._group.columns.names
        return (
            np.array([first.get(name, -1) for name in wanted], np.intp),
            np.array([last.get(name, -1) for name in wanted], np.intp),
        )

    def _of_kinds(
        self, readings: Readings, has: NDArray[np.bool_], homes: Mapping[str, tuple[Member, int]]
    ) -> Readings:
        """Return readings of fallbacks with the values of their kind, and none with values of others alone.

        Args:
            readings: in the columns of the group.
            has: which columns of the batch they have, bool [n, columns of the batch].
            homes: as of `_homes`.
        """
        number = {member: at for at, member in enumerate(self._group.members)}
        home = np.array([number[homes[name][0]] for name in readings.names], np.intp)[readings.series]
        values = np.where(self._group.columns.masks()[home], readings.values, np.nan)
        strangers = np.logical_and(has.any(axis=1), np.isnan(values).all(axis=1))
        return replace(readings, values=values).take(~strangers)


def _placed(readings: Readings, rows: NDArray[np.bool_], columns: NDArray[np.intp]) -> Readings:
    """Return some of the readings in other columns; -1 stands for one without values."""
    taken = readings.take(rows)
    values = np.full((len(taken), len(columns)), np.nan)
    known = columns >= 0
    values[:, known] = taken.values[:, columns[known]]
    return replace(taken, values=values)


def _both(one: Readings, other: Readings) -> Readings:
    """Return two tables of readings, whose series differ, as one; the readings of a partition in order."""
    if not len(other):
        return one
    partition = np.concatenate([one.partition, other.partition])
    offset = np.concatenate([one.offset, other.offset])
    order = np.lexsort((offset, partition))
    return Readings(
        (*one.names, *other.names),
        np.concatenate([one.series, other.series + np.int32(len(one.names))])[order],
        np.concatenate([one.timestamp_ns, other.timestamp_ns])[order],
        np.concatenate([one.values, other.values])[order],
        partition[order],
        offset[order],
    )
