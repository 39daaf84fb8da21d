"""The Kafka cluster itself: waiting for it, its topics, a look into one.

With `connectors.kafka.source` the only importer of the Kafka client.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors
from kafka.net.compat import KafkaNetClient

from connectors import retry as waiting
from connectors.errors import KafkaError
from connectors.kafka.connection import (
    Connection,
    ConsumerOptions,
    TopicSpec,
    client_settings,
    creation_settings,
    fetch_settings,
)

logger = logging.getLogger(__name__)

_POLL_SECONDS, _RETRY_SECONDS = 1.0, 0.2
PATIENCE_SECONDS = 180.0

Answer = TypeVar("Answer")

_CURES = (
    # As OpenSSL and the Kafka client say it, the first that fits.
    (
        ("Hostname mismatch", "IP address mismatch"),
        "its certificate is for another name: check [kafka] bootstrap_servers and what brokers advertise",
    ),
    (
        ("certificate has expired", "certificate is not yet valid"),
        "its certificate is not valid now: renew it, or set this machine's clock",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "its certificate is not signed by an authority that we trust: check [kafka] ssl_cafile",
    ),
    (
        ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_", "ALERT_UNKNOWN_CA", "ALERT_ACCESS_DENIED"),
        "it does not accept our certificate: check [kafka] ssl_certfile and ssl_keyfile",
    ),
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"),
        "it does not speak TLS there: check the port in [kafka] bootstrap_servers, and security_protocol",
    ),
    (
        ("UnsupportedSaslMechanism",),
        "it does not offer this way to log in: check [kafka] sasl_mechanism",
    ),
    (
        ("SaslAuthenticationFailed",),
        "it refused our credentials: check [kafka] sasl_username and the password, sasl_password_file",
    ),
)


def wait_for_broker(
    connection: Connection,
    topic: str | None = None,
    *,
    timeout_seconds: float = 60.0,
    stop: threading.Event | None = None,
) -> None:
    """Return when the cluster answers, and has `topic` if one is given; or when `stop` is set.

    Raises KafkaError after `timeout_seconds`, saying what is missing, and at once where waiting cannot
    help (refused credentials or certificates). Every failed attempt is logged.
    """
    waiting.wait_until(
        lambda seconds: _probe(connection, topic, seconds),
        timeout_seconds,
        f"is the cluster up, and are bootstrap_servers ({connection.servers}) and security_protocol"
        f" ({connection.security_protocol}) right?",
        stop or threading.Event(),
    )


def _probe(connection: Connection, topic: str | None, timeout_seconds: float) -> str | None:
    """What is wrong with the cluster, or None. A plain connect first: it can say who refused."""
    reasons = [waiting.connect(server, timeout_seconds / 2) for server in connection.bootstrap_servers]
    if all(reasons):
        return "; ".join(str(reason) for reason in reasons)
    complaints: list[Exception] = []
    try:
        with _admin(connection, timeout_seconds, complaints) as admin:
            if topic is None or _partitions(admin, topic):
                return None
            return f"{connection.servers} has no topic {topic!r}"
    except (errors.KafkaError, OSError) as error:
        for complaint in complaints:
            if cure := remedy_for(one_line(complaint)):
                raise KafkaError(f"{connection.servers}: {cure} ({one_line(complaint)})") from complaint
        why = one_line(complaints[-1] if complaints else error)
        return f"{connection.servers} accepts connections but does not answer as Kafka: {why}"


def ensure_topics(connection: Connection, specs: Sequence[TopicSpec]) -> None:
    """Create those topics that are missing; what exists stays as it is.

    Raises KafkaError where a topic is missing and cannot be created.
    """
    names = [spec.name for spec in specs]
    with translated(connection, f"cannot create topics {', '.join(names)}"), _admin(connection) as admin:
        for spec in specs:
            if not _partitions(admin, spec.name):
                with suppress(errors.TopicAlreadyExistsError):  # another process may be faster
                    admin.create_topics({spec.name: creation_settings(spec)})
                    logger.info("created topic %s", spec.name)
        admin.wait_for_topics(names)


def count_partitions(connection: Connection, topic: str) -> int:
    """How many partitions a topic has, 0 where there is no such topic."""
    with translated(connection, f"cannot look up topic {topic}"), _admin(connection) as admin:
        return _partitions(admin, topic)


def sample(connection: Connection, topic: str, num_messages: int) -> list[bytes | None]:
    """The values of the oldest messages of a topic, up to `num_messages`, outside any consumer group."""
    with translated(connection, f"cannot read topic {topic}"):
        consumer = KafkaConsumer(**client_settings(connection), **fetch_settings(ConsumerOptions(topic, "")))
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            if not partitions:
                raise KafkaError(f"{connection.servers} has no topic {topic!r}")
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            values: list[bytes | None] = []
            while len(values) < num_messages and any(consumer.position(tp) < ends[tp] for tp in partitions):
                polled = consumer.poll(timeout_ms=_POLL_SECONDS * 1000, max_records=num_messages)
                values.extend(record.value for record in chain.from_iterable(polled.values()))
            return values[:num_messages]
        finally:
            consumer.close(autocommit=False)


class _Watched(KafkaNetClient):  # type: ignore[misc]
    """Keeps why its connections broke, which the client itself tells to its log alone, and gives up
    where waiting cannot help, which the client takes for a reason to try again."""

    def __init__(self, complaints: list[Exception], **settings: Any) -> None:
        super().__init__(**settings)
        self._complaints = complaints
        connect = self._manager.get_connection

        def watched(*args: Any, **options: Any) -> Any:
            made = connect(*args, **options)
            made.close_future.add_errback(self._complain)
            return made

        self._manager.get_connection = watched

    def _complain(self, error: Exception) -> None:
        self._complaints.append(error)
        if remedy_for(one_line(error)):
            self._manager.close()


@contextmanager
def _admin(
    connection: Connection, timeout_seconds: float = 30.0, complaints: list[Exception] | None = None
) -> Iterator[KafkaAdminClient]:
    """An admin client. Its constructor, when it fails, leaves a thread and sockets behind: they are
    closed here."""
    made: list[_Watched] = []

    def make(**settings: Any) -> _Watched:
        made.append(_Watched([] if complaints is None else complaints, **settings))
        return made[-1]

    try:
        patience = {"bootstrap_timeout_ms": timeout_seconds * 1000, "reconnect_backoff_max_ms": 500}
        yield KafkaAdminClient(**(client_settings(connection) | patience), kafka_client=make)
    finally:
        for client in made:
            client.close()


def _partitions(admin: KafkaAdminClient, topic: str) -> int:
    found = [t for t in admin.describe_topics([topic]) if t["name"] == topic and not t["error_code"]]
    return len(found[0]["partitions"]) if found else 0


@contextmanager
def translated(connection: Connection, doing: str) -> Iterator[None]:
    """The client's errors as ours, with what was tried and where."""
    try:
        yield
    except (errors.KafkaError, OSError) as error:
        raise KafkaError(f"{doing} at {connection.servers}: {one_line(error)}") from error


def patiently(ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns once it can: what passes by itself, as a broker that is away, is tried again for
    three minutes. Raises what it raised last, and anything else at once."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except errors.RetriableError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("Kafka did not answer, trying on: %s", one_line(error))
            time.sleep(_RETRY_SECONDS)


def one_line(error: BaseException) -> str:
    """The error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def remedy_for(problem: str) -> str | None:
    """What to do about the problem in these words, or None where waiting may help."""
    for signs, cure in _CURES:
        if any(sign in problem for sign in signs):
            return cure
    return None
