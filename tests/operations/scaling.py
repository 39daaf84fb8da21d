"""Shipped configurations with shorter durations: what takes a quarter of an hour is shown in a minute.

Every duration that is written as one (`for`, `keep_firing_for`, ranges, offsets, intervals, Alertmanager's
waits) is divided by a factor. Nothing else is changed: no expression, label or route.
"""

from __future__ import annotations

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(
    r"(\[|\boffset |\b(?:for|keep_firing_for|\w*interval|group_wait|scrape_timeout): )"
    r"(\d+)(ms|s|m|h|d|w)\b"
)


def scaled(text: str, factor: int) -> str:
    """The text with every duration divided by `factor`, in milliseconds."""

    def shorter(match: re.Match[str]) -> str:
        before, number, unit = match.groups()
        return f"{before}{int(number) * _UNITS_MS[unit] // factor}ms"

    return _DURATION.sub(shorter, text)
