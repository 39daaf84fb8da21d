"""Count and log the series that no model judges, for metrics and the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from connectors.records import Reject
from detector import logs

NO_CHANNEL = "no_known_channel"
Reason: TypeAlias = Literal["name", "channels"]
REASONS: tuple[Reason, ...] = ("name", "channels")
"""Why a series is unassigned: its name matches no pattern; its messages have too few known channels."""
_MOST_SERIES = 10_000
_ENOUGH_MESSAGES = 10
"""In formats with a channel in a message, the first messages of a good series may have other channels."""
_MEMORY_NS, _SWEEP_NS = 3_600 * 10**9, 60 * 10**9
"""A series that sent nothing for an hour is not counted any more; that is looked for once a minute."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class UnassignedSeries:
    """Hold one unassigned series, the reason, and how many of its messages came."""

    name: str
    reason: Reason
    messages: int


@dataclass(frozen=True, slots=True)
class Unassigned:
    """Hold what is unassigned.

    series    reason -> series that sent a message within the last hour; at most 10,000 are counted
    messages  reason -> messages since the start of this process
    most      the series with the most messages, at most 10
    """

    series: Mapping[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    messages: Mapping[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    most: tuple[UnassignedSeries, ...] = ()


class Tally:
    """Counts unassigned series and their messages. One thread counts; any may read `unassigned`.

    Args:
        section: the section of the configuration with the patterns, for the log.
        most_logged: series that are logged, once each; further ones are not.
    """

    def __init__(self, section: str, most_logged: int) -> None:
        self._section, self._most_logged = section, most_logged
        self._found: dict[str, UnassignedSeries] = {}
        self._seen: dict[str, int] = {}
        self._few: dict[str, int] = {}
        self._now_ns, self._swept_ns = 0, 0
        self._messages = dict.fromkeys(REASONS, 0)
        self._num_logged = 0
        self.unassigned = Unassigned()

    def __bool__(self) -> bool:
        return bool(self._found)

    def begin(self, now_ns: int) -> None:
        """Take the service's time, and forget series that sent nothing for an hour."""
        self._now_ns = now_ns
        if now_ns - self._swept_ns >= _SWEEP_NS:
            self._swept_ns = now_ns
            self._remove([name for name, at in self._seen.items() if now_ns - at > _MEMORY_NS])

    def count(self, name: str, reason: Reason, messages: int) -> None:
        """Count messages of an unassigned series; `renew` shows them."""
        self._messages[reason] += messages
        before = self._found.get(name)
        if before is None:
            if len(self._found) >= _MOST_SERIES:
                return
            self._log(name, reason)
        total = messages + (0 if before is None else before.messages)
        self._found[name] = UnassignedSeries(name, reason, total)
        self._seen[name] = self._now_ns

    def count_reject(
        self, reject: Reject, is_own: Callable[[str], bool], is_assigned: Callable[[str], bool]
    ) -> bool:
        """Return whether a rejected message is of unassigned series alone; then it is counted for each.

        Args:
            reject: the message.
            is_own: whether a name is one that may be judged.
            is_assigned: whether a series is assigned, at this message.
        """
        if reject.reason != NO_CHANNEL:
            if not reject.series or is_own(reject.series):
                return False
            self.count(reject.series, "name", 1)
            return True
        names = reject.strangers or ((reject.series,) if reject.series else ())
        if not names or any(is_assigned(name) for name in names):
            return False
        for name in names:
            self.count(name, "channels" if is_own(name) else "name", 1)
        return True

    def count_strangers(
        self, strangers: Mapping[str, int], is_own: Callable[[str], bool], is_assigned: Callable[[str], bool]
    ) -> None:
        """Count series of formats whose messages may have no channel, once there were enough of these.

        Args:
            strangers: series -> messages without a known channel.
            is_own: whether a name is one that may be judged.
            is_assigned: whether a series is assigned.
        """
        for name, messages in strangers.items():
            if not is_own(name):
                self.count(name, "name", messages)
            elif not is_assigned(name):
                seen = messages + self._few.pop(name, 0)
                if name in self._found or seen >= _ENOUGH_MESSAGES:
                    self.count(name, "channels", seen)
                elif len(self._few) < _MOST_SERIES:
                    self._few[name] = seen
        if strangers:
            self.renew()

    def assign(self, names: Collection[str]) -> None:
        """Forget series that were unassigned until now."""
        for name in self._few.keys() & set(names):
            del self._few[name]
        self._remove([name for name in names if name in self._found])

    def renew(self) -> None:
        """Replace the figures that other threads read."""
        series = dict.fromkeys(REASONS, 0)
        for one in self._found.values():
            series[one.reason] += 1
        most = sorted(self._found.values(), key=lambda one: (-one.messages, one.name))[:_SHOWN]
        self.unassigned = Unassigned(series, dict(self._messages), tuple(most))

    def _log(self, name: str, reason: Reason) -> None:
        """Log an unassigned series, unless there were many."""
        self._num_logged += 1
        if self._num_logged > self._most_logged:
            return
        why = {
            "name": f"its name, or its topic, matches no pattern of {self._section}",
            "channels": "its messages have too few channels of the model",
        }
        more = "; further series are on the page alone" if self._num_logged == self._most_logged else ""
        logs.event(f"series is unassigned{more}", logging.WARNING, series=name, reason=why[reason])

    def _remove(self, names: list[str]) -> None:
        for name in names:
            del self._found[name], self._seen[name]
        if names:
            self.renew()
