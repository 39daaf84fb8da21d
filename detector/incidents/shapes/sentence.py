"""Say in one sentence what is wrong with a series, as a technician would.

Every place that shows incidents takes it from `sentence`: alerts, notifications, `/api/status` and the
backtest. It has fewer than 40 words beside the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from detector.artifact.spec import Spec
from detector.incidents.incident import ChannelEvidence, Incident
from detector.incidents.shapes.explanation import Explanation

_MOST_WORDS = 38
_DIGITS, _MOST_DIGITS = 3, 10
_EXPECTED = {
    "cumulative": "by the other channels",
    "season": "at this hour",
    "drift": "as in the history",
}
"""Of departures that add up: where the expected value comes from."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How values and times are shown.

    units  channel, or a pattern with * ? [abc] -> its unit
    zone   IANA name of the zone of times
    """

    units: Mapping[str, str] = field(default_factory=dict)
    zone: str = "UTC"

    @classmethod
    def of(cls, spec: Spec, units: Mapping[str, str] | None = None) -> Wording:
        """Return the wording for a model: times are those of the zone whose clock it follows."""
        zone = "UTC" if spec.season is None else spec.season.calendar.zone
        return cls(dict(units or {}), zone)

    def unit_of(self, channel: str) -> str:
        """Return the unit of a channel with a space before it; empty if it has none.

        >>> Wording({"temp_*": "C"}).unit_of("temp_1")
        ' C'
        """
        found = self.units.get(channel)
        if found is None:
            found = next((unit for name, unit in self.units.items() if fnmatchcase(channel, name)), "")
        return f" {found}" if found else ""


def sentence(incident: Incident, at_ns: int, wording: Wording | None = None) -> str:
    """Return what is wrong, since when, how it came, and what else departs or does not.

    Args:
        incident: as it is at `at_ns`.
        at_ns: the time of the event or of the newest row, in nanoseconds.
        wording: units and zone; None: no units, UTC.
    """
    wording = wording or Wording()
    when = _when(incident, at_ns, wording.zone)
    first = f"{_subject(incident)} {_what(incident, at_ns, wording)}, {when}"
    shape, others = _shape(incident), _others(incident.explanation)
    parts = [first, *([shape] if shape else []), *others]
    while len(parts) > 1 and len(" ".join(parts).split()) > _MOST_WORDS:
        parts.pop()
    return "; ".join(parts)


def _subject(incident: Incident) -> str:
    return "every series:" if incident.reason == "stream_silent" else f"{incident.series}:"


def _what(incident: Incident, at_ns: int, wording: Wording) -> str:
    """Return what is wrong, with values."""
    if incident.reason in ("silent", "stream_silent"):
        return "sends nothing"
    if incident.reason == "missing":
        return f"no value of {_list([one.name for one in incident.channels])} while other channels send"
    if incident.passage is not None:
        end_ns = at_ns if incident.end_ns is None else incident.end_ns
        lasted = span((end_ns - incident.start_ns + incident.passage.usual_ns) / 1e9)
        verb = "took" if incident.state == "resolved" else "takes"
        usual = span(incident.passage.usual_ns / 1e9)
        return f"the change from mode {incident.passage.left} {verb} {lasted}, usual up to {usual}"
    if not incident.channels:
        return "behaves unlike its history"
    if incident.explanation is not None and incident.explanation.job:
        return f"the job of {incident.explanation.job} did not come in {incident.channels[0].name}"
    return _values(incident, incident.channels[0], wording)


def _values(incident: Incident, top: ChannelEvidence, wording: Wording) -> str:
    """Return the value of the channel to blame beside what was expected."""
    unit = wording.unit_of(top.name)
    lower, upper = _range(incident.explanation, top)
    actual, low, high, middle = numbers(top.actual, lower, upper, top.expected)
    at = f"{top.name} at {actual}{unit}"
    if incident.reason == "flatline":
        return f"{top.name} stuck at {actual}{unit}"
    if incident.reason == "out_of_range":
        return f"{at}, outside its valid range"
    if lower is None or upper is None:
        if top.expected != top.expected:
            return at
        source = _EXPECTED.get(incident.reason)
        return f"{at}, expected about {middle}" + (f" {source}" if source else "")
    if lower == upper:
        return f"{at}, never moved from {low} in its history"
    edge = ", the edge of its history" if top.clipped else ""
    return f"{at}, expected {low} to {high}{edge}"


def _range(explanation: Explanation | None, top: ChannelEvidence) -> tuple[float | None, float | None]:
    """Return the expected range; None where the channel has none."""
    if explanation is not None and explanation.channel == top.name:
        return explanation.lower, explanation.upper
    known = top.lower == top.lower and top.upper == top.upper
    return (top.lower, top.upper) if known else (None, None)


def _shape(incident: Incident) -> str:
    """Return how the departure came and which shape it has; empty where that says nothing new."""
    found = incident.explanation
    if (
        found is None
        or found.shape in ("missing", "late start", "absent job")
        or incident.reason == "flatline"
    ):
        return "late start" if found is not None and found.shape == "late start" else ""
    rose = f"{_side(incident)} within {_rows(found.rose)}"
    if found.shape == "wrong hour":
        side = "earlier" if found.hours > 0 else "later"
        return f"as usual {span(abs(found.hours) * 3600)} {side}: wrong hour"
    words = {
        "spike": f"{rose} and went back",
        "level shift": f"{rose} and stayed",
        "drift": f"{_side(incident)} slowly" + (f", over {_rows(found.rose)}" if found.rose > 1 else ""),
        "stuck": "the same value again and again",
        "noise": "jumps up and down",
        "changed period": "swings in another rhythm",
        "lost correlation": "no longer follows the other channels",
    }
    return f"{words[found.shape]}: {found.shape}" if found.shape in words else "shape unclear"


def _side(incident: Incident) -> str:
    top = incident.channels[0] if incident.channels else None
    return "fell" if top is not None and top.actual < top.expected else "rose"


def _rows(num: int) -> str:
    return "1 row" if num <= 1 else f"{num} rows"


def _others(found: Explanation | None) -> list[str]:
    if found is None:
        return []
    also = [f"also {_list(list(found.also))}"] if found.also else []
    return [*also, f"{_list(list(found.usual))} as expected"] if found.usual else also


def _list(names: list[str]) -> str:
    """Return names as text; of many only the first two and how many more there are.

    >>> _list(["flow", "heat"]), _list(["a", "b", "c", "d"])
    ('flow and heat', 'a, b and 2 more')
    """
    if len(names) > 3:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _when(incident: Incident, at_ns: int, zone: str) -> str:
    """Return since when it goes on, or from when to when it did, and how long that is."""
    end_ns = at_ns if incident.end_ns is None else incident.end_ns
    seconds = (end_ns - incident.start_ns) / 1e9
    lasted = f" ({span(seconds)})" if seconds > 0 else ""
    start, end = (_local(one, zone) for one in (incident.start_ns, end_ns))
    other_day = start.date() != end.date()
    if incident.state == "resolved":
        return f"from {_clock(start, True)} to {_clock(end, other_day)}{lasted}"
    return f"since {_clock(start, other_day)}{lasted}"


def _local(time_ns: int, zone: str) -> datetime:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone(ZoneInfo(zone))


def _clock(when: datetime, has_date: bool) -> str:
    """Return a time as a person writes it; UTC is named."""
    clock = f"{when:%H:%M:%S}" if when.second else f"{when:%H:%M}"
    day = f"{when:%Y-%m-%d} " if has_date else ""
    return f"{day}{clock}" + (" UTC" if when.utcoffset() is not None and when.tzname() == "UTC" else "")


def span(seconds: float) -> str:
    """Return how long something lasts.

    >>> span(34.0), span(2040.0), span(9000.0), span(400_000.0)
    ('34 s', '34 min', '2.5 h', '4.63 d')
    """
    for unit, length, most in (("s", 1.0, 120.0), ("min", 60.0, 7_200.0), ("h", 3_600.0, 172_800.0)):
        if seconds < most:
            return f"{_number(seconds / length, _DIGITS)} {unit}"
    return f"{_number(seconds / 86_400.0, _DIGITS)} d"


def numbers(actual: float, lower: float | None, upper: float | None, expected: float) -> tuple[str, ...]:
    """Return values with three significant digits, or as many more as set the actual one apart.

    >>> numbers(7.912, 4.08, 5.21, 4.6)
    ('7.91', '4.08', '5.21', '4.6')
    >>> numbers(1013.4, 1012.8, 1013.1, 1013.0)
    ('1013.4', '1012.8', '1013.1', '1013')
    """
    known = [expected if lower is None else lower, expected if upper is None else upper]
    for digits in range(_DIGITS, _MOST_DIGITS):
        text = [_number(one, digits) for one in (actual, *known, expected)]
        if all(text[0] != one for one, value in zip(text[1:3], known, strict=True) if value != actual):
            break
    return tuple(text)


def _number(value: float, digits: int) -> str:
    """Return a number without an exponent, where that is short.

    >>> _number(12345.0, 3), _number(0.00012345, 3), _number(float("nan"), 3)
    ('12300', '0.000123', 'unknown')
    """
    if value != value:
        return "unknown"
    if not 1e-5 < abs(value) < 1e9:
        return f"{value:.{digits}g}"
    text = f"{Decimal(f'{value:.{digits}g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
