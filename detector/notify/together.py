"""Notify a receiver once of many incidents that begin together, with the likely first one on top.

This is a receiver around another one (`[[notify]] fold`). Incidents that were delivered before there were
enough of them also end by themselves. Of the others the receiver gets their group alone, which ends with the
last of them. What it knows follows from the changes that were delivered, in their order. So a repeated
attempt changes nothing.

After a restart the changes are read in another order. So `note` has which incidents each open group began
with. It is committed before a group is sent for the first time, and the groups of `recall` are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from detector.incidents.rules import FoldRules
from detector.notify.notice import Notice
from detector.notify.receivers import Receiver, Request

_NAMED = 5
_MOST = 1_000
"""So many incidents and groups are remembered; the oldest are forgotten first."""
_NOW = -1
"""In place of a partition: the change is not read back, it is delivered now."""
_MOST_BYTES, _PREFIX = 3_500, 10
"""A broker refuses longer notes: `offset.metadata.max.bytes` is 4,096 by default. Ids are cut to a prefix."""


class _Noted(msgspec.Struct):
    """An open group in a note: the last of its incidents has the whole id, the others its beginning.

    `apart` has the beginnings of the ids that are near `start` and yet were delivered by themselves.
    """

    start: datetime
    began: tuple[str, ...]
    apart: tuple[str, ...] = ()


class _Notes(msgspec.Struct):
    """What is committed beside positions: the open groups, the newest first."""

    folds: tuple[_Noted, ...]


@dataclass(slots=True)
class _Group:
    """Hold incidents that began together.

    start    the beginning of its first incident
    first    with which incidents it began, as in a note
    began    the first change of each of them, those that were delivered by themselves too
    members  open incidents that were delivered as this group alone, by id, in their newest state
    is_sent  whether its beginning is known to be delivered
    apart    the ids, cut as in a note, of incidents near `start` that were delivered before, by themselves
    noted_in the partitions whose notes have it: while changes are read back, only those from there join it
    """

    start: datetime
    first: tuple[str, ...]
    began: list[Notice]
    members: dict[str, Notice] = field(default_factory=dict)
    is_sent: bool = True
    apart: tuple[str, ...] = ()
    noted_in: frozenset[int] = frozenset()

    @property
    def id(self) -> str:
        """The id of the group, from the incident that completed it."""
        return f"{self.first[-1]}-group"

    def is_completed_by(self, notice: Notice) -> bool:
        """Return whether this incident is the one with which the group is sent."""
        return notice.id == self.first[-1]

    def has_alone(self, notice: Notice) -> bool:
        """Return whether this incident was delivered by itself, before there were enough."""
        return notice.id[:_PREFIX] in self.first[:-1]

    @property
    def severity(self) -> str:
        """The worst of the severities."""
        found = [one.severity for one in (*self.began, *self.members.values())]
        return "critical" if "critical" in found else "warning"

    def joined_by(self, notice: Notice) -> _Group:
        """Return the group with this change of an incident."""
        began = self.began if notice.event != "opened" else [*self.began, notice]
        is_sent = self.is_sent or self.is_completed_by(notice)
        members = {**self.members, notice.id: notice}
        return replace(self, began=began, members=members, is_sent=is_sent)

    def without(self, notice: Notice) -> _Group:
        """Return the group without an incident that is over."""
        members = {name: one for name, one in self.members.items() if name != notice.id}
        return replace(self, members=members)

    def notice(self, event: str, cause: Notice) -> Notice:
        """Return a change of the group as a change of its likely first incident, under an id of its own."""
        order = sorted(self.began, key=lambda one: (one.start, -(one.peak_score or 0.0), one.series))
        first, names = order[0], list(dict.fromkeys(one.series for one in order))
        rest = len(names) - _NAMED
        then = ", ".join(names[1:_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")
        words = f"{len(names):,} series became anomalous together: first {first.series}, then {then}"
        if first.sentence:
            words += f". {first.sentence}"
        return msgspec.structs.replace(
            first,
            event=event,
            id=self.id,
            severity=self.severity,
            state=cause.state if event == "resolved" else "firing",
            at=cause.at,
            end=cause.end,
            ending=cause.ending,
            sentence=words,
            others=len(names) - 1,
        )


class Together:
    """A receiver that gets one change for many incidents that begin together. Not thread-safe.

    Args:
        receiver: Gets the changes that are left.
        rules: How many series within which time are together.
    """

    def __init__(self, receiver: Receiver, rules: FoldRules) -> None:
        self._receiver, self._rules = receiver, rules
        self._alone: dict[str, Notice] = {}
        self._groups: list[_Group] = []
        self._sending: _Group | None = None
        self._noted, self._unnoted = frozenset[int](), frozenset[int]()
        self._of_noted, self._from = set[str](), _NOW

    @property
    def note(self) -> str:
        """The open groups, with the one that is sent now."""
        groups = [*self._groups, *([] if self._sending is None else [self._sending])]
        noted = [_Noted(one.start, one.first, one.apart) for one in reversed(groups)]
        while len(text := msgspec.json.encode(_Notes(tuple(noted)))) > _MOST_BYTES:
            noted.pop()
        return text.decode()

    def request(self, notice: Notice) -> Request | None:
        """Return the request for this change, or for its group; None where the group was delivered before."""
        if self._noted:
            self._end_recalling()
            self._groups = [one for one in self._groups if one.members or not one.is_sent]
        self._sending = self._formed(notice) if self._is_new(notice) else None
        told = self._told(notice)
        return None if told is None else self._receiver.request(told)

    def delivered(self, notice: Notice, at_seconds: float, partition: int | None = None) -> None:
        """Note that this change was delivered, by itself or by its group."""
        if self._noted and partition is not None:
            self._from = partition
            if partition in self._noted:
                self._of_noted.add(notice.id)
        told = self._told(notice)
        self._note(notice)
        self._sending = None
        if told is not None:
            self._receiver.delivered(told, at_seconds)

    def repeats(self) -> Iterator[Request]:
        """Yield what the receiver around which this stands must repeat."""
        return self._receiver.repeats()

    def clear(self) -> None:
        """Forget all changes: other processes may deliver them now."""
        self._alone.clear()
        self._groups.clear()
        self._sending = None
        self._end_recalling()
        self._receiver.clear()

    def recall(self, notes: Mapping[int, str]) -> None:
        """Take the groups of before a restart. A change read back joins those of its partition's note.

        Without a note, as of an older version, groups follow from the changes of such partitions alone.
        """
        found: dict[str, _Group] = {}
        for partition, text in notes.items():
            for one in reversed(_decode(text)) if text else ():
                group = _Group(one.start, one.began, [], {}, False, one.apart)
                group = found.get(group.first[-1], group)
                found[group.first[-1]] = replace(group, noted_in=group.noted_in | {partition})
        self._noted = frozenset(partition for partition, text in notes.items() if text)
        self._unnoted = frozenset(notes.keys() - self._noted)
        self._groups = list(found.values())

    def _end_recalling(self) -> None:
        """Let changes join every group again."""
        self._noted, self._unnoted, self._from = frozenset(), frozenset(), _NOW
        self._of_noted.clear()

    def _told(self, notice: Notice) -> Notice | None:
        """Return what is sent in place of a change; None for nothing."""
        own = next((one for one in self._groups if notice.id in one.members), None)
        if own is not None and notice.is_resolved:
            left = own.without(notice)
            return None if left.members else own.notice("resolved", notice)
        if own is not None and notice.event == "escalated":
            return own.joined_by(notice).notice("escalated", notice) if own.severity != "critical" else None
        if own is not None or notice.event != "opened":
            return notice
        first = self._first_of(notice)
        if first is not None:
            sent = first.joined_by(notice).notice("opened", notice)
            return sent if first.is_completed_by(notice) else notice
        near = self._near(notice)
        if near is not None:
            worse = near.joined_by(notice)
            return None if worse.severity == near.severity else worse.notice("escalated", notice)
        formed = self._formed(notice)
        return notice if formed is None else formed.notice("opened", notice)

    def _note(self, notice: Notice) -> None:
        """Remember a change that was delivered."""
        own = next((one for one in self._groups if notice.id in one.members), None)
        if own is not None:
            now = own.without(notice) if notice.is_resolved else own.joined_by(notice)
            self._replace(own, now)
        elif notice.event == "opened" and (first := self._first_of(notice)) is not None:
            if first.is_completed_by(notice):
                self._replace(first, first.joined_by(notice))
            else:
                self._alone[notice.id] = notice
                first.began.append(notice)
        elif notice.event == "opened":
            near, formed = self._near(notice), self._formed(notice)
            if near is not None:
                self._replace(near, near.joined_by(notice))
            elif formed is not None:
                self._groups = [*self._groups, formed][-_MOST:]
            else:
                self._alone[notice.id] = notice
                for oldest in list(self._alone)[:-_MOST]:
                    del self._alone[oldest]
        elif notice.is_resolved:
            self._alone.pop(notice.id, None)

    def _replace(self, group: _Group, now: _Group) -> None:
        """Put a group in the place of another one; one without open members is over."""
        self._groups = [now if one is group else one for one in self._groups]
        keeps_all = bool(self._noted)  # the changes come in another order than they were delivered
        self._groups = [one for one in self._groups if one.members or not one.is_sent or keeps_all]

    def _near(self, notice: Notice) -> _Group | None:
        """Return the group near whose first incident this one began, if the process of that group had it."""
        cut = notice.id[:_PREFIX]
        near = (one for one in self._groups if self._is_near(one.start, notice.start))
        return next(
            (one for one in near if cut not in one.apart and self._from in (_NOW, *one.noted_in)), None
        )

    def _first_of(self, notice: Notice) -> _Group | None:
        """Return the recalled group that began with this incident."""
        return next(
            (one for one in self._groups if one.is_completed_by(notice) or one.has_alone(notice)), None
        )

    def _is_new(self, notice: Notice) -> bool:
        """Return whether an incident opens that belongs to no group."""
        return notice.event == "opened" and not (self._first_of(notice) or self._near(notice))

    def _formed(self, notice: Notice) -> _Group | None:
        """Return the group that this incident completes; None where there are too few."""
        if self._from in self._noted:
            return None
        others = [one for one in self._alone.values() if one.id not in self._of_noted]
        began = [one for one in others if self._is_near(one.start, notice.start)]
        num_series = len({notice.series, *(one.series for one in began)})
        if num_series < self._rules.num_series:
            return None
        everyone = [*began, notice]
        first = (*(one.id[:_PREFIX] for one in began), notice.id)
        start, apart = everyone[0].start, [one for one in others if one not in began]
        near = tuple(one.id[:_PREFIX] for one in apart if self._is_near(start, one.start))
        return _Group(start, first, everyone, {notice.id: notice}, apart=near, noted_in=self._unnoted)

    def _is_near(self, one: datetime, other: datetime) -> bool:
        return abs((one - other).total_seconds()) * 1e9 <= self._rules.window_ns


def _decode(text: str) -> tuple[_Noted, ...]:
    """Return the groups of a note; none where it is another program's."""
    try:
        return msgspec.json.decode(text, type=_Notes).folds
    except msgspec.MsgspecError:
        return ()
