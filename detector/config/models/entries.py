"""The configuration of each model of [[models]], as if it had a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from connectors.objects.names import below, is_remote, local_path, name_of, without_secrets
from detector.config.engine_options import check_channels
from detector.config.input.section import form_of
from detector.config.load import Config, load_config
from detector.config.models.labels import patterns_of
from detector.config.models.section import ModelsSection
from detector.errors import ConfigError

MODELS_EXAMPLE = """#[[models]]  # instead of [model]: several models, each for its series (docs/plant.md)
#path = "models/pump"
#series = ["pump-*"]  # and topics = ["pumps"], where [kafka] has several
#least_channels = 2
#[[models]]
#path = "models/press"
#series = ["press-*"]"""


def config_of(config: Config, entry: ModelsSection, channels: Sequence[str] | None = None) -> Config:
    """Return the configuration of one model of [[models]].

    It has the keys of [incidents] that the entry changes, and the tables of those channels that the model
    has. Its labels become patterns of series.

    Args:
        config: the whole configuration.
        entry: one of its [[models]].
        channels: the channels of the model; None: the tables of all channels stay.
    """
    if entry.labels:
        patterns = patterns_of(entry.labels, form_of(config.input).series)
        entry = entry.model_copy(update={"labels": {}, "series": patterns})
    update = {"model": entry, "models": (), "incidents": entry.rules(config.incidents)}
    if channels is not None:
        limits = {name: one for name, one in config.drift.limits.items() if _is_of(name, channels)}
        update["drift"] = config.drift.model_copy(update={"limits": limits})
        update["channels"] = {name: one for name, one in config.channels.items() if _is_of(name, channels)}
    return config.model_copy(update=update)


def check_tables(config: Config, channels: Sequence[str]) -> None:
    """Raise ConfigError where a table names a channel that none of the models has; `channels` are of all."""
    check_channels("channels", config.channels, channels)
    check_channels("drift.limits", config.drift.limits, channels)


def load_for(path: Path, location: str, channels: Sequence[str] | None = None) -> Config:
    """Read the configuration of one model: the whole of it with [model], else that of its [[models]].

    Args:
        path: the TOML file of the daemon.
        location: the model: an entry of a registry, or a version of it.
        channels: the channels of the model; None: the tables of all channels stay.

    Raises:
        ConfigError: a value is wrong, or no [[models]] has this path.
    """
    config = load_config(path)
    if not config.models:
        return config
    for entry in config.models:
        if _is_at(entry.path, location):
            return config_of(config, entry, channels)
    known = ", ".join(without_secrets(entry.path) for entry in config.models)
    raise ConfigError(f"{path}: no [[models]] has the path {without_secrets(location)!r}; there are: {known}")


def has_several_models(path: str | None) -> bool:
    """Return whether a configuration has [[models]]; None stands for no configuration. Raises ConfigError."""
    return path is not None and bool(load_config(Path(path)).models)


def places_of(config: Config) -> tuple[str, ...]:
    """Return where the model is, or where those of [[models]] are; nothing where a fallback judges alone."""
    return tuple(one.path for one in config.models or (config.model,) if one.path)


def one_model(path: Path, config: Config, what: str) -> Config:
    """Return the configuration, which must have one model for what is to be done. Raises ConfigError."""
    if config.models or not config.model.path:
        section = "[[models]]" if config.models else "[fallback]"
        raise ConfigError(f"{path}: {section}: {what} works with one model; use a configuration with [model]")
    return config


def _is_of(name: str, channels: Sequence[str]) -> bool:
    return name in channels or any(fnmatchcase(one, name) for one in channels)


def _is_at(entry: str, location: str) -> bool:
    """Return whether a location is an entry, or a version of it. Credentials in a URI do not matter."""
    if is_remote(entry) or is_remote(location):
        place, wanted = _plain(entry), _plain(location)
        return wanted in (place, below(place, name_of(wanted)))
    path = Path(local_path(location)).resolve()
    return Path(local_path(entry)).resolve() in (path, path.parent)


def _plain(uri: str) -> str:
    path, mark, options = without_secrets(uri).partition("?")
    return f"{path.rstrip('/')}{mark}{options}"
