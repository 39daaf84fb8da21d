"""Proposes how messages are read: the keys of [input] that fit the bytes of one message."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from connectors.formats.contract import RefusedError
from connectors.formats.line_protocol.lines import Line, lines_of
from connectors.formats.places import BROKER
from connectors.times import EARLIEST_NS, NS_PER_MS, NS_PER_UNIT, times_of

Keys: TypeAlias = dict[str, str | tuple[str, ...]]
"""Keys of [input] with their values."""
_SERIES = ("series", "machine", "device", "host", "asset", "device_id", "machine_id", "serial", "id", "name")
_CHANNEL = ("channel", "tag", "metric", "sensor", "signal", "measurement", "variable", "field")
_MACHINES = ("series", "machine", "device", "asset", "host", "sensor", "serial", "equipment", "station")
"""Words in the name of a field, such as `machine_name`, whose text is a series."""
_STATES = frozenset(("status", "state", "mode", "quality", "firmware", "version", "type", "event", "message"))
"""Names of fields whose texts are no series."""
_REMARKS = frozenset(("unit", "units", "description", "comment"))
"""Names of fields whose texts are a series only if no other text is."""
_TIMES = ("timestamp", "time", "ts", "at", "t", "datetime", "date", "event_time", "measured_at", "sampled_at")
_NEAR_NS = 10 * 366 * 86_400 * 10**9
"""A number in a field of another name is a time if it is within ten years of the broker's time."""
_LAST_NAME = re.compile(r"\.([\w-]+)$|\['([^']+)'\]$")
_SHOWN = 4
_DEPTH = 3
_ARROW = b"\xff\xff\xff\xff"
"""The first bytes of a message of Arrow IPC."""
_NOT_READ = (json.JSONDecodeError, UnicodeDecodeError, RecursionError, ValueError)
Value: TypeAlias = int | float | str
Leaf: TypeAlias = tuple[str, str, Any]
"""The path of a value, the path of the object around it, and the value."""


class Beside(NamedTuple):
    """Hold what comes with the bytes of a message: its key, and the broker's time in ms, -1 without one."""

    key: bytes | None = None
    timestamp_ms: int = -1


class UnclearError(Exception):
    """Raised for a message with several fields that may be its series."""


class _Time(NamedTuple):
    path: str
    unit: str
    ns: int


def keys_for(value: bytes, beside: Beside = Beside()) -> Keys | None:  # noqa: B008 - a constant
    """Return the keys of [input] with which a message is read; None if no format fits.

    Args:
        value: The bytes of the message.
        beside: Key and time of the message, which decide between fields that both may be series or time.

    Raises:
        UnclearError: Several texts may be the series, and neither their names nor the key decide.

    >>> keys_for(b'{"machine": "a", "at": 1767225600, "flow": 1.5}')
    {'series': '$.machine', 'time': '$.at', 'time_unit': 's', 'values': '$'}
    >>> keys_for(b"cpu,host=a idle=3.5 1767225600000000000")
    {'format': 'line_protocol'}
    """
    if value.startswith(_ARROW):
        return _of_arrow(value)
    try:
        body = json.loads(value)
    except _NOT_READ:
        return _of_lines(value)
    record = body[0] if isinstance(body, list) and body else body
    return keys_for_object(record, beside) if isinstance(record, dict) else None


def unit_of(stamp: Any) -> str | None:
    """Return the unit of a time; `iso` of a text; None if it is no time."""
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | str):
        return None
    if isinstance(stamp, str):
        return "iso" if times_of([stamp])[0] >= EARLIEST_NS else None
    fitting = (unit for unit, ns in NS_PER_UNIT.items() if EARLIEST_NS <= stamp * ns < 2**63)
    return next(fitting, None)


def keys_for_object(record: Mapping[str, Any], beside: Beside) -> Keys | None:
    """Return the keys for an object: with an array of readings inside, of one channel, or of all channels.

    Raises UnclearError, as `keys_for` does.
    """
    leaves = list(_leaves(record, "$", 0))
    array = next(((path, found) for path, _, found in leaves if _is_array(found)), None)
    if array is not None:
        leaves = [leaf for leaf in leaves if leaf[0] != array[0]] + list(_leaves(array[1][0], "@", 0))
    time, unit, of_times = place_of_time(leaves, beside.timestamp_ms)
    texts = {
        path: found for path, _, found in leaves if isinstance(found, str) and found and path not in of_times
    }
    numbers = [(path, parent) for path, parent, found in leaves if _is_number(found) and path not in of_times]
    if not numbers:
        return None
    inside: Keys = {} if array is None else {"records": array[0]}
    channel = _named(list(texts), _CHANNEL)
    others = {path: text for path, text in texts.items() if path != channel}
    if channel is not None and others and len(numbers) == 1:
        long: Keys = {"channel": channel, "value": numbers[0][0]}
        series = place_of_series(others, beside.key)
        return {"format": "long_json", "series": series, "time": time, **unit, **inside, **long}
    values = Counter(parent for _, parent in numbers).most_common(1)[0][0]
    return {"series": place_of_series(texts, beside.key), "time": time, **unit, **inside, "values": values}


