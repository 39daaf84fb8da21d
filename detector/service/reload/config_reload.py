"""Reload the configuration between two turns of the loop. What needs a restart is named in the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Set
from dataclasses import replace

from connectors.errors import ConnectorError
from detector import logs
from detector.config.load import Config
from detector.config.types import Section
from detector.errors import DetectorError
from detector.incidents.rules import IncidentRules
from detector.service.reload.model_reload import Running
from detector.service.reload.reload_counts import ReloadCounts

LIVE = frozenset(
    {
        "incidents",
        "channels",
        "maintenance",
        "watchdog",
        "evidence",
        "calendar",
        "log.level",
        "output.scores",
        "output.detail",
    }
)
"""Sections and keys that take effect without a restart."""


class ConfigReloader:
    """Hold the configuration in force. After `ask`, the next turn reads it again."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        apply: Callable[[Config], None],
        counts: ReloadCounts,
        live: Set[str] = LIVE,
    ) -> None:
        """Begin with `config`.

        Args:
            config: the configuration in force.
            read: returns the new one, checked; it may raise DetectorError, ConnectorError or OSError.
            apply: puts a configuration in force.
            counts: counts what was loaded and what was refused.
            live: sections and keys that may change in a running daemon.
        """
        self._config, self._read, self._apply, self._counts = config, read, apply, counts
        self._live = live
        self._asked = threading.Event()

    @property
    def is_asked(self) -> bool:
        """Whether the next turn will read the configuration."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask for a reload; may be called from a signal handler."""
        self._asked.set()

    def on_turn(self) -> None:
        """Reload if asked; called between turns by the loop's thread.

        1. Read and check. A configuration with an error is refused, and the old one stays in force.
        2. Apply the changed keys that may change in a running daemon (`live`).
        3. Log which keys were applied and which need a restart.
        """
        if not self._asked.is_set():
            return
        self._asked.clear()
        try:
            found = self._read()  # 1
        except (DetectorError, ConnectorError, OSError) as error:
            self._counts.add("refused")
            logs.event("configuration refused, the old one stays in force", logging.ERROR, error=str(error))
            return
        changed = changes(self._config, found)
        live = {key for key in changed if key in self._live or key.partition(".")[0] in self._live}
        self._config = merged(self._config, found, live)
        self._apply(self._config)  # 2
        self._counts.add("loaded")
        logs.event(  # 3
            "configuration loaded",
            logging.WARNING if changed - live else logging.INFO,
            applied=",".join(sorted(live)) or "nothing new",
            needs_restart=",".join(sorted(changed - live)) or "nothing",
        )


def changes(old: Config, new: Config) -> set[str]:
    """Return the keys that differ, as "section.key"; of arrays and maps of tables only the section."""
    found = set()
    for name in Config.model_fields:
        ours, theirs = getattr(old, name), getattr(new, name)
        if isinstance(ours, Section):
            keys = type(ours).model_fields
            found |= {f"{name}.{key}" for key in keys if getattr(ours, key) != getattr(theirs, key)}
        elif ours != theirs:
            found.add(name)
    return found


def merged(old: Config, new: Config, keys: set[str]) -> Config:
    """Return the old configuration with these keys of the new one."""
    sections = {}
    for name in {key.partition(".")[0] for key in keys}:
        theirs = getattr(new, name)
        if name in keys:
            sections[name] = theirs
            continue
        update = {
            key.partition(".")[2]: getattr(theirs, key.partition(".")[2])
            for key in keys
            if key.partition(".")[0] == name
        }
        sections[name] = getattr(old, name).model_copy(update=update)
    return old.model_copy(update=sections)


def use_settings(config: Config, running: Running, rules: IncidentRules) -> None:
    """Put the live keys of `config` and these `rules` in force."""
    logs.configure(config.log.format, config.log.level)
    if rules != running.engine.options.rules:
        running.engine.use_rules(rules)
    running.sink.encoder = replace(
        running.sink.encoder, scores=config.output.scores, detail=config.output.detail
    )
