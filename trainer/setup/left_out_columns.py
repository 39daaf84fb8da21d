"""Which columns of a history should be no channels, and why."""

from __future__ import annotations

import re

import numpy as np

from trainer.report.channel_checks import channels_by_kind
from trainer.report.profile import Profile
from trainer.report.row_checks import time_like_channels

_LABEL = re.compile(
    r"(is[_ ]?)?(label|anomal\w*|outlier|fault\w*|failure|attack|target|class|alarm)([_ ]?(label|flag))?",
    re.IGNORECASE,
)
_KINDS = {"text": "text", "time": "times", "empty": "no value", "other": "no numbers"}


def left_out_columns(profile: Profile) -> dict[str, str]:
    """Return the columns that are no channels, or should be none, each with the reason.

    A history of counters alone keeps them: one has to begin somewhere.
    """
    table, kinds = profile.table, channels_by_kind(profile)
    found = {name: _KINDS[kind] for name, kind in table.kinds.items() if name not in table.channels}
    found |= {name: f"text, since {fault}" for name, fault in table.faults.items()}
    found |= dict.fromkeys(kinds["no_values"], "no value")
    found |= dict.fromkeys(time_like_channels(profile), "epoch times that only rise")
    found |= dict.fromkeys(_labels(profile), "0 and 1 under the name of a label")
    counters = {
        name: "a total that only rises: train on its rate of change"
        for name in kinds["counter"]
        if name not in found
    }
    is_all = all(name in found or name in counters for name in table.channels)
    return found if is_all else found | counters


def _labels(profile: Profile) -> list[str]:
    """Return the channels of 0 and 1 that are named as labels are."""
    tally, order = profile.tally, profile.order
    found = []
    for at, name in enumerate(profile.table.channels):
        low, high = (side.values[order, at] for side in (tally.lowest, tally.highest))
        seen = {float(abs(one)) for one in np.concatenate([low.ravel(), high.ravel()]) if not np.isnan(one)}
        if _LABEL.fullmatch(name) and seen <= {0.0, 1.0}:
            found.append(name)
    return found
