"""Writes the training configuration of a history, with the reasons as comments."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from connectors.times import iso_time
from detector.artifact.modes import Condition, Modes
from detector.config.types import duration_text
from trainer.config import ScoringOptions
from trainer.fitting.members import default_max_gap
from trainer.report.channel_checks import channels_by_kind
from trainer.report.clock import season_words
from trainer.setup.look import Look
from trainer.setup.warnings_of import warnings_of

_WIDTH = 100
_MOST_NAMED = 12
_LONG_DURATION = 5


def train_file(look: Look) -> str:
    """Return the training configuration as TOML."""
    lines = [
        *comment(f"Training configuration of {look.name}, written by `streamgauge init` from {look.data}."),
        *comment(_size(look)),
        *[line for warning in warnings_of(look) for line in comment(warning)],
        f"name = {quoted(look.name)}",
        "",
        "[data]",
        *_times(look),
        *_series(look),
        *_channels(look),
        *_interval(look),
        *_accepted(look),
        "",
        "[scoring]",
        *comment("False alarms that you tolerate; `streamgauge calibrate` changes it without training."),
        f"alarm_budget = {quoted(ScoringOptions().alarm_budget)}",
        "",
        "[calendar]",
        *_zone(look),
        *_modes(look.modes),
    ]
    return "\n".join(lines) + "\n"


def comment(text: str) -> list[str]:
    """Return a text as lines of comments."""
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False)]


def quoted(text: str) -> str:
    """Return a text as a string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def array(names: Sequence[str]) -> str:
    """Return texts as an array of TOML."""
    return "[" + ", ".join(map(quoted, names)) + "]"


def _size(look: Look) -> str:
    profile = look.report.profile
    tally, order = profile.tally, profile.order
    rows, first, last = tally.rows[order], int(tally.first[order].min()), int(tally.last[order].max())
    return (
        f"{int(rows.sum()):,} rows, {len(profile.series):,} series, {len(look.channels):,} channels,"
        f" from {iso_time(first)[:19]} to {iso_time(last)[:19]} UTC."
    )


def _times(look: Look) -> list[str]:
    origin = look.origin
    lines = comment(f"Times come from the column {origin.column!r}: {origin.form}.")
    is_named = origin.column not in ("timestamp", "") and not origin.column.startswith("__")
    return [*lines, f"time = {quoted(origin.column)}"] if is_named else lines


def _series(look: Look) -> list[str]:
    profile, column = look.report.profile, look.dataset.names.series
    if column is not None:
        reason = "each of its values is one machine, since several rows have the same time"
        return [*comment(f"The column {column!r} names the series: {reason}."), f"series = {quoted(column)}"]
    if len(profile.series) == 1:
        return comment(f"All rows are of one series, {profile.series[0]!r}.")
    return comment(f"{len(profile.series):,} series, from the column `series` or the names of the files.")


def _channels(look: Look) -> list[str]:
    lines = []
    for name, reason in list(look.left_out.items())[:_MOST_NAMED]:
        lines += comment(f"Left out: {name!r} ({reason}).")
    if len(look.left_out) > _MOST_NAMED:
        lines += comment(f"Left out: {len(look.left_out) - _MOST_NAMED} more columns.")
    for name in channels_by_kind(look.report.profile)["constant"]:
        if name in look.channels:
            lines += comment(f"Constant: {name!r}; a change of it will be found.")
    for name in look.channels:
        if written := look.dataset.columns[name].written:
            lines += comment(f"Numbers of {name!r} have signs between thousands: {written}.")
    if look.dataset.has_label:
        lines += comment("The column `label` trains nothing; `streamgauge evaluate` and `backtest` use it.")
    return [*lines, f"channels = {array(look.channels)}"]


def _interval(look: Look) -> list[str]:
    seconds = look.interval_seconds
    gap = default_max_gap(None, len(look.channels))
    if seconds is None:
        return []
    if look.has_mixed_rates:
        lines = comment("Series have different intervals: each gets rows of its own.")
    else:
        lines = comment(f"Rows come every {duration_text(seconds)}; training finds the exact step itself.")
        lines.append(f"# interval_seconds = {seconds:.12g}")
    longest = int(look.report.profile.tally.longest_step.max()) / 1e9
    if longest > seconds:
        lines += comment(f"The longest gap is {_about(longest)}. A window bridges up to half its rows.")
    else:
        lines += comment("No row is missing. A window bridges gaps up to half its rows.")
    return [*lines, f"# max_gap = {gap}"]


def _about(seconds: float) -> str:
    """Return a duration for people: whole units, or one digit of the largest unit that fits.

    >>> [_about(seconds) for seconds in (300.0, 172800.0, 360600.0, 1022.8)]
    ['5m', '2d', 'about 4.2d', 'about 17m']
    """
    if (exact := duration_text(round(seconds, 3)))[-1] != "s" and len(exact) < _LONG_DURATION:
        return exact
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0)):
        if seconds >= length:
            return f"about {seconds / length:.2g}{unit}"
    return exact


def _accepted(look: Look) -> list[str]:
    if not any(one.name == "text_numbers" for one in look.report.findings):
        return []
    reason = "A column of numbers as text is left out (above). Without this line it stops the training."
    return [*comment(reason), 'accept = ["text_numbers"]']


def _zone(look: Look) -> list[str]:
    zone = look.origin.zone
    lines = comment(f"The clock that days and weeks follow. {season_words(look.days)}.")
    if zone is not None and "/" in zone:
        return [*lines, f"zone = {quoted(zone)}"]
    if zone is None and look.origin.form == "text":
        lines += comment("The times state no zone and are taken as UTC.")
    elif zone not in (None, "Z", "UTC", "GMT", "+00:00", "+0000"):
        lines += comment(f"The times state the offset {zone}, which is no zone: name yours.")
    return [*lines, '# zone = "Europe/Berlin"']


def _modes(modes: Modes | None) -> list[str]:
    if modes is None:
        return []
    lines = ["", *comment("The history shows modes of operation. Remove the # to judge each by itself.")]
    for mode in modes.modes:
        when = ", ".join(map(_condition, mode.conditions))
        lines += ["# [[modes]]", f"# name = {quoted(mode.name)}", f"# when = {{ {when} }}"]
    return lines


def _condition(one: Condition) -> str:
    low = "-inf" if one.low is None else f"{one.low!r}"
    high = "inf" if one.high is None else f"{one.high!r}"
    return f"{quoted(one.channel)} = [{low}, {high}]"
