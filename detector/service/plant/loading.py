"""Load the models of [[models]] and make the group of their engines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from detector.artifact.registry import open_named
from detector.config.engine_options import engine_options
from detector.config.load import Config
from detector.config.models.budget import with_budget
from detector.config.models.entries import check_tables, config_of
from detector.config.models.section import ModelsSection
from detector.engine.engine import Engine
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member
from detector.errors import ArtifactError

_FEW = 8
"""More models than this score with one thread each, unless [service] threads says otherwise."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One entry of [[models]], and the member of the group that was made of it."""

    entry: ModelsSection
    member: Member


def load_model(config: Config, entry: ModelsSection) -> Loaded:
    """Load the model of an entry.

    Raises:
        ArtifactError: it cannot be loaded; the message names the entry.
        ConfigError: a rule of the entry does not fit its channels.
    """
    try:
        artifact = with_budget(open_named(entry.path, entry.name), entry)
    except ArtifactError as error:
        raise ArtifactError(f"[[models]] path: {error}") from error
    channels = artifact.spec.channel_names
    own = config_of(config, entry, channels)
    options = engine_options(own, channels)
    if len(config.models) > _FEW and config.service.threads is None:
        options = replace(options, threads=1)
    member = Member(Engine(artifact, options), own.model.own_series, entry.least_channels, entry.topics)
    return Loaded(entry, member)


def load_models(config: Config) -> tuple[Loaded, ...]:
    """Load all models, in the order of the configuration.

    Raises:
        ArtifactError, ConfigError: as `load_model`; or a table names a channel that no model has.
    """
    found = tuple(load_model(config, entry) for entry in config.models)
    if not config.fallback.enabled:  # else a table may be of a channel that is to come
        check_tables(config, group_of(found).columns.names)
    return found


def group_of(loaded: tuple[Loaded, ...]) -> EngineGroup:
    """Return the group of these models. Raises DetectorError where two have one name."""
    return EngineGroup([one.member for one in loaded])
