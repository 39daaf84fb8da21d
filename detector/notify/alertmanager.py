"""Incidents as alerts of Alertmanager's API v2.

Labels are identity and nothing else; scores and values are annotations. An alert lasts until its `endsAt`,
so those that fire are sent again and again, each time with a later one. An incident whose labels change
(it became critical) ends under the old labels in the very request that starts it under the new ones.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from detector.notify.notice import Notice, description, iso, link_of, summary

PATH = "/api/v2/alerts"
ALERT_NAME = "StreamgaugeAnomaly"
OWN_LABELS = frozenset({"series", "incident", "model", "reason", "severity", "channel"})
_ENDED_SECONDS = 900.0
_MOST_FIRING = 50_000
_BATCH = 500

Clock = Callable[[], float]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Ended:
    """An alert that ended, told for a while longer: Alertmanager may have been away."""

    notice: Notice
    ends: datetime
    until: float


class Alertmanager:
    """Alerts for one Alertmanager. `labels` are added to every alert, `link` is its generatorURL.

    Implements `detector.notify.receivers.Sender`. Remembers what fires: what was told, in the order it was told.
    """

    def __init__(self, labels: Labels, link: str, expire_seconds: float, clock: Clock = time.time) -> None:
        self._labels, self._link, self._clock = dict(labels), link, clock
        self._expire = timedelta(seconds=expire_seconds)
        self._firing: OrderedDict[str, Notice] = OrderedDict()
        self._ended: OrderedDict[tuple[tuple[str, str], ...], _Ended] = OrderedDict()

    def request(self, notice: Notice) -> tuple[bytes, dict[str, str]]:
        """Body and headers that tell of this change."""
        before = self._firing.get(notice.id)
        alerts = []
        if before is not None and self.labels_of(before) != self.labels_of(notice):
            alerts.append(self._alert(before, self._now()))
        ends = _end_of(notice) if notice.is_resolved else None
        return _body([*alerts, self._alert(notice, ends)])

    def told(self, notice: Notice, at_seconds: float) -> None:
        """This change was told, at this epoch second."""
        before = self._firing.pop(notice.id, None)
        if before is not None and self.labels_of(before) != self.labels_of(notice):
            self._end(before, self._now(), at_seconds)
        if notice.is_resolved:
            self._end(notice, _end_of(notice), at_seconds)
        else:
            self._ended.pop(_key(self.labels_of(notice)), None)
            self._firing[notice.id] = notice
            if len(self._firing) > _MOST_FIRING:
                self._firing.popitem(last=False)

    def repeats(self) -> Iterator[tuple[bytes, dict[str, str]]]:
        """What must be told again, so that it does not expire."""
        now = self._clock()
        self._ended = OrderedDict((key, one) for key, one in self._ended.items() if one.until > now)
        alerts = [self._alert(notice, None) for notice in self._firing.values()]
        alerts += [self._alert(one.notice, one.ends) for one in self._ended.values()]
        for first in range(0, len(alerts), _BATCH):
            yield _body(alerts[first : first + _BATCH])

    def forget(self) -> None:
        """Others tell of these now."""
        self._firing.clear()
        self._ended.clear()

    def labels_of(self, notice: Notice) -> dict[str, str]:
        """What an alert is known by. Empty ones are left out, as Alertmanager does."""
        labels = {
            "alertname": ALERT_NAME,
            **self._labels,
            "series": notice.series,
            "incident": notice.id,
            "model": notice.model,
            "reason": notice.reason,
            "severity": notice.severity,
            "channel": notice.channel,
        }
        return {name: value for name, value in labels.items() if value}

    def _end(self, notice: Notice, ends: datetime, at_seconds: float) -> None:
        until = at_seconds + _ENDED_SECONDS
        if until > self._clock():
            self._ended[_key(self.labels_of(notice))] = _Ended(notice, ends, until)

    def _alert(self, notice: Notice, ends: datetime | None) -> dict[str, Any]:
        """`ends` None: it fires. No time lies ahead of our clock, or a resolved alert would still fire."""
        now = self._now()
        starts = min(notice.start, now)
        ends = now + self._expire if ends is None else max(starts, min(ends, now))
        alert = {
            "labels": self.labels_of(notice),
            "annotations": _annotations(notice),
            "startsAt": iso(starts),
            "endsAt": iso(ends),
        }
        link = link_of(self._link, notice)
        return {**alert, "generatorURL": link} if link else alert

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _annotations(notice: Notice) -> dict[str, str]:
    known = {"summary": summary(notice), "description": description(notice)}
    if notice.peak_score is not None:
        known["peak_score"] = f"{notice.peak_score:.6g}"
    if notice.channels:
        top = notice.channels[0]
        for name in ("actual", "expected", "lower", "upper"):
            value = getattr(top, name)
            if value is not None:
                known[name] = f"{value:.6g}"
    return known


def _end_of(notice: Notice) -> datetime:
    return notice.end or notice.at


def _body(alerts: list[dict[str, Any]]) -> tuple[bytes, dict[str, str]]:
    return orjson.dumps(alerts), {"Content-Type": "application/json"}


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))