def _times(leaves: Sequence[Leaf], broker_ms: int) -> Iterator[_Time]:
    """Yield the values that are times: texts, numbers in fields of known names, or near the broker's time."""
    for path, _, found in leaves:
        unit = unit_of(found)
        if unit is None:
            continue
        ns = int(times_of([found])[0]) if unit == "iso" else int(found * NS_PER_UNIT[unit])
        is_known = unit == "iso" or _last_name(path) in _TIMES
        if is_known or broker_ms < 0 or abs(ns - broker_ms * NS_PER_MS) <= _NEAR_NS:
            yield _Time(path, unit, ns)


def _time(times: Sequence[_Time], broker_ms: int) -> tuple[str, Keys]:
    """Return the place of the time and the key of its unit.

    The time of a reading in an array precedes that of its message, then a known name, then the nearest one.
    """
    if not times:
        return BROKER, {}
    inside = [one for one in times if one.path.startswith("@")] or list(times)
    named = _named([one.path for one in inside], _TIMES)
    nearest = min(inside, key=lambda one: 0 if broker_ms < 0 else abs(one.ns - broker_ms * NS_PER_MS))
    time = next((one for one in inside if one.path == named), nearest)
    return time.path, {} if time.unit in ("iso", "ms") else {"time_unit": time.unit}


def place_of_time(leaves: Sequence[Leaf], broker_ms: int) -> tuple[str, Keys, frozenset[str]]:
    """Return the place of the time, the key of its unit, and the paths of all values that are times."""
    times = list(_times(leaves, broker_ms))
    return *_time(times, broker_ms), frozenset(one.path for one in times)


def place_of_series(texts: Mapping[str, str], key: bytes | None) -> str:
    """Return the place of the series: the text that is the key, a known name, or the only text.

    Raises:
        UnclearError: There are several texts, and nothing of this decides.
    """
    word = None if key is None else key.decode(errors="replace")
    found = next((path for path, text in texts.items() if text == word), None) or _named(list(texts), _SERIES)
    if found is not None:
        return found
    likely = [path for path in texts if _last_name(path) not in _STATES]
    of_machines = [path for path in likely if set(_words(path)) & set(_MACHINES)]
    likely = of_machines if len(of_machines) == 1 else likely
    likely = [path for path in likely if _last_name(path) not in _REMARKS] or likely
    if len(likely) > 1:
        some = ", ".join(likely[:_SHOWN])
        raise UnclearError(f"JSON with several texts that may be the series, {some}: set `series` in [input]")
    return likely[0] if likely else "key"


def _of_lines(value: bytes) -> Keys | None:
    """Return the keys for line protocol; None of anything else."""
    try:
        lines = list(lines_of(value.decode()))
    except UnicodeDecodeError:
        return None
    first = lines[0] if lines else None
    if not isinstance(first, Line) or any(isinstance(one, RefusedError) for one in lines) or not first.tags:
        return None
    unit = unit_of(first.stamp)
    keys: Keys = {"format": "line_protocol"}
    if "host" not in first.tags:
        keys["series"] = f"$['{next(iter(first.tags))}']"
    if unit not in (None, "ns"):
        keys["time_unit"] = str(unit)
    return keys


def _of_arrow(value: bytes) -> Keys | None:
    """Return the keys for Arrow IPC; None where no column can be the series or the time."""
    from connectors.formats.arrow.batches import columns_in

    try:
        columns = columns_in(value)
    except RefusedError:
        return None
    texts = [f"$['{name}']" for name, kind in columns.items() if kind == "text"]
    times = [f"$['{name}']" for name, kind in columns.items() if kind == "time"]
    if not times or any("'" in name for name in columns):
        return None
    return {"format": "arrow", "series": next(iter(texts), "key"), "time": times[0]}


def _leaves(record: Mapping[str, Any], at: str, depth: int) -> Iterator[Leaf]:
    """Yield what an object and the objects in it hold, as far down as `_DEPTH`."""
    for name, found in record.items():
        path = f"{at}.{name}" if name.replace("-", "_").isidentifier() else f"{at}['{name}']"
        if "'" in name or not name:
            continue
        if isinstance(found, dict) and depth < _DEPTH:
            yield from _leaves(found, path, depth + 1)
        else:
            yield path, at, found


def _named(paths: Sequence[str], names: tuple[str, ...]) -> str | None:
    """Return the path whose last name comes first in `names`; None where none has one of them."""
    last = {_last_name(path): path for path in reversed(paths)}
    return next((last[name] for name in names if name in last), None)


def _last_name(path: str) -> str:
    """Return the name of the field that a path leads to, in small letters.

    >>> _last_name("$.device['Serial no']")
    'serial no'
    """
    found = _LAST_NAME.search(path)
    return "" if found is None else (found[1] or found[2]).lower()


def _words(path: str) -> list[str]:
    return re.split(r"[\W_]+", _last_name(path))


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_array(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and isinstance(found[0], dict)
