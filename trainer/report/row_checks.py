"""Findings about columns and rows: text, identity, repeated rows, times."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from connectors.times import EARLIEST_NS, NS_PER_UNIT, iso_time
from connectors.values import are_numbers_as_text
from detector.rows.series_arrays import starts_of
from trainer.report.findings import Finding, listed
from trainer.report.profile import Profile

_MANY = 0.01
_SHARED_TIMES = 0.05
_EXPLAINED = 0.95
_MOST_IDENTITIES = 10_000
_DAY_NS = 86_400 * 10**9
_MACHINE = re.compile(
    r"(.*[_\W])?(machine|device|asset|sensor|station|pump|turbine|engine|equipment|host|unit|vehicle|meter"
    r"|customer|site|plant|series)s?([_\W]?(id|name|no|nr|number|code|key|tag))?|(.*[_\W])?(id|uuid|serial)",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"(.*[_\W])?(tag|metric|variable|parameter|signal|point|measurement|channel|item)s?([_\W]?\w+)?",
    re.IGNORECASE,
)
_VALUE = re.compile(r"val|values?|readings?|measurements?|.*[_\W]value", re.IGNORECASE)
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp][Mm])?\s*")
_TIME_UNITS = ("s", "ms", "us", "ns")


def row_findings(profile: Profile) -> Iterator[Finding]:
    """Yield what columns and rows show."""
    yield from _text_columns(profile)
    identity = list(_identity(profile))
    yield from identity
    yield from _repeated(profile, explained=bool(identity))
    yield from _times(profile)
    yield from _time_like(profile)


def _text_columns(profile: Profile) -> Iterator[Finding]:
    table = profile.table
    texts = [name for name in table.text_columns if name not in table.faults]
    numbers = [name for name in texts if are_numbers_as_text(table.texts(name))]
    if numbers:
        example = next(text for text in table.texts(numbers[0]) if text.strip())
        yield Finding("text_numbers", f"numbers as text in {listed(numbers)}, such as {example!r}")
    for name, fault in table.faults.items():
        yield Finding("text_numbers", f"the column {name!r} has numbers except in one cell or more: {fault}")
    named = {*table.channels, *numbers, *table.faults}
    left = [name for name in table.kinds if name not in named]
    if left:
        kinds = ", ".join(sorted({table.kinds[name] for name in left}))
        yield Finding("left_out", f"the columns {listed(left)} ({kinds}) are no channels")


def _identity(profile: Profile) -> Iterator[Finding]:
    """Find a column that names the machine, or the channel of a long table."""
    found = identity_of(profile)
    if found is None:
        return
    if found.measured is not None:
        what = f"{found.column!r} names what {found.measured!r} measures in each row"
        yield Finding("long_format", f"{what} (if it names machines: `series`)")
    else:
        what = f"the column {found.column!r} distinguishes rows of one series and time"
        yield Finding("looks_like_series", what)


@dataclass(frozen=True, slots=True)
class Identity:
    """A column that says whose row it is: of a machine, or of a channel, whose value `measured` has."""

    column: str
    measured: str | None


def identity_of(profile: Profile) -> Identity | None:
    """Return the column that names the machine, or the channel of a long table; None without one."""
    found = [name for name, values in _candidates(profile) if _names_rows(profile, name, values)]
    if not found:
        return None
    name = next((one for one in found if _TAG.fullmatch(one) or _MACHINE.fullmatch(one)), found[0])
    others = [channel for channel in profile.table.channels if channel not in found]
    is_long = len(others) == 1 and not _MACHINE.fullmatch(name)
    is_long = is_long and bool(_TAG.fullmatch(name) or _VALUE.fullmatch(others[0]))
    return Identity(name, others[0] if is_long else None)


def _candidates(profile: Profile) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the columns of text and of whole numbers, as codes of the sampled rows, -1 where missing.

    A time of day is no name.
    """
    rows, table = profile.rows, profile.table
    clocks = _clock_columns(profile)
    for at, name in enumerate(table.text_columns):
        if name not in clocks:
            yield name, rows.codes[:, at]
    for at, name in enumerate(table.channels):
        values = rows.values[:, at]
        whole = np.isnan(values) | ((values == np.rint(values)) & (np.abs(values) < 2**53))
        if len(table.channels) > 1 and whole.all():
            yield name, np.nan_to_num(values, nan=-1).astype(np.int64)


