"""A change of an incident, as the alerts topic has it, in words and values for a receiver."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

import msgspec

from detector.delivery.messages import iso
from detector.incidents.shapes.sentence import span
from detector.incidents.unjudged import unjudged_words
from detector.notify.trend_words import trend_words

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADDED_UP = {
    "cumulative": (
        "departs a little from what follows from the others, row after row",
        "what follows from the other channels",
    ),
    "season": ("is not as usual at this hour", "what is usual at this time of day or week"),
    "drift": ("has moved slowly from its level in the history", "the level of the history"),
    "mode": ("takes too long to change its mode of operation", "what is usual in this mode"),
}
"""Of evidence that adds up: what a channel does, and what it departs from."""
_OF_MODEL = ("score", *_ADDED_UP)
_SEVERITIES = ("info", "warning", "critical")
_REASONS = {
    "score": "behaves unlike the training data",
    **{reason: does for reason, (does, _) in _ADDED_UP.items()},
    "flatline": "is stuck",
    "out_of_range": "is outside its valid range",
    "missing": "sends nothing while other channels do",
    "silent": "sends nothing",
    "stream_silent": "(every series) sends nothing",
}


class NoticeTrend(msgspec.Struct, frozen=True):
    """How fast a channel drifts, in its units a day, and in how many days it reaches a limit."""

    a_day: float
    low: float
    high: float
    limit: float | None = None
    days: float | None = None
    days_low: float | None = None
    days_high: float | None = None


class NoticeChannel(msgspec.Struct, frozen=True):
    """The values of one channel of an incident, in physical units; None where unknown."""

    name: str
    contribution: float | None = None
    actual: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    clipped: bool = False
    trend: NoticeTrend | None = None


class NoticeLearnt(msgspec.Struct, frozen=True):
    """The level of a channel before and after it was accepted."""

    name: str
    old: float
    new: float


class NoticeDecision(msgspec.Struct, frozen=True):
    """What a person decided, or the rule `on_lasting = "learn"`."""

    action: str
    who: str = ""
    why: str = ""
    by: str = "person"
    learnt: tuple[NoticeLearnt, ...] = ()


class NoticePassage(msgspec.Struct, frozen=True):
    """A change of mode that takes too long."""

    left: str
    usual_seconds: float


class NoticeUnjudged(msgspec.Struct, frozen=True):
    """Since when and why nobody can tell whether an open incident goes on."""

    since: datetime
    why: str
    mode: str | None = None
    spell: int = 1


class Notice(msgspec.Struct, frozen=True):
    """One message of the alerts topic (docs/messages.md). Unknown fields are ignored."""

    event: str
    id: str
    series: str
    severity: str
    state: str
    start: datetime
    at: datetime
    reason: str = "score"
    evidence: str | None = None
    model: str = ""
    version: str = ""
    end: datetime | None = None
    ending: str | None = None
    peak_score: float | None = None
    channels: tuple[NoticeChannel, ...] = ()
    lasting_since: datetime | None = None
    decision: NoticeDecision | None = None
    newest: tuple[NoticeChannel, ...] = ()
    passage: NoticePassage | None = None
    unjudged: NoticeUnjudged | None = None
    sentence: str | None = None
    others: int = 0  # series that began together with it, where it stands for all of them

    @property
    def is_told(self) -> bool:
        """Whether receivers get it: no mute and no ignored decision. `resolved` has what was accepted."""
        return self.event not in ("muted", "ignored", "accepted")

    @property
    def is_update(self) -> bool:
        """Whether it only changes the text of an alert. That an incident cannot be judged is news once."""
        again = self.unjudged is not None and self.unjudged.spell > 1
        return self.event == "judged" or (self.event == "unjudged" and again)

    @property
    def is_resolved(self) -> bool:
        """Whether this change ends the incident."""
        return self.event == "resolved"

    @property
    def waits(self) -> bool:
        """Whether it fires, lasts, and nobody has decided about it."""
        return self.lasting_since is not None and self.decision is None and not self.is_resolved

    @property
    def key(self) -> str:
        """Identify this change: the key is the same however often it is computed, written or delivered."""
        return f"{self.id}-{self.event}-{round(self.at.timestamp() * 1000)}"

    @property
    def channel(self) -> str:
        """The name of the channel that contributed most; empty where none did."""
        return self.channels[0].name if self.channels else ""

    def matches(self, patterns: tuple[str, ...], min_severity: str) -> bool:
        """Return whether a receiver with these filters wants this change.

        Args:
            patterns: Shell patterns such as `pump-*`; the series must match one of them.
            min_severity: The lowest severity that the receiver wants.
        """
        if not self.is_told:
            return False
        is_severe_enough = _rank(self.severity) >= _rank(min_severity)
        return is_severe_enough and any(fnmatchcase(self.series, pattern) for pattern in patterns)


def parse(value: bytes) -> Notice:
    """Decode a message of the alerts topic.

    Raises:
        ValueError: The bytes are not such a message.
    """
    notice = msgspec.json.decode(value, type=Notice)
    since = None if notice.unjudged is None else notice.unjudged.since
    times = [when for when in (notice.start, notice.at, notice.end, since) if when is not None]
    if any(when.tzinfo is None for when in times):
        raise ValueError("times without a time zone")
    for when in times:
        time_text(when)  # a year 0 in UTC is a ValueError here, not later in the notifier's thread
    return notice


def summary(notice: Notice) -> str:
    """Return one line: what is wrong, where, and what was expected; and whether that is known now."""
    unknown = _unjudged(notice)
    return f"{_fault(notice)}; {unknown}" if unknown else _fault(notice)


def _fault(notice: Notice) -> str:
    """Return one line: what is wrong, where, and what was expected."""
    if notice.ending == "retired":
        return f"{notice.series} sends nothing any more and was forgotten; {_undecided(notice)}"
    if notice.is_resolved and notice.ending == "accepted":
        return f"{notice.series}: {_learnt(notice)}"
    if notice.is_resolved and notice.others:
        return f"{notice.series} and {notice.others:,} series that began with it are back to normal"
    if notice.is_resolved:
        return f"{notice.series} is back to normal ({notice.severity} since {time_text(notice.start)})"
    if notice.passage is not None and not notice.sentence:
        return f"{notice.series}: {_passage(notice, notice.passage)}"
    if notice.waits and notice.channels:
        top = (notice.newest or notice.channels)[0]
        since = f"an incident lasts since {time_text(notice.start)}"
        return f"{notice.series}: {since}: {_channel(notice, top, ' now')}"
    if notice.sentence:
        return notice.sentence
    if not notice.channels:
        return f"{notice.series} {_REASONS.get(notice.reason, notice.reason)}"
    if notice.reason in _OF_MODEL:
        return f"{notice.series}: {_channel(notice, notice.channels[0])}"
    return f"{notice.series}: {notice.channel} {_REASONS.get(notice.reason, notice.reason)}" + (
        f" at {notice.channels[0].actual:.4g}" if notice.channels[0].actual is not None else ""
    )


def description(notice: Notice) -> str:
    """Return a few lines that answer the first questions of a person on call."""
    until = f", until {time_text(notice.end)}" if notice.end is not None else ""
    head = f"{notice.severity} incident {notice.id} of {notice.series}"
    lines = [f"{head}: {notice.event}, since {time_text(notice.start)}{until}"]
    if notice.sentence:
        lines.append(notice.sentence)
    lines.append(_strength(notice))
    unknown = _unjudged(notice)
    lines += [f"{unknown}: nobody knows whether it goes on, so it stays open"] if unknown else []
    if notice.waits and notice.newest:
        lines += [_channel(notice, channel, " now") for channel in notice.newest]
        lines += [_channel(notice, channel, " at worst") for channel in notice.channels]
    else:
        lines += [_channel(notice, channel) for channel in notice.channels]
    lines += _decided(notice)
    lines.append(f"model {notice.model} {notice.version}".rstrip())
    return "\n".join(lines)


def _strength(notice: Notice) -> str:
    """Return how strong the evidence is; a sum of small departures has no peak that means anything."""
    if notice.passage is not None:
        return _passage(notice, notice.passage)
    if notice.reason in _ADDED_UP and (notice.peak_score or 0.0) <= 1.0:
        return f"small departures from {_ADDED_UP[notice.reason][1]} have added up"
    if notice.peak_score is not None and notice.reason in _OF_MODEL:
        return f"highest score since its start: {notice.peak_score:.3g}"
    unknown = "no row has a score, " if notice.peak_score is None else ""
    return f"{unknown}reason {notice.reason}"


def _passage(notice: Notice, passage: NoticePassage) -> str:
    """Return how long a change of mode takes, and how long it usually does."""
    over = (notice.end or notice.at) - notice.start
    takes = "took" if notice.is_resolved else "takes"
    lasted = span(over.total_seconds() + passage.usual_seconds)
    usual = span(passage.usual_seconds)
    return f"the change from mode {passage.left} {takes} {lasted}; usual: up to {usual}"


def _unjudged(notice: Notice) -> str:
    """Return since when and why nobody can tell whether the incident goes on; empty where it is known."""
    unjudged = notice.unjudged
    if unjudged is None or notice.is_resolved:
        return ""
    shares = [one.contribution or 0.0 for one in notice.channels]
    blamed = [
        one.name for one, share in zip(notice.channels, shares, strict=True) if 2 * share >= max(shares)
    ]
    return unjudged_words(unjudged.why, time_text(unjudged.since), unjudged.mode, blamed)


def _decided(notice: Notice) -> list[str]:
    """Return what was decided about the incident, or how to decide."""
    if notice.decision is not None and notice.decision.action == "accept":
        return [_learnt(notice)]
    if notice.decision is not None and not notice.is_resolved:
        return [f"rejected by {notice.decision.who}{_because(notice)}: a fault, open until it is over"]
    if not notice.waits:
        return []
    return [
        "it lasts: if this is how it should be, accept it; if it is a fault, reject it",
        f"streamgauge accept {notice.id} --config FILE",
        f"streamgauge reject {notice.id} --config FILE",
        f"streamgauge mute {shlex.quote(notice.series)} --for 2h --config FILE",
    ]


def _undecided(notice: Notice) -> str:
    """Return how the incident of a vanished series ends. Nobody can decide about one of rules or silence."""
    end = f"its incident since {time_text(notice.start)} ends"
    return f"{end} undecided" if notice.decision is None and notice.reason in _OF_MODEL else end


def _learnt(notice: Notice) -> str:
    """Return who accepted which levels."""
    decision = notice.decision or NoticeDecision("accept")
    by = 'the rule on_lasting = "learn"' if decision.by == "policy" else decision.who
    levels = ", ".join(f"{one.name} from {_number(one.old)} to {_number(one.new)}" for one in decision.learnt)
    return f"accepted as normal by {by}{_because(notice)}: {levels or 'no level changed'}"


def _because(notice: Notice) -> str:
    has_reason = notice.decision is not None and notice.decision.why and notice.decision.by == "person"
    return f" ({notice.decision.why})" if has_reason and notice.decision else ""


def link_of(template: str, notice: Notice) -> str:
    """Return the URL with `{series}` and `{id}` filled in; empty for an empty template."""
    return template.replace("{series}", quote(notice.series, safe="")).replace(
        "{id}", quote(notice.id, safe="")
    )


def time_text(when: datetime) -> str:
    """Return this time in UTC, in the format of the messages.

    >>> time_text(datetime(2026, 10, 1, 12, tzinfo=UTC))
    '2026-10-01T12:00:00.000Z'
    """
    return iso((when - _EPOCH) // timedelta(microseconds=1) * 1_000)


def template_values(notice: Notice, labels: dict[str, str], link: str) -> dict[str, Any]:
    """Return every value that a template may name, as JSON values (docs/notifications.md lists them).

    Args:
        notice: The change.
        labels: The labels of the [[notify]] table.
        link: The page to look at, or empty.
    """
    top = notice.channels[0] if notice.channels else NoticeChannel("")
    is_critical = notice.severity == "critical"
    return {
        "event": notice.event,
        "state": notice.state,
        "action": "resolve" if notice.is_resolved else "trigger",
        "id": notice.id,
        "key": notice.key,
        "series": notice.series,
        "channel": notice.channel,
        "severity": notice.severity,
        "reason": notice.reason,
        "evidence": notice.evidence,
        "model": notice.model,
        "version": notice.version,
        "start": time_text(notice.start),
        "at": time_text(notice.at),
        "end": time_text(notice.end) if notice.end is not None else None,
        "peak_score": notice.peak_score,
        "actual": top.actual,
        "expected": top.expected,
        "lower": top.lower,
        "upper": top.upper,
        "channels": msgspec.to_builtins(notice.channels),
        "labels": labels,
        "link": link,
        "summary": summary(notice),
        "sentence": notice.sentence,
        "description": description(notice),
        "color": "#2eb67d" if notice.is_resolved else "#d00000" if is_critical else "#ecb22e",
        "status": "RESOLVED" if notice.is_resolved else notice.severity.upper(),
    }


def _rank(severity: str) -> int:
    """Return the rank of a severity. An unknown one ranks highest, so that no filter hides it."""
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _channel(notice: Notice, channel: NoticeChannel, when: str = "") -> str:
    """Return the values of a channel; `when` names the row, as in " now".

    Small departures that add up have no band: each row alone is normal. Where the model expects what history
    never showed, the text says that the value is the edge of it.
    """
    edge = ", the edge of what history showed" if channel.clipped else ""
    if notice.reason in _ADDED_UP and channel.lower is None and channel.expected is not None:
        values = f"{_number(channel.actual)}{when} where {_number(channel.expected)} is expected{edge}"
        return f"{channel.name} {_ADDED_UP[notice.reason][0]}: {values}{_trend(notice, channel)}"
    actual, edge = f"{channel.name} is {_number(channel.actual)}{when}", f"{edge}{_trend(notice, channel)}"
    if channel.lower is not None and channel.lower == channel.upper and channel.actual is not None:
        moved = f"it had never moved from {channel.lower:.10g} in history"
        return f"{channel.name} is {channel.actual:.10g}{when}; {moved}"
    if channel.lower is not None and channel.upper is not None:
        return f"{actual}, expected {_number(channel.lower)} to {_number(channel.upper)}{edge}"
    return f"{actual}, expected {_number(channel.expected)}{edge}" if channel.expected is not None else actual


def _trend(notice: Notice, channel: NoticeChannel) -> str:
    """Return how fast a channel drifts; in an incident of another reason only where it surely does."""
    trend = channel.trend
    if trend is None or (notice.reason != "drift" and trend.low <= 0.0 <= trend.high):
        return ""
    return f"; {trend_words(trend)}"


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"
