"""Notify a receiver once of many incidents that begin together, with the likely first one on top.

This is a receiver around another one (`[[notify]] fold`). Incidents that were delivered before there were
enough of them also end by themselves. Of the others the receiver gets their group alone, which ends with the
last of them. What it knows follows from the changes that were delivered. So a repeated attempt changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from detector.incidents.rules import FoldRules
from detector.notify.notice import Notice
from detector.notify.receivers import Receiver, Request

_NAMED = 5
_MOST = 1_000
"""So many incidents and groups are remembered; the oldest are forgotten first."""


@dataclass(slots=True)
class _Group:
    """Hold incidents that began together.

    began    the first change of each of them, those that were delivered by themselves too
    members  open incidents that were delivered as this group alone, by id, in their newest state
    """

    id: str
    began: list[Notice]
    members: dict[str, Notice] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """The worst of the severities."""
        found = [one.severity for one in (*self.began, *self.members.values())]
        return "critical" if "critical" in found else "warning"

    def joined_by(self, notice: Notice) -> _Group:
        """Return the group with this change of an incident."""
        began = self.began if notice.event != "opened" else [*self.began, notice]
        return _Group(self.id, began, {**self.members, notice.id: notice})

    def without(self, notice: Notice) -> _Group:
        """Return the group without an incident that is over."""
        members = {name: one for name, one in self.members.items() if name != notice.id}
        return _Group(self.id, self.began, members)

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

    def request(self, notice: Notice) -> Request | None:
        """Return the request for this change, or for its group; None where the group was delivered before."""
        told = self._told(notice)
        return None if told is None else self._receiver.request(told)

    def delivered(self, notice: Notice, at_seconds: float) -> None:
        """Note that this change was delivered, by itself or by its group."""
        told = self._told(notice)
        self._note(notice)
        if told is not None:
            self._receiver.delivered(told, at_seconds)

    def repeats(self) -> Iterator[Request]:
        """Yield what the receiver around which this stands must repeat."""
        return self._receiver.repeats()

    def clear(self) -> None:
        """Forget all changes: other processes may deliver them now."""
        self._alone.clear()
        self._groups.clear()
        self._receiver.clear()

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
        self._groups = [one for one in self._groups if one.members]

    def _near(self, notice: Notice) -> _Group | None:
        """Return the group near whose first incident this one began."""
        return next((one for one in self._groups if self._is_near(one.began[0], notice)), None)

    def _formed(self, notice: Notice) -> _Group | None:
        """Return the group that this incident completes; None where there are too few."""
        began = [one for one in self._alone.values() if self._is_near(one, notice)]
        if len({notice.series, *(one.series for one in began)}) < self._rules.num_series:
            return None
        return _Group(f"{notice.id}-group", [*began, notice], {notice.id: notice})

    def _is_near(self, one: Notice, other: Notice) -> bool:
        return abs((one.start - other.start).total_seconds()) * 1e9 <= self._rules.window_ns
