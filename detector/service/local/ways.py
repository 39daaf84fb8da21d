"""The daemon's ways to the outside world without Kafka: standard input, files or MQTT in; the same out.

source      a feed of lines or messages, numbered by the local store (`connectors.local.source`)
state       the local store, as `detector.delivery.recovery` reads and writes the state topic
delivery    writes the outputs, then commits state, position and lengths of files in one transaction
notifiers   read the alerts of the store; decisions of people need Kafka
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.files.feed import FileFeed
from connectors.files.outputs import OutputFiles, StandardOutput
from connectors.files.pipe import PipeFeed
from connectors.kafka.delivery import Watch
from connectors.local.delivery import LocalDelivery, Outputs
from connectors.local.source import Feed, LocalSource, SourceOptions
from connectors.local.store import LocalStore, Step
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch
from detector.config.load import Config
from detector.delivery.deleted_input import Deletions
from detector.delivery.guarantee import ChosenGuarantee
from detector.delivery.messages import Topics
from detector.delivery.recovery import Recovery
from detector.incidents.decision import Decision
from detector.notify.local_reader import LocalReader
from detector.notify.notifiers import Notifiers
from detector.service.clients import Clients, codec_of

if TYPE_CHECKING:
    from connectors.mqtt.client import MqttClient

_ONCE_SAVED = 1
"""Messages that come once: each commit saves every series that they changed, so that none is replayed."""

_NOTIFIER_SECONDS, _PAUSE_SECONDS = 30.0, 0.1


class _Nothing:
    """Topics that need no care, and decisions that nobody can make: those of people need Kafka."""

    is_readable = True

    def prepare(self, batch: Batch) -> None:
        """Do nothing: files and topics of MQTT need no room."""

    def has_new_state_topic(self) -> bool:
        """Return False: the store is locked, so that nobody deletes it."""
        return False

    def take(self) -> tuple[int, Sequence[tuple[int, Decision]]]:
        """Return none."""
        return 0, ()


@dataclass(frozen=True, slots=True)
class _Ways:
    """What is particular to a kind of source.

    feed      gives the messages
    outputs   takes the results
    shown     the source, for the log
    """

    feed: Feed
    outputs: Outputs
    shown: str


def open_local(
    config: Config, channels: tuple[str, ...], stop: threading.Event, resources: ExitStack
) -> Clients | None:
    """Open everything that the daemon needs without Kafka; None if `stop` came before the broker of MQTT.

    Raises:
        ConfigError, ConnectorError: with the remedy.
    """
    state = config.source.state
    store = resources.enter_context(LocalStore(None if state is None else Path(state), _owner(config)))
    notifiers = Notifiers(config, lambda name, since_ms: LocalReader(store, name))
    ways = _ways(config, store, stop, resources)
    if ways is None:
        return None
    source = LocalSource(ways.feed, store, codec_of(config, channels), _options(config, store))
    names = Topics.of(config.output.prefix)
    resources.callback(notifiers.close)
    if source.ends:
        resources.callback(partial(_wait_for_notifiers, config, store, stop))
    resources.callback(source.close)
    store.forget_notifiers([section.name for section in config.notify])
    notifiers.start()
    delivery = LocalDelivery(ways.outputs, store, source, names.alerts if config.notify else None)
    nothing = _Nothing()
    return Clients(
        source,
        notifiers,
        nothing,
        nothing,
        partial(_recovery, config, store),
        store.read_state,
        _always(_guarantee(config, delivery, ways.outputs)),
        {"source": ways.shown, "outputs": _shown_outputs(config), "state": state or "none"},
        lambda: source.has_ended,
    )


def _always(chosen: ChosenGuarantee) -> Callable[[int, Watch], ChosenGuarantee]:
    return lambda port, watch: chosen


def _owner(config: Config) -> str:
    """Return what the offsets of the store count: another input needs another store."""
    if config.source.kind == "mqtt":
        host, port = config.mqtt.address
        return f"mqtt {config.mqtt.client_id}@{host}:{port}"
    return config.source.kind


def _options(config: Config, store: LocalStore) -> SourceOptions:
    """Return how the source reads. A kept state is continued, so that the end of input closes no row."""
    is_live = config.source.kind != "files" or config.source.follow
    return SourceOptions(
        config.source.kind,
        config.service.max_poll_records,
        awaits_start=_is_saved(config, store),
        has_clock=is_live,
        ends=not store.is_kept,
    )


def _is_saved(config: Config, store: LocalStore) -> bool:
    return store.is_kept and config.recovery.max_replay_rows > 0


def _ways(config: Config, store: LocalStore, stop: threading.Event, resources: ExitStack) -> _Ways | None:
    """Open the source and the outputs; one client of MQTT serves both. None if `stop` came first."""
    client = None
    if "mqtt" in (config.source.kind, config.output.to):
        from detector.service.local.mqtt_client import connected

        client = connected(config.mqtt, config.source.topics, stop)
        resources.callback(client.close)
        if stop.is_set():
            return None
    outputs = _outputs(config, store, client)
    if client is not None and config.source.kind == "mqtt":
        from connectors.mqtt.feed import MqttFeed

        return _Ways(MqttFeed(client), outputs, f"{', '.join(config.source.topics)} at {client.shown}")
    if config.source.kind == "stdin":
        return _Ways(PipeFeed(), outputs, "standard input")
    path = config.source.path or ""
    kept = 2 * (config.recovery.max_replay_rows + config.service.max_poll_records)
    feed = FileFeed(path, config.source.follow, store.segments(), kept, store.is_kept)
    return _Ways(feed, outputs, path)


def _outputs(config: Config, store: LocalStore, client: MqttClient | None) -> Outputs:
    """Return topics of MQTT, files, or standard output."""
    if client is not None and config.output.to == "mqtt":
        from connectors.mqtt.outputs import MqttOutputs

        return MqttOutputs(client)
    if config.output.directory is None:
        return StandardOutput()
    lengths = store.lengths

    return OutputFiles(
        Path(config.output.directory),
        lengths,
        lambda path, length: store.commit(Step(lengths={path: length})),
    )


def _recovery(config: Config, store: LocalStore, deletions: Deletions) -> Recovery | None:
    """Return what saves the state in the store; None where no state is kept."""
    if not _is_saved(config, store):
        return None
    kind, numbers = config.source.kind, PartitionNumbers(config.source.kind)
    num = config.recovery.max_replay_rows if kind == "files" else _ONCE_SAVED
    return Recovery(store.read_state, Topics.of(config.output.prefix).state, numbers, num, deletions)


def _guarantee(config: Config, delivery: LocalDelivery, outputs: Outputs) -> ChosenGuarantee:
    """Return the promise of this source, state and output (docs/sources.md has the table)."""
    if config.source.kind == "stdin":
        mode, reason = "at_most_once", "a pipe forgets what was read"
    elif config.commits_outputs:
        mode, reason = "exactly_once", "state, position and lengths of output files are committed together"
    else:
        mode, reason = "at_least_once", "results are out before the position is committed"
    return ChosenGuarantee(mode, reason, delivery, outputs)


def _wait_for_notifiers(config: Config, store: LocalStore, stop: threading.Event) -> None:
    """Wait a while until the notifiers are done: no restart would deliver what is left in memory."""
    deadline = time.monotonic() + _NOTIFIER_SECONDS
    names = [section.name for section in config.notify]
    while any(store.notified(name) < store.next_alert() for name in names):
        if time.monotonic() > deadline or stop.wait(_PAUSE_SECONDS):
            return


def _shown_outputs(config: Config) -> str:
    if config.output.to == "mqtt":
        return f"{config.output.prefix}/# at {config.mqtt.address[0]}:{config.mqtt.address[1]}"
    if config.output.directory is not None:
        return f"{config.output.directory}/{config.output.prefix}.*.jsonl"
    return "standard output"