def _names_rows(profile: Profile, name: str, codes: NDArray[np.int64]) -> bool:
    """Return whether a column separates rows of one time, or has such a name and few values in a series."""
    rows = profile.rows
    known = codes >= 0
    if not known.any() or len(np.unique(codes[known])) > min(_MOST_IDENTITIES, max(2, known.sum() // 3)):
        return False
    shared = _conflicts(profile) & known
    if shared.sum() >= _SHARED_TIMES * len(rows):
        keys = np.column_stack([rows.number[shared], rows.time[shared], codes[shared]])
        return bool(len(np.unique(keys, axis=0)) >= _EXPLAINED * shared.sum())
    is_text = name in profile.table.text_columns
    pattern_fits = _MACHINE.fullmatch(name) or (is_text and _is_value_alone(profile) and _TAG.fullmatch(name))
    if not pattern_fits or not (
        is_text or re.search(r"(id|no|nr|number|code|key|series)$", name, re.IGNORECASE)
    ):
        return False
    order = np.lexsort((codes[known], rows.number[known]))
    number, sorted_codes = rows.number[known][order], codes[known][order]
    return bool(((np.diff(number) == 0) & (np.diff(sorted_codes) != 0)).any())


def _clock_columns(profile: Profile) -> list[str]:
    """Return the columns of text whose values are all times of day, such as 14:05."""
    texts = {name: profile.table.texts(name) for name in profile.table.text_columns}
    return [name for name, found in texts.items() if found and all(map(_CLOCK.fullmatch, found))]


def _apart(profile: Profile) -> str:
    """Return what would tell apart rows of one series and time; "" if nothing is seen."""
    for name in _clock_columns(profile):
        return f"; {name!r} has the time of day: join it with the date into one column `timestamp`"
    rows, conflict = profile.rows, _conflicts(profile)
    for pair in combinations(range(len(profile.table.text_columns)), 2):
        codes = rows.codes[:, list(pair)]
        known = conflict & (codes >= 0).all(axis=1)
        keys = np.column_stack([rows.number[known], rows.time[known], codes[known]])
        if known.any() and len(np.unique(keys, axis=0)) >= _EXPLAINED * conflict.sum():
            one, two = (profile.table.text_columns[at] for at in pair)
            return f"; {one!r} and {two!r} tell them apart: join both into one column `series`"
    return ""


def _is_value_alone(profile: Profile) -> bool:
    channels = profile.table.channels
    return len(channels) == 1 and _VALUE.fullmatch(channels[0]) is not None


def _groups(profile: Profile) -> NDArray[np.int64]:
    """Return the group of each sampled row, int64 [n]: rows of one series and time are one group."""
    rows = profile.rows
    new = np.ones(len(rows), np.int64)
    new[1:] = (np.diff(rows.number) != 0) | (np.diff(rows.time) != 0)
    return np.cumsum(new) - 1


def _conflicts(profile: Profile) -> NDArray[np.bool_]:
    """Return which sampled rows share series and time with a row that has another value, bool [n]."""
    rows, group = profile.rows, _groups(profile)
    starts = starts_of(group)
    highest = np.fmax.reduceat(rows.values, starts, axis=0)
    lowest = np.fmin.reduceat(rows.values, starts, axis=0)
    differs = np.asarray((highest > lowest).any(axis=1))
    found: NDArray[np.bool_] = differs[group]
    return found


def _repeated(profile: Profile, explained: bool) -> Iterator[Finding]:
    rows, group = profile.rows, _groups(profile)
    conflict = _conflicts(profile)
    equal = np.bincount(group)[group] > 1
    equal &= ~conflict
    about = "" if profile.share == 1 else "about "
    if conflict.any() and not explained:
        share = conflict.mean()
        names = sorted({profile.tally.names[number] for number in np.unique(rows.number[conflict])})
        what = (
            f"{about}{round(conflict.sum() / profile.share):,} rows ({share:.1%}) share series and time with"
            f" a row of other values, in {listed(names)}{_apart(profile)}"
        )
        yield Finding("many_conflicting_rows" if share > _MANY else "conflicting_rows", what)
    if equal.any():
        num = round((equal.sum() - len(np.unique(group[equal]))) / profile.share)
        yield Finding("repeated_rows", f"{about}{num:,} rows repeat series and time of another row")


def _times(profile: Profile) -> Iterator[Finding]:
    tally, order = profile.tally, profile.order
    early = tally.first[order] < EARLIEST_NS
    if early.any():
        names = [profile.series[at] for at in np.flatnonzero(early)]
        first = iso_time(int(tally.first[order].min()))
        yield Finding(
            "old_times", f"times before 1990, from {first} on, in {listed(names)}; the stream refuses them"
        )
    late = tally.last[order] > time.time_ns() + _DAY_NS
    if late.any():
        names = [profile.series[at] for at in np.flatnonzero(late)]
        last = iso_time(int(tally.last[order].max()))
        yield Finding("future_times", f"times in the future, up to {last}, in {listed(names)}")


def _time_like(profile: Profile) -> Iterator[Finding]:
    found = time_like_channels(profile)
    if found:
        yield Finding("looks_like_time", f"the values of {listed(found)} are epoch times that only rise")


def time_like_channels(profile: Profile) -> list[str]:
    """Return the channels that only rise and whose values are epoch times."""
    tally, order = profile.tally, profile.order
    found = []
    for at, name in enumerate(profile.table.channels):
        lowest = np.nanmin(tally.lowest.values[order, at, 0], initial=np.inf)
        highest = -np.nanmin(tally.highest.values[order, at, 0], initial=np.inf)
        rises, falls = tally.rises[order, at].sum(), tally.falls[order, at].sum()
        is_rising = rises >= 3 and falls <= _MANY * rises
        units = (NS_PER_UNIT[unit] for unit in _TIME_UNITS)
        if is_rising and any(lowest * unit >= EARLIEST_NS and highest * unit < 2**63 for unit in units):
            found.append(name)
    return found
