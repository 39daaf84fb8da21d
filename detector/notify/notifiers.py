"""The notifiers that a configuration asks for: made, checked, started, stopped together."""

from __future__ import annotations

import time
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
from detector.notify.notifier import Notifier
from detector.notify.receivers import Sender, poster_of, sender_of
from detector.notify.stats import NotifierStats

_GRACE_SECONDS = 5.0
_READ_BACK = 100_000
_FETCH_BYTES = 4 << 20


class Notifiers:
    """All notifiers of a daemon. Nothing that happens to them reaches the loop."""

    def __init__(self, config: Config, connection: Connection) -> None:
        """Raises ConfigError for a template, URL or file that cannot be used."""
        now_ms = time.time_ns() // 1_000_000
        self._notifiers = [
            Notifier(section, sender, poster, partial(reader_of, config, connection, section.name, now_ms))
            for section, sender, poster in parts_of(config)
        ]

    def start(self) -> None:
        for notifier in self._notifiers:
            notifier.start()

    def stats(self) -> list[NotifierStats]:
        """For a scrape."""
        return [notifier.stats for notifier in self._notifiers]

    def close(self) -> None:
        """Stop them, within a grace time: what is not delivered by then is told by a successor."""
        for notifier in self._notifiers:
            notifier.stop()
        deadline = time.monotonic() + _GRACE_SECONDS
        for notifier in self._notifiers:
            if not notifier.join(max(0.0, deadline - time.monotonic())):
                logs.event("notifier left behind in a request", notifier=notifier.stats.name)


def parts_of(config: Config) -> list[tuple[NotifySection, Sender, Poster]]:
    """What each [[notify]] asks for. Raises ConfigError that names the table."""
    made = []
    for number, section in enumerate(config.notify, 1):
        try:
            made.append((section, sender_of(section), poster_of(section)))
        except ConfigError as error:
            raise ConfigError(f"{heading(('notify', number - 1))} {section.name}: {error}") from None
    return made


def reader_of(config: Config, connection: Connection, name: str, since_ms: int) -> GroupReader:
    """A member of the notifier's own group on the alerts topic; of a new group what is older than `since_ms`
    is the past. Raises KafkaError."""
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
