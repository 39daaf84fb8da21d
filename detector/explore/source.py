"""What the explorer shows: a backtest, or a running group whose outputs are archived."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from connectors.kafka.connection import Connection
from connectors.objects.names import is_remote, local_path, without_secrets
from detector.config.cluster import connection_of
from detector.config.load import Config, load_config
from detector.config.models.section import ModelSection
from detector.delivery.messages import Topics
from detector.errors import ConfigError
from detector.explore.storage.place import Place
from detector.explore.store.layout import is_archive

_STORE = "explorer"


@dataclass(frozen=True, slots=True)
class Group:
    """A running group of daemons with one configuration.

    config      their configuration, secrets included
    connection  how to reach the cluster
    topics      the topics that they write
    """

    config: Config
    connection: Connection
    topics: Topics

    @property
    def models(self) -> tuple[ModelSection, ...]:
        """Its model, or each entry of its [[models]]."""
        return self.config.models or (self.config.model,)

    @property
    def name(self) -> str:
        """The consumer group, with its cluster, for people."""
        return f"{self.config.kafka.group_id} at {self.connection.servers}"


@dataclass(frozen=True, slots=True)
class Source:
    """What is shown.

    name      the directory, file or URI that the user named
    place     where the store is
    group     the running group; None: it is a backtest, or an archive of an unknown group
    archives  whether this process may archive the group; if not, another one does
    """

    name: str
    place: Place
    group: Group | None = None
    archives: bool = True

    @property
    def kind(self) -> Literal["backtest", "live"]:
        """Whether it is finished or goes on."""
        return "backtest" if self.group is None and self.archives else "live"

    @property
    def store(self) -> Path:
        """The directory of a store on this machine."""
        return Path(self.place.address)


def missing(group: Group) -> list[dict[str, str]]:
    """Return what a group does not publish: `what` the pages lack, and the `setting` that gives it."""
    output, found = group.config.output, []
    if output.scores == "none":
        found.append({"what": "verdicts", "setting": '[output] scores = "all"'})
    elif output.scores == "anomalous":
        found.append({"what": "rows that are not anomalous", "setting": '[output] scores = "all"'})
    if output.detail != "full" and output.scores != "none":
        what = "values of channels, what was expected, contributions, and page levels"
        found.append({"what": what, "setting": '[output] detail = "full"'})
    return found


def source_of(name: str, place: Place | None = None, archives: bool = True) -> Source:
    """Return what a name means: a file is the configuration of a daemon, an archive is read, else a backtest.

    Args:
        name: path of a file or a directory, or the URI of an archive.
        place: of the store. By default it is `explorer` in the directory of a backtest. Beside FILE.toml it
            is FILE-explorer.
        archives: whether this process may archive a running group.

    Raises:
        ConfigError: the configuration is wrong, or it has no model.
    """
    given = place or Place("")
    given = replace(given, address=given.address if is_remote(given.address) else local_path(given.address))
    found = replace(given, address=name)
    if is_remote(name):
        return Source(without_secrets(name), found, archives=False)
    path = Path(local_path(name))
    if path.is_file():
        config = load_config(path)
        if config.fallback.enabled and not config.models:
            raise ConfigError(
                f"{path}: [fallback]: the explorer shows models, and there is none yet: see the page of the"
                " daemon, or train one and name it in [[models]]"
            )
        group = Group(config, connection_of(config.kafka), Topics.of(config.output.prefix))
        beside = str(path.with_name(f"{path.stem}-{_STORE}"))
        return Source(str(path), replace(given, address=given.address or beside), group, archives)
    if is_archive(path):
        return Source(name, replace(found, address=str(path)), archives=False)
    return Source(str(path), replace(given, address=given.address or str(path / _STORE)))
