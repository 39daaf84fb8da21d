"""All notifiers of a configuration: built, checked, started and stopped together."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from connectors.http_post import Poster
from connectors.kafka.connection import Connection, ConsumerOptions
from connectors.kafka.group_reader import GroupReader
from detector import logs
from detector.config.error_location import heading
from detector.config.load import Config
from detector.config.notify_schema import NotifySection
from detector.delivery.messages import Topics
from detector.errors import ConfigError
from detector.incidents.rules import FoldRules
from detector.notify.notifier import AlertReader, Notifier
from detector.notify.receivers import Receiver, poster_of, receiver_of
from detector.notify.stats import NotifierStats
from detector.notify.together import Together

_GRACE_SECONDS = 5.0
_READ_BACK = 100_000
_FETCH_BYTES = 4 << 20


class Notifiers:
    """All notifiers of a daemon. Promise: no failure of a notifier reaches the loop."""

    def __init__(self, config: Config, connect: Callable[[str, int], AlertReader]) -> None:
        """Build one notifier per [[notify]] table; nothing runs yet.

        Args:
            config: The daemon's configuration.
            connect: Makes the reader of alerts, from the name of a notifier and the epoch milliseconds now.

        Raises:
            ConfigError: A template, URL or file cannot be used.
        """
        now_ms = time.time_ns() // 1_000_000
        self._notifiers = [
            Notifier(section, receiver, poster, partial(connect, section.name, now_ms))
            for section, receiver, poster in parts_of(config)
        ]

    def start(self) -> None:
        """Start every notifier."""
        for notifier in self._notifiers:
            notifier.start()

    def stats(self) -> list[NotifierStats]:
        """Return the counts of every notifier, for a scrape."""
        return [notifier.stats for notifier in self._notifiers]

    def close(self) -> None:
        """Stop all notifiers within 5 s. A successor delivers what is left."""
        for notifier in self._notifiers:
            notifier.stop()
        deadline = time.monotonic() + _GRACE_SECONDS
        for notifier in self._notifiers:
            if not notifier.join(max(0.0, deadline - time.monotonic())):
                logs.event("notifier still in a request at shutdown", notifier=notifier.stats.name)


def parts_of(config: Config) -> list[tuple[NotifySection, Receiver, Poster]]:
    """Return the table, the receiver and the poster of each [[notify]].

    Raises:
        ConfigError: A template, URL or file cannot be used. The error names the table.
    """
    parts, given = [], config.incidents
    rules = FoldRules(given.fold_series, round(given.fold_window * 1e9))
    for number, section in enumerate(config.notify, 1):
        try:
            parts.append((section, _receiver_of(section, rules), poster_of(section)))
        except ConfigError as error:
            raise ConfigError(f"{heading(('notify', number - 1))} {section.name}: {error}") from None
    return parts


def _receiver_of(section: NotifySection, rules: FoldRules) -> Receiver:
    """Return the receiver of a table. Raises ConfigError."""
    if not section.fold:
        return receiver_of(section)
    if rules.num_series == 0:
        raise ConfigError("fold: set [incidents] fold_series to the number of series that are together")
    return Together(receiver_of(section), rules)


def reader_of(config: Config, connection: Connection, name: str, since_ms: int) -> GroupReader:
    """Join the notifier's own consumer group on the alerts topic.

    Args:
        config: The daemon's configuration.
        connection: How to reach Kafka.
        name: Name of the notifier, part of the group's name.
        since_ms: Epoch milliseconds. For a group without committed positions, older changes are history.

    Raises:
        KafkaError: Kafka cannot be reached or refuses.
    """
    kafka = config.kafka
    options = ConsumerOptions(
        Topics.of(config.output.prefix).alerts,
        f"{kafka.group_id}-notify-{name}",
        kafka.group_instance_id,
        session_timeout_seconds=kafka.session_timeout,
        max_poll_interval_seconds=kafka.max_poll_interval,
        fetch_max_bytes=_FETCH_BYTES,
        max_partition_fetch_bytes=_FETCH_BYTES,
        check_crcs=kafka.check_crcs,
    )
    return GroupReader(connection, options, _READ_BACK, since_ms)
