"""What a model compares with and what it finds, as JSON values: slow levels, and the smallest faults."""

from __future__ import annotations

from typing import Any

import numpy as np

from detector.artifact.spec import Spec
from detector.scoring.context.season_level import SeasonLevel
from detector.selfcheck.detectability import largest_size

_MOST_SERIES = 2_000


def drift_reference(spec: Spec) -> dict[str, Any] | None:
    """Return the slow level of each channel in the history, over a week; None: the history is too short.

    `levels` has for each series its `level` and the `unit` of its drift, by channel, in the unit of the
    channel. A level is None where the series hardly sent the channel. At most 2000 series are listed.
    """
    drift = spec.drift
    if drift is None:
        return None
    usual = np.mean(drift.usual, axis=0) + SeasonLevel(spec.season, len(spec.channels)).mean
    levels = {}
    for series, found in list(drift.levels.items())[:_MOST_SERIES]:
        center, scale = spec.scales_of(series)
        known = (np.array(found, np.float64) + usual) * scale + center
        level = [None if np.isnan(one) else float(one) for one in known]
        levels[series] = {"level": level, "unit": (np.array(drift.unit) * scale).tolist()}
    return {
        "channels": list(spec.channel_names),
        "watched": [most > 0 for most in drift.limits.threshold],
        "series": len(drift.levels),
        "levels": levels,
    }


def detectable(spec: Spec) -> list[dict[str, Any]]:
    """Return the smallest fault of each kind that is found in each channel, in the unit of the channel.

    `smallest` is None where none is found up to `largest`.
    """
    places = {name: at for at, name in enumerate(spec.channel_names)}
    return [
        {
            "channel": one.channel,
            "kind": one.kind,
            "rows": one.rows,
            "smallest": one.smallest,
            "promised": one.promised,
            "largest": largest_size(spec, places[one.channel]),
        }
        for one in spec.detectable
    ]
