"""Waits for a Kafka cluster, creates and samples topics, and explains the client's errors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, Literal, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.net.compat import KafkaNetClient

from connectors.errors import KafkaError, RightMissingError
from connectors.kafka.connection import (
    Connection,
    ConsumerOptions,
    TopicSpec,
    client_settings,
    creation_settings,
    fetch_settings,
)
from connectors.records import Raw, raw_of
from connectors.retry import Problem, connect, wait_until

logger = logging.getLogger(__name__)

_POLL_SECONDS, _RETRY_SECONDS = 1.0, 0.2
_LOOKS, _LOOK_AGAIN_SECONDS = 3, 0.5
PATIENCE_SECONDS = 180.0

Answer = TypeVar("Answer")

_RIGHTS = {
    errors.TopicAuthorizationFailedError: "topic",
    errors.GroupAuthorizationFailedError: "group",
    errors.TransactionalIdAuthorizationFailedError: "transactional id",
    errors.ClusterAuthorizationFailedError: "cluster",
}

_CODEC_CURE = "; install our extra `compression`: pip install 'streamgauge[compression]'"

_CURES = (
    # Words of OpenSSL and of the Kafka client; the first entry that fits is used.
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

    Only a cluster that does not answer is waited for. Every failed attempt is logged.

    Args:
        connection: the cluster and how to log in.
        topic: the topic that must exist, None if any cluster will do.
        timeout_seconds: when to give up.
        stop: ends the wait early.

    Raises:
        KafkaError: what is missing and how to cure it, after `timeout_seconds`. A missing topic, refused
            credentials or certificates raise at once, since waiting cannot help.
    """
    stop = stop or threading.Event()
    wait_until(lambda seconds: _probe(connection, topic, seconds, stop), timeout_seconds, stop)


def _probe(
    connection: Connection, topic: str | None, timeout_seconds: float, stop: threading.Event
) -> Problem | None:
    """Return what is wrong with the cluster, or None.

    A plain connection comes first, because its error names the server that refused. A broker that has just
    started may not know all topics yet, so a missing topic is looked up several times.

    Raises:
        KafkaError: the cluster answers and has no such topic, or refuses access.
    """
    remedy = (
        f"is the cluster up, and are bootstrap_servers ({connection.servers}) and security_protocol"
        f" ({connection.security_protocol}) right?"
    )
    reasons = [connect(server, timeout_seconds / 2) for server in connection.bootstrap_servers]
    if all(reasons):
        return Problem("; ".join(str(reason) for reason in reasons), remedy)
    complaints: list[Exception] = []
    try:
        with admin_client(connection, timeout_seconds, complaints) as admin:
            if topic is None:
                return None
            for _ in range(_LOOKS):
                if _partitions(admin, topic):
                    return None
                stop.wait(_LOOK_AGAIN_SECONDS)
            raise _no_topic(connection, topic)
    except (errors.KafkaError, OSError) as error:
        for complaint in complaints:
            if cure := remedy_for(one_line(complaint)):
                raise KafkaError(f"{connection.servers}: {cure} ({one_line(complaint)})") from complaint
        why = one_line(complaints[-1] if complaints else error)
        return Problem(
            f"{connection.servers} accepts connections but does not answer as Kafka: {why}", remedy
        )


def _no_topic(connection: Connection, topic: str) -> KafkaError:
    return KafkaError(
        f"topic {topic!r} does not exist at {connection.servers}, or this login may not read it: create it"
        f" with `kafka-topics.sh --bootstrap-server {connection.bootstrap_servers[0]} --create"
        f" --topic {topic} --partitions N`, or change [kafka] topic (--topic)"
    )


def ensure_topics(connection: Connection, specs: Sequence[TopicSpec]) -> None:
    """Create the topics that are missing; leave existing ones as they are.

    Raises:
        KafkaError: a topic is missing and cannot be created.
    """
    names = [spec.name for spec in specs]
    with (
        translated(connection, f"cannot create topics {', '.join(names)}"),
        admin_client(connection) as admin,
    ):
        for spec in specs:
            if not _partitions(admin, spec.name):
                with suppress(errors.TopicAlreadyExistsError):  # another process may be faster
                    admin.create_topics({spec.name: creation_settings(spec)})
                    logger.info("created topic %s", spec.name)
        admin.wait_for_topics(names)


