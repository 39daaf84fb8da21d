r"""Parses InfluxDB line protocol, as Telegraf sends it.

    cpu,host=a,cpu=cpu0 usage_idle=98.1,n=3i 1767225600000000000

Escapes are those of the specification: `\,` `\ ` in the measurement; also `\=` in tags and names of fields;
`\"` and `\\` in texts. Any other backslash is itself. Lines that begin with # and empty lines are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from connectors.formats.contract import RefusedError

_MEASUREMENT = re.compile(r"(?:\\[, ]|[^, \n])++")
_KEY = re.compile(r"(?:\\[,= ]|[^,= \n])++")
_VALUE = re.compile(r'"((?:\\["\\]|[^"])*+)"|[^, \n"]++')
_STAMP = re.compile(r"-?\d{1,19}+")
_SPACES = re.compile(r" *+")
_END = re.compile(r" *+\r?(?:\n|\Z)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,20}[iu]", re.ASCII)
_BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_IN_NAME, _IN_MEASUREMENT = re.compile(r"\\([,= ])"), re.compile(r"\\([, ])")
_LONGEST_SHOWN = 60
MOST_BAD = 1_000


class Line(NamedTuple):
    """One line. A field is a number, a boolean, or a text; `stamp` is None where the line has no time."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | bool | str]
    stamp: int | None


def lines_of(text: str) -> Iterator[Line | RefusedError]:
    r"""Yield the lines of a message in order; for a line that cannot be read, why.

    Nothing follows the 1,000th line that cannot be read: such a message is hardly line protocol.

    >>> list(lines_of("w,at=the\\ dam wet=t,level=3.5 1767225600"))
    [Line(measurement='w', tags={'at': 'the dam'}, fields={'wet': True, 'level': 3.5}, stamp=1767225600)]
    """
    num_bad = 0
    for line in _with_escapes(text) if "\\" in text or '"' in text else _without_escapes(text):
        yield line
        num_bad += isinstance(line, RefusedError)
        if num_bad == MOST_BAD:
            return


def _without_escapes(text: str) -> Iterator[Line | RefusedError]:
    for row in text.split("\n"):
        stripped = row.strip()
        if stripped and not stripped.startswith("#"):
            yield _plain(stripped)


def _with_escapes(text: str) -> Iterator[Line | RefusedError]:
    at = 0
    while at < len(text):
        begin = _SPACES.match(text, at).end()  # type: ignore[union-attr]  # it also matches nothing
        if text.startswith(("#", "\n", "\r"), begin) or begin == len(text):
            at = _next_line(text, begin)
            continue
        try:
            line, at = _escaped(text, begin)
            yield line
        except RefusedError as error:
            yield error
            at = _next_line(text, begin)


def _plain(line: str) -> Line | RefusedError:
    """Return a line without quotes and backslashes."""
    parts = line.split(" ")
    if not 2 <= len(parts) <= 3:
        parts = line.split()
        if not 2 <= len(parts) <= 3:
            return _malformed(line, "expected a measurement with tags, fields and a time")
    measurement, *pairs = parts[0].split(",")
    try:
        tags = dict(map(_tag, pairs))
        fields: dict[str, float | bool | str] = {
            name: _value(text) for name, text in (_pair(one) for one in parts[1].split(","))
        }
        stamp = _stamp(parts[2]) if len(parts) == 3 else None
    except ValueError as error:
        return _malformed(line, str(error))
    if not measurement:
        return _malformed(line, "the measurement is empty")
    return Line(measurement, tags, fields, stamp)


def _escaped(text: str, at: int) -> tuple[Line, int]:
    """Return the line that begins at a place, and where the next one begins. Raises RefusedError."""
    found = _MEASUREMENT.match(text, at)
    if found is None:
        raise _malformed(text, "the measurement is empty", at)
    begin, measurement, at = at, _IN_MEASUREMENT.sub(r"\1", found[0]), found.end()
    tags: dict[str, str] = {}
    fields: dict[str, float | bool | str] = {}
    try:
        while text.startswith(",", at):
            name, at = _name(text, at + 1)
            tags[name], at = _unquoted(text, at)
        at = _SPACES.match(text, at).end() - 1  # type: ignore[union-attr]
        while not fields or text.startswith(",", at):
            name, at = _name(text, at + 1)
            fields[name], at = _field(text, at)
        at = _SPACES.match(text, at).end()  # type: ignore[union-attr]
        stamp = _STAMP.match(text, at)
        end = _END.match(text, stamp.end() if stamp else at)
        if end is None:
            raise ValueError("expected a time and the end of the line")
    except ValueError as error:
        raise _malformed(text, str(error), begin) from None
    return Line(measurement, tags, fields, int(stamp[0]) if stamp else None), end.end()


def _name(text: str, at: int) -> tuple[str, int]:
    """Return a name before an equals sign, and the place behind that. Raises ValueError."""
    found = _KEY.match(text, at)
    if found is None or not text.startswith("=", found.end()):
        raise ValueError("expected name=value")
    return _IN_NAME.sub(r"\1", found[0]), found.end() + 1


def _unquoted(text: str, at: int) -> tuple[str, int]:
    found = _KEY.match(text, at)
    if found is None:
        raise ValueError("a tag without a value")
    return _IN_NAME.sub(r"\1", found[0]), found.end()


def _field(text: str, at: int) -> tuple[float | bool | str, int]:
    found = _VALUE.match(text, at)
    if found is None:
        raise ValueError("a field without a value, or a text without its end")
    if found[1] is not None:
        return re.sub(r'\\(["\\])', r"\1", found[1]), found.end()
    return _value(found[0].rstrip("\r")), found.end()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError("expected name=value")
    return name, value


def _tag(text: str) -> tuple[str, str]:
    name, value = _pair(text)
    if not value or "=" in value:
        raise ValueError("a tag without a value, or with an equals sign that is not escaped")
    return name, value


def _value(text: str) -> float | bool:
    """Return a number or a boolean. Raises ValueError."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if _WHOLE.fullmatch(text):
        return float(int(text[:-1]))
    known = _BOOLEANS.get(text)
    if known is None:
        raise ValueError(f"{text[:_LONGEST_SHOWN]!r} is neither a number, a boolean nor a text in quotes")
    return known


def _stamp(text: str) -> int:
    if not _STAMP.fullmatch(text):
        raise ValueError(f"{text[:_LONGEST_SHOWN]!r} is no time: expected a whole number")
    return int(text)


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _malformed(text: str, what: str, at: int = 0) -> RefusedError:
    """Return the error for the line that begins at a place. It never copies what follows the line."""
    shown = text[at : at + _LONGEST_SHOWN + 1].partition("\n")[0]
    shown = f"{shown[:_LONGEST_SHOWN]}..." if len(shown) > _LONGEST_SHOWN else shown
    return RefusedError("malformed", f"{what} - in {shown!r}")
