"""Translate a configuration into the engine's options and its incident rules."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase

from pydantic import ValidationError

from detector.config.incident_schema import (
    WEEKDAYS,
    ChannelSection,
    ColdSection,
    IncidentsSection,
    MaintenanceSection,
)
from detector.config.load import Config
from detector.config.models.section import ModelsSection
from detector.config.problems import Checked
from detector.engine.values import EngineOptions
from detector.errors import ConfigError
from detector.incidents.filters.maintenance import Maintenance, OneOff, Recurring
from detector.incidents.rules import ChannelRule, FoldRules, IncidentRules, LevelLimit, WatchdogRules
from detector.scoring.cold.learnt_scales import ColdOptions

_ONE_BY_ONE = ("long_json", "long_avro", "line_protocol")
"""Formats whose messages need not have all channels of a row."""


def engine_options(config: Config, channels: Sequence[str] | None = None) -> EngineOptions:
    """Return the options of the engine; `channels` as in `rules_of`. Raises ConfigError."""
    stale = config.service.stale_after
    return EngineOptions(
        lateness_ns=_ns(config.grid.lateness),
        stale_after_ns=_ns(stale) if stale is not None else None,
        forget_after_ns=_ns(config.service.forget_after),
        device=config.service.device,
        threads=config.service.threads or default_threads(),
        rules=rules_of(config, channels),
        cold=_cold(config.cold),
    )


def _cold(given: ColdSection) -> ColdOptions:
    warmup_ns = None if given.warmup is None else _ns(given.warmup)
    return ColdOptions(given.enabled, given.warmup_rows, warmup_ns)


def default_threads() -> int:
    """Return the number of cores that this process may use, at most 4.

    Client and decoder run in one thread, which cannot feed more.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4)


def rules_of(config: Config, channels: Sequence[str] | None = None) -> IncidentRules:
    """Return the incident rules.

    Args:
        config: the whole configuration.
        channels: the channels of the model, to check [channels.NAME] against; None checks nothing.

    Raises:
        ConfigError: a table or a limit names a channel that the model does not have, or a message must have
            more channels of the model than it can.
    """
    if channels is not None:
        _check_least_channels(config, len(channels))
        check_channels("channels", config.channels, channels)
        check_channels("drift.limits", config.drift.limits, channels)
    rules = IncidentRules(
        channels={name: _channel_rule(section) for name, section in config.channels.items()},
        maintenance=tuple(_window(section) for section in config.maintenance),
        watchdog=WatchdogRules(_ns(config.watchdog.series_after), _ns(config.watchdog.stream_after)),
        without=tuple(name for name, counts in config.evidence if not counts),
        special_days=config.calendar.special_days(),
        limits={name: LevelLimit(one.lower, one.upper) for name, one in config.drift.limits.items()},
    )
    return with_section(rules, config.incidents)


def with_section(rules: IncidentRules, given: IncidentsSection) -> IncidentRules:
    """Return the rules with all that the section [incidents] sets."""
    return replace(
        rules,
        for_rows=given.for_rows,
        of_rows=given.of_rows,
        close_score=given.close_score,
        quiet_rows=given.quiet_rows,
        critical_score=given.critical_score,
        min_duration_ns=_ns(given.min_duration),
        cooldown_ns=_ns(given.cooldown),
        flap_incidents=given.flap_incidents,
        flap_window_ns=_ns(given.flap_window),
        settle_rows=given.settle_rows,
        channel_after=given.channel_after,
        on_lasting=given.on_lasting,
        lasting_after_ns=_ns(given.lasting_after),
        unjudged_after_ns=_ns(given.unjudged_after),
        clean_windows=given.clean_windows,
        fold=FoldRules(given.fold_series, _ns(given.fold_window)),
    )


def changed_section(section: IncidentsSection, changes: Mapping[str, object]) -> IncidentsSection:
    """Return the section [incidents] with other values of some keys.

    A whole number may be written with a point, such as 3.0: JSON has one kind of numbers.

    Raises:
        ConfigError: a key is unknown or a value is wrong; it names the key.
    """
    values = section.model_dump() | {name: _whole(value) for name, value in changes.items()}
    try:
        return IncidentsSection.model_validate(values, strict=True)
    except ValidationError as error:
        checked = Checked("", "", Config)
        found = ({**one, "loc": ("incidents", *one["loc"])} for one in error.errors())
        raise ConfigError("\n".join(map(checked.problem, found))) from error


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _channel_rule(section: ChannelSection) -> ChannelRule:
    given = dict(section)
    after = given.pop("lasting_after")
    return ChannelRule(**given, lasting_after_ns=None if after is None else _ns(after))


def check_channels(section: str, named: Iterable[str], channels: Sequence[str]) -> None:
    """Raise ConfigError where a table or a limit of `section` names no channel of these."""
    problems = []
    for name in named:
        if name not in channels and not any(fnmatchcase(one, name) for one in channels):
            near = get_close_matches(name, channels, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(channels)}"
            place = f"[{section}.{name}]" if section == "channels" else f"[{section}] {name}"
            problems.append(f"{place}: the model has no channel `{name}`; {hint}")
    if problems:
        raise ConfigError("\n".join(problems))


def _check_least_channels(config: Config, num_channels: int) -> None:
    """Refuse a number of channels that no message would have: every new series would be unassigned."""
    least = config.model.least_channels
    forms = [("[input]", config.input.format), *(("[[inputs]]", one.format) for one in config.inputs)]
    section = "[models]" if isinstance(config.model, ModelsSection) else "model"
    alone = next((one for one in forms if one[1] in _ONE_BY_ONE), None)
    if least > 1 and alone is not None:
        where, form = alone
        raise ConfigError(
            f"[{section}] least_channels: must be 1 with {where} format {form!r}, not {least}:"
            " a message of it may have some of the channels only"
        )
    if least > num_channels:
        raise ConfigError(f"[{section}] least_channels: {least}, but the model has {num_channels} channels")


def _window(section: MaintenanceSection) -> Maintenance:
    if section.start is not None and section.end is not None:
        when: OneOff | Recurring = OneOff(
            _epoch_ns(section.instant(section.start)), _epoch_ns(section.instant(section.end))
        )
    else:
        assert section.time is not None
        assert section.duration is not None
        days = frozenset(WEEKDAYS.index(day) for day in section.weekdays)
        when = Recurring(days, section.time, _ns(section.duration), section.zone)
    return Maintenance(when, section.series, section.name)


def _epoch_ns(when: datetime) -> int:
    return round(when.timestamp() * 1e6) * 1_000


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