def count_partitions(connection: Connection, topic: str) -> int:
    """Return the number of partitions of a topic, 0 if it does not exist. Raises KafkaError."""
    with translated(connection, f"cannot look up topic {topic}"), admin_client(connection) as admin:
        return _partitions(admin, topic)


def sample(connection: Connection, topic: str, num_messages: int) -> list[Raw]:
    """Return the oldest messages of a topic, without joining a consumer group.

    Raises:
        KafkaError: the topic does not exist or cannot be read.
    """
    with translated(connection, f"cannot read topic {topic}"):
        consumer = KafkaConsumer(**client_settings(connection), **fetch_settings(ConsumerOptions(topic, "")))
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            if not partitions:
                raise _no_topic(connection, topic)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Raw] = []
            while len(found) < num_messages and any(consumer.position(tp) < ends[tp] for tp in partitions):
                polled = consumer.poll(timeout_ms=_POLL_SECONDS * 1000, max_records=num_messages)
                found.extend(map(raw_of, chain.from_iterable(polled.values())))
            return found[:num_messages]
        finally:
            consumer.close(autocommit=False)


class _Watched(KafkaNetClient):  # type: ignore[misc]
    """Keeps the reasons why connections broke, and closes when waiting cannot help.

    The client itself only logs such a reason and tries again.
    """

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
def admin_client(
    connection: Connection, timeout_seconds: float = 30.0, complaints: list[Exception] | None = None
) -> Iterator[KafkaAdminClient]:
    """Open an admin client. If its constructor fails, close the thread and sockets that it leaves behind."""
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
    """Turn the client's errors into KafkaError, with the attempted step and the cluster."""
    try:
        yield
    except (errors.KafkaError, OSError) as error:
        raise refusal(f"{doing} at {connection.servers}", error) from error


def refusal(
    doing: str, error: Exception, right: Literal["read", "write"] = "read", name: str = ""
) -> KafkaError:
    """Return our error for the client's: RightMissingError where the broker refused for want of a right.

    Args:
        doing: the attempted step, and where.
        error: the client's error.
        right: the right that the step needs on a topic; on a group it is "read", elsewhere "write".
        name: the resource, if the client's error does not name it.
    """
    kind = _RIGHTS.get(type(error))
    if kind is None:
        return KafkaError(f"{doing}: {one_line(error)}")
    found = error.args[0] if error.args and kind == "topic" else name
    names = ", ".join(sorted({found} if isinstance(found, str) else map(str, found))) or name
    needed = {"topic": right, "group": "read"}.get(kind, "write")
    resource = f"{kind} {names}".strip()
    return RightMissingError(
        f"{doing}: this login lacks the right to {needed} on {resource} ({type(error).__name__})",
        needed,
        resource,
    )


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Return what `ask` returns. A failure that passes by itself is retried for three minutes.

    Raises the last of such failures after that time, and any other error at once.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except errors.RetriableError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("Kafka did not answer, trying again: %s", one_line(error))
            time.sleep(_RETRY_SECONDS)


def one_line(error: BaseException) -> str:
    """Return the error's text in one line, or its type if it has none; name the package that is missing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text + _CODEC_CURE if "compression codec not found" in text else text


def start_producer(settings: Mapping[str, object]) -> KafkaProducer:
    """Return a producer with these settings.

    Raises the client's KafkaError, also for a compression whose library is missing: the client has no error
    of its own for that.
    """
    try:
        return KafkaProducer(**settings)
    except RuntimeError as error:
        raise errors.UnsupportedCodecError(str(error)) from error


def remedy_for(problem: str) -> str | None:
    """Return what to do about an error of this text, or None if waiting may help."""
    for signs, cure in _CURES:
        if any(sign in problem for sign in signs):
            return cure
    return None


def identity_of(topic_id: object) -> str:
    """Return the broker's id of a topic as text; "" where it has none."""
    text = "" if topic_id is None else str(topic_id)
    return "" if not text.strip("0-") else text
