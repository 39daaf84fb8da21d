"""What the explorer shows: a backtest, or a running group whose outputs are archived."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connectors.kafka.connection import Connection
from detector.config.cluster import connection_of
from detector.config.load import Config, load_config
from detector.delivery.messages import Topics

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
    def name(self) -> str:
        """The consumer group, with its cluster, for people."""
        return f"{self.config.kafka.group_id} at {self.connection.servers}"


@dataclass(frozen=True, slots=True)
class Source:
    """What is shown.

    name   the directory or file that the user named
    store  the directory of the store
    group  the running group; None: it is a backtest
    """

    name: str
    store: Path
    group: Group | None = None

    @property
    def kind(self) -> Literal["backtest", "live"]:
        """Whether it is finished or goes on."""
        return "backtest" if self.group is None else "live"


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


def source_of(name: str, store: str | None = None) -> Source:
    """Return what a name means: a file is the configuration of a daemon, else it is a backtest.

    Args:
        name: path of a file or a directory.
        store: directory of the store. By default it is `explorer` in the directory of a backtest. Beside
            FILE.toml it is FILE-explorer.

    Raises:
        ConfigError: the configuration is wrong.
    """
    path = Path(name)
    if not path.is_file():
        return Source(name, Path(store) if store else path / _STORE)
    config = load_config(path)
    group = Group(config, connection_of(config.kafka), Topics.of(config.output.prefix))
    return Source(name, Path(store) if store else path.with_name(f"{path.stem}-{_STORE}"), group)
