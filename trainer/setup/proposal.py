"""Proposes how messages are read: the keys of [input] that fit the bytes of one message."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from connectors.formats.contract import RefusedError
from connectors.formats.line_protocol.lines import Line, lines_of
from connectors.formats.places import BROKER
from connectors.times import EARLIEST_NS, NS_PER_UNIT, times_of

Keys: TypeAlias = dict[str, str]
"""Keys of [input] with their values."""
_SERIES = ("series", "machine", "device", "host", "asset", "id", "name", "device_id", "machine_id", "serial")
_CHANNEL = ("channel", "tag", "metric", "sensor", "signal", "measurement", "variable", "field")
_DEPTH = 3
_ARROW = b"\xff\xff\xff\xff"
"""The first bytes of a message of Arrow IPC."""
_NOT_READ = (json.JSONDecodeError, UnicodeDecodeError, RecursionError, ValueError)
Leaf: TypeAlias = tuple[str, str, Any]
"""The path of a value, the path of the object around it, and the value."""


def keys_for(value: bytes) -> Keys | None:
    """Return the keys of [input] with which a message is read; None if no format fits.

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
    return _of_object(record) if isinstance(record, dict) else None


def unit_of(stamp: Any) -> str | None:
    """Return the unit of a time; `iso` of a text; None if it is no time."""
    if isinstance(stamp, bool) or not isinstance(stamp, int | float | str):
        return None
    if isinstance(stamp, str):
        return "iso" if times_of([stamp])[0] >= EARLIEST_NS else None
    fitting = (unit for unit, ns in NS_PER_UNIT.items() if EARLIEST_NS <= stamp * ns < 2**63)
    return next(fitting, None)


def _of_object(record: Mapping[str, Any]) -> Keys | None:
    """Return the keys for an object: with an array of readings inside, of one channel, or of all channels."""
    leaves = list(_leaves(record, "$", 0))
    array = next(((path, found) for path, _, found in leaves if _is_array(found)), None)
    if array is not None:
        leaves = [leaf for leaf in leaves if leaf[0] != array[0]] + list(_leaves(array[1][0], "@", 0))
    times = [(path, found) for path, _, leaf in leaves if (found := unit_of(leaf)) is not None]
    of_times = {path for path, _ in times}
    texts = [path for path, _, found in leaves if isinstance(found, str) and found and path not in of_times]
    numbers = [(path, parent) for path, parent, found in leaves if _is_number(found) and path not in of_times]
    if not numbers:
        return None
    inside: Keys = {} if array is None else {"records": array[0]}
    first_time = times[0] if times else (BROKER, "ms")
    time = next((one for one in times if one[0] == "$.timestamp"), first_time)
    unit: Keys = {} if time[1] in ("iso", "ms") else {"time_unit": time[1]}
    channel = _named(texts, _CHANNEL)
    if channel is not None and len(texts) > 1 and len(numbers) == 1:
        others = [path for path in texts if path != channel]
        first = _named(others, _SERIES) or others[0]
        long = {"channel": channel, "value": numbers[0][0]}
        return {"format": "long_json", "series": first, "time": time[0], **unit, **inside, **long}
    values = Counter(parent for _, parent in numbers).most_common(1)[0][0]
    return {
        "series": _named(texts, _SERIES) or next(iter(texts), "key"),
        "time": time[0],
        **unit,
        **inside,
        "values": values,
    }


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
    keys = {"format": "line_protocol"}
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


def _named(paths: list[str], names: tuple[str, ...]) -> str | None:
    """Return the path whose last name comes first in `names`; None where none has one of them."""
    last = {path.rpartition(".")[2]: path for path in reversed(paths)}
    return next((last[name] for name in names if name in last), None)


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_array(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and isinstance(found[0], dict)
