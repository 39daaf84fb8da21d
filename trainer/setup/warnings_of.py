"""What of a history will hurt a training, in lines."""

from __future__ import annotations

import numpy as np

from trainer.report.profile import Profile
from trainer.setup.look import HANDLED, Look

_FEW_ROWS = 1_000
_MOSTLY = 0.5
_FEW_RISES = 5
_TELLING = ("gaps", "mixed_rates", "repeated_rows")
_HANDLED = (*HANDLED, "counter", "no_values")


def warnings_of(look: Look) -> list[str]:
    """Return lines about what will hurt, the most severe first."""
    lines = [one.line() for one in look.stopping()]
    lines += _too_short(look)
    lines += [
        one.line()
        for one in look.report.findings
        if one.name not in _HANDLED and (one.severity == "warning" or one.name in _TELLING)
    ]
    lines += _texts_left_out(look) + _rarely_rising(look)
    return [*lines, *_mostly_missing(look), *_backward(look.report.profile)]


def _too_short(look: Look) -> list[str]:
    profile = look.report.profile
    longest = int(profile.tally.rows[profile.order].max())
    if longest >= _FEW_ROWS:
        return []
    return [f"warning: too_short: the longest series has {longest:,} rows; give {_FEW_ROWS:,} or more"]


def _texts_left_out(look: Look) -> list[str]:
    """Return lines about columns of numbers that are left out because of what stands beside the numbers."""
    found = [one for one in look.report.findings if one.name == "text_numbers"]
    why = "it is no channel: correct or empty these cells, and repeat this with --force"
    return [f"warning: {one.name}: {one.what}; {why}" for one in found]


def _rarely_rising(look: Look) -> list[str]:
    """Return lines about channels that seldom change and then rise: totals leave every range they had."""
    profile = look.report.profile
    rises, falls = (one[profile.order].sum(axis=0) for one in (profile.tally.rises, profile.tally.falls))
    return [
        f"warning: rarely_rising: {name!r} changes {int(rises[at]):,} times and only rises; if it is a total,"
        " leave it out of `channels`"
        for at, name in enumerate(profile.table.channels)
        if name in look.channels and rises[at] >= _FEW_RISES and falls[at] == 0
    ]


def _mostly_missing(look: Look) -> list[str]:
    profile = look.report.profile
    tally, order, lines = profile.tally, profile.order, []
    share = tally.known[order].sum(axis=0) / max(int(tally.rows[order].sum()), 1)
    for at, name in enumerate(profile.table.channels):
        if 0 < share[at] < _MOSTLY and name not in look.left_out:
            lines.append(
                f"warning: mostly_missing: {name!r} has values in {share[at]:.0%} of the rows; if it comes at"
                " another rate, train it in a model of its own"
            )
    return lines


def _backward(profile: Profile) -> list[str]:
    back = profile.tally.backward[profile.order]
    if not back.any():
        return []
    worst = profile.series[int(np.argmax(back))]
    line = (
        f"note: backward: time goes back {int(back.sum()):,} times, most often in {worst!r}; training sorts"
    )
    return [f"{line} the rows, the daemon needs [grid] lateness if messages come so too"]
