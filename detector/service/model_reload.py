"""Reload: another model or other settings, between two transactions, without losing a row.

Everything that takes time was done beside the loop (`detector.service.model_watcher`). Between two turns, when nothing is
being replayed, the engine becomes the new one: every series goes on with its open rows, with its window and
threshold where the layout is the same, else it warms up; open incidents stay open. All series are saved with
the next batch, in one transaction, so that a successor starts from what the old model left and not from what
the new one would have made of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from connectors.errors import ConnectorError
from connectors.kafka.source import KafkaSource
from connectors.records import Batch, Readings
from connectors.wide_json.decoder import JsonWideCodec
from detector import logs
from detector.config.load import Config
from detector.config.types import Section
from detector.delivery.recovery import Recovery
from detector.delivery.sink import MessageSink
from detector.engine.engine import Engine, StepResult
from detector.errors import DetectorError
from detector.incidents.rules import IncidentRules
from detector.service.model_watcher import ModelWatcher

LIVE = frozenset(
    {"incidents", "channels", "maintenance", "watchdog", "log.level", "output.scores", "output.detail"}
)
"""Sections and keys that take effect without a restart."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A new model, ready to be used."""

    engine: Engine
    codec: JsonWideCodec


@dataclass(frozen=True, slots=True)
class Running:
    """What judges the stream; `announce` is told what the old model says last."""

    engine: Engine
    source: KafkaSource
    sink: MessageSink
    recovery: Recovery | None
    announce: Callable[[StepResult], None]


class Reloader:
    """Called between turns by the loop's thread; `ask` may be called from a signal handler."""

    def __init__(self, running: Running, watch: ModelWatcher[Candidate]) -> None:
        self._running, self._watch = running, watch
        self._next: Candidate | None = None
        self.loaded = self._refused = 0

    @property
    def counts(self) -> dict[str, int]:
        """Outcome -> how often, for the metrics."""
        return {"loaded": self.loaded, "refused": self._watch.refused + self._refused}

    def turned(self) -> bool:
        """Take up what is ready, if this is a moment for it; else at a later turn. Whether it was."""
        self._next = self._watch.take() or self._next
        is_replaying = self._running.recovery is not None and self._running.recovery.is_replaying
        if self._next is None or is_replaying or self._running.source.has_lost:
            return False
        candidate = self._next
        if not self._takes_our_rules(candidate):
            self._next = None
            return False
        is_same = candidate.engine.origin.layout == self._running.engine.origin.layout
        if not (is_same or self._finish()):
            return False
        self._next = None
        self._use(candidate, is_same)
        return True

    def _finish(self) -> bool:
        """Let the old model say its last of rows that wait for their final verdict, which the new one cannot
        go on with. False: that was not committed, and the rows wait again."""
        running = self._running
        said = running.engine.finish_waiting()
        if len(said.verdicts) == 0:
            return True
        running.sink.write(said, Batch(Readings.empty(len(running.engine.artifact.spec.channels))))
        running.sink.commit(None)
        running.announce(said)
        return not running.source.has_lost

    def _takes_our_rules(self, candidate: Candidate) -> bool:
        """Whether it knows the channels of the rules: they may have been read again since it was made."""
        rules = self._running.engine.options.rules
        try:
            if candidate.engine.options.rules != rules:
                candidate.engine.use_rules(rules)
        except ValueError as error:
            self._refused += 1
            logs.event("model refused, going on with the old one", logging.ERROR, error=str(error))
            return False
        return True

    def _use(self, candidate: Candidate, keeps_windows: bool) -> None:
        running = self._running
        before = running.engine.artifact.version
        running.engine.take_over(candidate.engine)
        artifact = running.engine.artifact
        running.source.use_codec(candidate.codec)
        running.sink.encoder = replace(
            running.sink.encoder, version=artifact.version, channels=artifact.spec.channel_names
        )
        self.loaded += 1
        logs.event(
            "model loaded",
            model=artifact.spec.name,
            version=artifact.version,
            before=before,
            series=len(running.engine.latest.names),
            windows="kept" if keeps_windows else "warming up: other windows or channels",
        )


class Settings:
    """The configuration in force; `ask` makes the next turn read it again."""

    def __init__(self, config: Config, read: Callable[[], Config], apply: Callable[[Config], None]) -> None:
        self._config, self._read, self._apply = config, read, apply
        self._asked = threading.Event()
        self.counts = {"loaded": 0, "refused": 0}

    @property
    def is_asked(self) -> bool:
        """Whether the next turn is to read it again."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Read it again; may be called from a signal handler."""
        self._asked.set()

    def turned(self) -> None:
        """Called between turns by the loop's thread."""
        if not self._asked.is_set():
            return
        self._asked.clear()
        try:
            found = self._read()
        except (DetectorError, ConnectorError, OSError) as error:
            self.counts["refused"] += 1
            logs.event("configuration refused, going on with the old one", logging.ERROR, error=str(error))
            return
        changed = changes(self._config, found)
        live = {key for key in changed if key in LIVE or key.partition(".")[0] in LIVE}
        self._config = merged(self._config, found, live)
        self._apply(self._config)
        self.counts["loaded"] += 1
        logs.event(
            "configuration loaded",
            logging.WARNING if changed - live else logging.INFO,
            applied=",".join(sorted(live)) or "nothing new",
            needs_restart=",".join(sorted(changed - live)) or "nothing",
        )


def changes(old: Config, new: Config) -> set[str]:
    """The keys, section.key, in which the two differ; of tables of tables their name alone."""
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
    """The old configuration with these keys of the new one."""
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
    """Put in force what can be changed in a running daemon."""
    logs.configure(config.log.format, config.log.level)
    if rules != running.engine.options.rules:
        running.engine.use_rules(rules)
    running.sink.encoder = replace(
        running.sink.encoder, scores=config.output.scores, detail=config.output.detail
    )
