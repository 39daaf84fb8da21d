"""Incidents as alerts of Alertmanager's API v2.

Labels are the identity of an alert; scores and values are annotations. Alertmanager ends an alert at its
`endsAt`. Alerts that fire are therefore sent again regularly, each time with a later `endsAt`. When the
labels of an incident change (it became critical), one request ends the old alert and starts the new one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from detector.notify.notice import Notice, description, link_of, summary, time_text

PATH = "/api/v2/alerts"
ALERT_NAME = "StreamgaugeAnomaly"
OWN_LABELS = frozenset({"series", "incident", "model", "reason", "severity", "channel"})
_ENDED_SECONDS = 900.0
_MAX_FIRING = 50_000
_BATCH = 500

Clock = Callable[[], float]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Ended:
    """An alert that has ended. It is repeated for a while, in case Alertmanager was down."""

    notice: Notice
    ends: datetime
    until: float


class Alertmanager:
    """Makes the requests for one Alertmanager, and remembers which alerts fire, in order of delivery.

    Implements `detector.notify.receivers.Receiver`.

    Args:
        labels: Added to every alert.
        link: Template of the `generatorURL`, with `{series}` and `{id}`; empty for none.
        expire_seconds: Time after which Alertmanager ends an alert that is not repeated.
        clock: Returns epoch seconds.
    """

    note = ""

    def __init__(self, labels: Labels, link: str, expire_seconds: float, clock: Clock = time.time) -> None:
        self._labels, self._link, self._clock = dict(labels), link, clock
        self._expire = timedelta(seconds=expire_seconds)
        self._firing: OrderedDict[str, Notice] = OrderedDict()
        self._ended: OrderedDict[tuple[tuple[str, str], ...], _Ended] = OrderedDict()

    def request(self, notice: Notice) -> tuple[bytes, dict[str, str]]:
        """Return the body and headers of the request for this change."""
        before = self._firing.get(notice.id)
        alerts = []
        if before is not None and self.labels_of(before) != self.labels_of(notice):
            alerts.append(self._alert(before, self._now()))
        ends = _end_of(notice) if notice.is_resolved else None
        return _body([*alerts, self._alert(notice, ends)])

    def delivered(self, notice: Notice, at_seconds: float, partition: int | None = None) -> None:
        """Note that this change was delivered at this epoch second."""
        before = self._firing.pop(notice.id, None)
        if before is not None and self.labels_of(before) != self.labels_of(notice):
            self._end(before, self._now(), at_seconds)
        if notice.is_resolved:
            self._end(notice, _end_of(notice), at_seconds)
        else:
            self._ended.pop(_key(self.labels_of(notice)), None)
            self._firing[notice.id] = notice
            if len(self._firing) > _MAX_FIRING:
                self._firing.popitem(last=False)

    def repeats(self) -> Iterator[tuple[bytes, dict[str, str]]]:
        """Yield requests for every alert that would expire otherwise."""
        now = self._clock()
        self._ended = OrderedDict((key, ended) for key, ended in self._ended.items() if ended.until > now)
        alerts = [self._alert(notice, None) for notice in self._firing.values()]
        alerts += [self._alert(ended.notice, ended.ends) for ended in self._ended.values()]
        for first in range(0, len(alerts), _BATCH):
            yield _body(alerts[first : first + _BATCH])

    def clear(self) -> None:
        """Forget all alerts: other processes may deliver them now."""
        self._firing.clear()
        self._ended.clear()

    def recall(self, notes: Mapping[int, str]) -> None:
        """Do nothing: what was delivered is enough."""

    def labels_of(self, notice: Notice) -> dict[str, str]:
        """Return the labels that identify the alert. Empty labels are left out, as in Alertmanager."""
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
        """Return the alert as JSON values; `ends` is None while it fires.

        No time is later than the clock. Otherwise a resolved alert would still fire.
        """
        now = self._now()
        starts = min(notice.start, now)
        ends = now + self._expire if ends is None else max(starts, min(ends, now))
        alert = {
            "labels": self.labels_of(notice),
            "annotations": _annotations(notice),
            "startsAt": time_text(starts),
            "endsAt": time_text(ends),
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
