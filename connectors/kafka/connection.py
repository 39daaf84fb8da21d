"""Values that describe a Kafka cluster, consumer, producer and topic, and the client settings they give.

The client itself is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Compression: TypeAlias = Literal["none", "gzip", "lz4", "snappy", "zstd"]

_SECRETS = frozenset({"sasl_password", "ssl_key_password"})


@dataclass(frozen=True, slots=True, repr=False)
class Connection:
    """The address of a cluster and how to log in. Its repr masks the secrets.

    bootstrap_servers   broker addresses host:port; one is enough, several are safer
    client_id           our name in the broker's logs, metrics and quotas
    """

    bootstrap_servers: tuple[str, ...]
    client_id: str = "streamgauge"
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_key_password: str | None = None
    ssl_check_hostname: bool = True

    @property
    def servers(self) -> str:
        """The bootstrap servers, for logs."""
        return ", ".join(self.bootstrap_servers)

    def __repr__(self) -> str:
        shown = []
        for attribute in fields(self):
            value = getattr(self, attribute.name)
            secret = attribute.name in _SECRETS and value is not None
            shown.append(f"{attribute.name}={'***' if secret else repr(value)}")
        return f"Connection({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """The topic and group of a consumer, and how it reads.

    topic                       the input topic; one series stays on one partition when it is keyed by series;
                                empty where `topics` has the topics
    topics                      names and shell patterns of several topics; those that come later join in
    excluded                    topics that no pattern matches
    group_id                    the members of one group share the partitions
    group_instance_id           static membership: a restart within `session_timeout_seconds` keeps its
                                partitions without a rebalance; must differ from member to member
    start                       where a group without committed offsets begins
    max_poll_records            maximum of messages a poll; large polls lower the cost of a message
    max_poll_interval_seconds   a member that does not poll for so long loses its partitions
    awaits_start                an assigned partition is read only after `read_from`
    check_crcs                  verify checksums of fetched batches; off saves about a microsecond a message
    """

    topic: str
    group_id: str
    group_instance_id: str | None = None
    start: Literal["earliest", "latest"] = "earliest"
    max_poll_records: int = 20_000
    max_poll_interval_seconds: float = 300.0
    session_timeout_seconds: float = 45.0
    commit_timeout_seconds: float = 30.0
    fetch_max_bytes: int = 50 << 20
    max_partition_fetch_bytes: int = 8 << 20
    awaits_start: bool = False
    check_crcs: bool = True
    topics: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What is read, for people."""
        return self.topic or ", ".join(self.topics)


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """How messages are produced.

    `delivery_timeout_seconds` bounds the wait for acknowledgements: a longer outage fails the delivery.
    """

    compression: Compression = "none"
    linger_seconds: float = 0.005
    batch_bytes: int = 256 << 10
    max_message_bytes: int = 2 << 20
    delivery_timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to create if it is missing; -1 means the broker's default.

    `settings` are topic settings such as `{"cleanup.policy": "compact"}`.
    """

    name: str
    num_partitions: int = -1
    replication_factor: int = -1
    settings: Mapping[str, str] = field(default_factory=dict)


def client_settings(connection: Connection) -> dict[str, object]:
    """Return the settings of every client."""
    return {
        "bootstrap_servers": list(connection.bootstrap_servers),
        "client_id": connection.client_id,
        "security_protocol": connection.security_protocol,
        "sasl_mechanism": connection.sasl_mechanism,
        "sasl_plain_username": connection.sasl_username,
        "sasl_plain_password": connection.sasl_password,
        "ssl_cafile": connection.ssl_cafile,
        "ssl_certfile": connection.ssl_certfile,
        "ssl_keyfile": connection.ssl_keyfile,
        "ssl_password": connection.ssl_key_password,
        "ssl_check_hostname": connection.ssl_check_hostname,
        "reconnect_backoff_max_ms": 5_000,  # the client's 30 s would delay us after a restart
        "metadata_max_age_ms": 5_000,  # new partitions, and topics recreated, are noticed after at most this
    }


def fetch_settings(options: ConsumerOptions) -> dict[str, object]:
    """Return the settings of a client that reads."""
    return {
        "fetch_max_bytes": options.fetch_max_bytes,
        "max_partition_fetch_bytes": options.max_partition_fetch_bytes,
        "check_crcs": options.check_crcs,
        "isolation_level": "read_committed",  # records of aborted transactions are never read
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


def group_settings(options: ConsumerOptions) -> dict[str, object]:
    """Return the settings of a group member."""
    return {
        "group_id": options.group_id,
        "group_instance_id": options.group_instance_id,
        "auto_offset_reset": options.start,
        "max_poll_records": options.max_poll_records,
        "max_poll_interval_ms": round(options.max_poll_interval_seconds * 1000),
        "session_timeout_ms": round(options.session_timeout_seconds * 1000),
        "heartbeat_interval_ms": round(min(3.0, options.session_timeout_seconds / 10) * 1000),
    }


def producer_settings(options: ProducerOptions) -> dict[str, object]:
    """Return the settings of a producer."""
    timeout_ms = round(options.delivery_timeout_seconds * 1000)
    return {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if options.compression == "none" else options.compression,
        "linger_ms": round(options.linger_seconds * 1000),
        "batch_size": options.batch_bytes,
        "max_request_size": options.max_message_bytes,
        "delivery_timeout_ms": timeout_ms,
        "request_timeout_ms": min(30_000, timeout_ms // 2),  # several attempts within the delivery timeout
        "max_block_ms": timeout_ms,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


def creation_settings(spec: TopicSpec) -> dict[str, object]:
    """Return the settings of a topic to create."""
    return {
        "num_partitions": spec.num_partitions,
        "replication_factor": spec.replication_factor,
        "configs": dict(spec.settings),
    }
