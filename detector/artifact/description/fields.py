"""The description of a model from plain values; every field is checked. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from detector.artifact.bounds import check_description
from detector.artifact.cold.cold_start import cold_from
from detector.artifact.drift import drift_from
from detector.artifact.modes import check_modes, modes_from
from detector.artifact.peers.peers import peers_from
from detector.artifact.reference import reference_from
from detector.artifact.season import season_from
from detector.artifact.spec import (
    Channel,
    Detectable,
    Level,
    Member,
    MissingLevel,
    OwnScale,
    PageLimit,
    Scoring,
    Spec,
    Threshold,
)
from detector.errors import ArtifactError

_OLD_ALARMS = 4.0
"""Older releases let a threshold alarm twice as often as the budget; a limit has half of the budget."""


def spec_from(raw: Any, path: Path) -> Spec:
    """Make a Spec from plain values; check that every field is there, has its type and lies in its bounds."""
    try:
        spec = Spec(
            **{
                **raw,
                "members": tuple(_member_from(member) for member in raw["members"]),
                "channels": tuple(_channel_from(channel) for channel in raw["channels"]),
                "scoring": Scoring(**raw["scoring"]),
                "threshold": _threshold_from(raw["threshold"]),
                "detectable": tuple(Detectable(**one) for one in raw.get("detectable", ())),
                "own_scales": _own_scales_from(raw.get("own_scales", {})),
                "sampled": tuple(raw.get("sampled", ())),
                "reference": reference_from(raw.get("reference")),
                "season": season_from(raw.get("season")),
                "modes": modes_from(raw.get("modes")),
                "drift": drift_from(raw.get("drift")),
                "cold": cold_from(raw.get("cold")),
                "peers": peers_from(raw.get("peers")),
                "absent": {series: tuple(names) for series, names in dict(raw.get("absent", {})).items()},
            }
        )
        msgspec.convert(raw, Spec)
        check_description(asdict(spec))
        if spec.modes is not None:
            check_modes(spec.modes, spec.channel_names)
    except (
        TypeError,
        KeyError,
        AttributeError,
        ValueError,
        ArithmeticError,
        msgspec.ValidationError,
    ) as error:
        raise ArtifactError(f"{path}: a field of the description is missing or wrong: {error}") from error
    return spec


def _own_scales_from(raw: Mapping[str, Any]) -> dict[str, tuple[OwnScale, ...]]:
    return {series: tuple(OwnScale(**one) for one in own) for series, own in dict(raw).items()}


def _channel_from(raw: Mapping[str, Any]) -> Channel:
    return Channel(**{**raw, "sentinels": tuple(raw.get("sentinels", ()))})


def _member_from(raw: Mapping[str, Any]) -> Member:
    levels = {kind: tuple(Level(**level) for level in raw[kind]) for kind in ("settled", "fresh")}
    missing = tuple(
        MissingLevel(**{name: tuple(values) for name, values in dict(one).items()})
        for one in raw.get("missing", ())
    )
    return Member(**{**raw, **levels, "missing": missing})


def _threshold_from(raw: Mapping[str, Any]) -> Threshold:
    """Return the threshold. One of an older release that adapted gets the default limit for its budget."""
    raw = dict(raw)
    adapted, limit = raw.pop("adaptation", None), raw.get("limit")
    if adapted is not None:
        return Threshold(**{**raw, "limit": PageLimit(adapted["alarms_a_row"] / _OLD_ALARMS)})
    return Threshold(**{**raw, "limit": None if limit is None else PageLimit(**limit)})
