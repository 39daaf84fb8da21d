"""Check that the numbers of an artifact's description lie within bounds that scoring can work with.

The hash of a file shows that it was not changed, but not that its content makes sense. A description that
was edited and hashed again is therefore refused here, when it is loaded, and not in the middle of a stream.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.names import channels_fault
from detector.artifact.cold.cold_start import check_cold
from detector.artifact.drift import check_drift
from detector.artifact.laws import LAWS
from detector.artifact.peers.peers import check_peers
from detector.artifact.reference import check_reference
from detector.artifact.season import check_season

_MOST = 1e300
_LEAST = 1e-300
_COUNT = 2**31 - 1
BOUNDS: Mapping[str, tuple[float, float]] = {
    "interval_ns": (1, 10**18),
    "stride": (1, _COUNT),
    "batch_size": (1, 2**20),
    "max_gap": (0, 10**6),
    "delay": (0, _COUNT),
    "window": (1, _COUNT),
    "flatline_rows": (0, _COUNT),
    "missing_rows": (0, _COUNT),
    "center": (-_MOST, _MOST),
    "scale": (_LEAST, _MOST),
    "band": (0, _MOST),
    "high": (-_MOST, _MOST),
    "spread": (1e-9, _MOST),
    "value": (_LEAST, _MOST),
    "fresh": (_LEAST, _MOST),
    "sharpness": (1e-9, _MOST),
    "alarms_a_row": (_LEAST, _MOST),
    "rise": (1, _MOST),
    "forgiveness": (1 + 1e-9, _MOST),
    "long_rows": (1e-9, _MOST),
}
"""Least and greatest allowed value of every number that scoring uses. NaN is never allowed."""
_FREE = {"hyperparameters", "parameters", "training", "intervals", "own_scales", "reference"}
_FREE |= {"season", "modes", "drift", "holds", "cold", "peers"}
"""Fields without these bounds: families check their hyperparameters, and people read the others.

Those by series are checked apart, since a series may have any name."""
_LONGEST_HOLD_NS = 100 * 366 * 86_400 * 10**9
MOST_OWN_SCALES = 100_000
"""Most centres and scales of single series in one description, all series together."""


def check_description(spec: Mapping[str, Any]) -> None:
    """Check the description of an artifact.

    Args:
        spec: A `detector.artifact.spec.Spec` as plain values (`asdict`) of the right types.

    Raises:
        ValueError: A value is not allowed. The message names the field, its value and what it may be.
    """
    _check_numbers(spec)
    least, most = BOUNDS["interval_ns"]
    for series, interval in spec["intervals"].items():
        if not least <= interval <= most:
            raise ValueError(f"the interval of series {series!r:.40} is {interval}; it must be 1 to {most:g}")
    if not all(math.isfinite(value) for channel in spec["channels"] for value in channel["sentinels"]):
        raise ValueError("sentinels must be finite numbers")
    _check_laws({channel["law"] for channel in spec["channels"]})
    channels = [channel["name"] for channel in spec["channels"]]
    fault = channels_fault(channels)
    if fault is not None:
        raise ValueError(fault)
    _check_own_scales(spec["own_scales"], channels)
    _check_holds(spec["holds"], channels)
    checks = {"reference": check_reference, "season": check_season, "drift": check_drift, "cold": check_cold}
    checks["peers"] = check_peers
    for part, check in checks.items():
        if spec[part] is not None:
            check(spec[part], len(channels))
    num_statistics = 1 if len(channels) == 1 else 2
    for member in spec["members"]:
        for kind in ("settled", "fresh"):
            if len(member[kind]) != num_statistics:
                raise ValueError(f"a member has {len(member[kind])} {kind} levels, needed {num_statistics}")
    _check_strides(spec["members"])


def _check_strides(members: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a member that reads less than one window in each window, or a first one that skips any."""
    for number, member in enumerate(members):
        if member["stride"] > (member["window"] if number else 1):
            most = "the rows of its window" if number else "1, since the expected values are its own"
            raise ValueError(f"the stride of member {number} is {member['stride']}; it is at most {most}")


def _check_holds(holds: Mapping[str, int], channels: list[str]) -> None:
    for name, hold_ns in holds.items():
        if name not in channels or not 0 < hold_ns <= _LONGEST_HOLD_NS:
            what = "is no channel of the model, or its time is not from 1 ns to 100 years"
            raise ValueError(f"holds: {name!r:.40} {what}")


def _check_laws(laws: set[str]) -> None:
    if not laws <= LAWS:
        raise ValueError(f"law must be one of {', '.join(sorted(LAWS))}, found {laws!r:.80}")


def _check_numbers(described: Any) -> None:
    for name, number in _numbers(described):
        least, most = BOUNDS[name]
        if not least <= number <= most or (isinstance(number, int) and number.bit_length() > 63):
            raise ValueError(f"{name} is {number!r:.40}; it must be between {least:g} and {most:g}")


def _check_own_scales(own_scales: Mapping[str, Any], channels: list[str]) -> None:
    """Refuse scales of series that are not finite and positive, too many, or of no or a repeated channel."""
    num = sum(map(len, own_scales.values()))
    if num > MOST_OWN_SCALES:
        raise ValueError(f"own_scales has {num:,} entries; at most {MOST_OWN_SCALES:,} are allowed")
    known = set(channels)
    for series, own in own_scales.items():
        names = Counter(one["channel"] for one in own)
        for name in names:
            if name not in known or names[name] > 1:
                fault = "occurs twice" if name in known else "is no channel of the model"
                raise ValueError(f"own_scales of series {series!r:.80}: {name!r:.80} {fault}")
        try:
            _check_numbers(own)
        except ValueError as error:
            raise ValueError(f"own_scales of series {series!r:.80}: {error}") from error


def _numbers(value: Any) -> Iterator[tuple[str, float]]:
    """Yield the name and value of every number that has bounds, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in BOUNDS and isinstance(inner, int | float):
                yield name, inner
            elif name not in _FREE:
                yield from _numbers(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner)
