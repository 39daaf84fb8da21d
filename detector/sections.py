"""What the daemon can be told: a class a section of the configuration, a field a key.

`detector.config` reads them from TOML and the environment.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from detector.incident_sections import ChannelSection, IncidentsSection, MaintenanceSection, WatchdogSection
from detector.section import Duration, Section


class ModelSection(Section):
    """Which model judges the stream."""

    path: str = Field(description="registry entry (models/pump), one version of it, or the URI of either")
    reload_every: Duration = Field(
        default=5.0, description="how often to look for a new version; 0: only on SIGHUP"
    )


DURATIONS = frozenset(
    {
        *("reload_every", "startup_timeout", "max_future", "lateness", "stale_after"),
        *("transaction_timeout", "session_timeout", "max_poll_interval"),
        *("min_duration", "cooldown", "flap_window", "fold_window", "series_after", "stream_after"),
    }
)


class KafkaSection(Section):
    """Where readings come from and verdicts go to."""

    bootstrap_servers: tuple[str, ...] = Field(
        default=("localhost:9092",), min_length=1, description="some brokers"
    )
    topic: str = Field(description="topic of the readings, keyed by series")
    group_id: str = Field(
        default="streamgauge", description="consumer group; its members share the partitions"
    )
    group_instance_id: str | None = Field(
        default=None, description="static membership; unique to each member"
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        default="earliest", description="where a group without committed offsets begins"
    )
    session_timeout: Duration = Field(
        default=45.0, gt=0, description="silence after which the group gives our partitions to others"
    )
    max_poll_interval: Duration = Field(
        default=300.0, gt=0, description="the same for a member that lives but does not get on"
    )
    startup_timeout: Duration = Field(
        default=60.0, description="how long to wait for the cluster and the topic"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_KAFKA__SASL_PASSWORD, or use sasl_password_file"
    )
    sasl_password_file: str | None = Field(default=None, description="file that holds the password")
    ssl_cafile: str | None = Field(default=None, description="who signed the brokers' certificates")
    ssl_certfile: str | None = Field(default=None, description="our certificate, where brokers ask for one")
    ssl_keyfile: str | None = Field(default=None, description="its key; default: in ssl_certfile")
    ssl_key_password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_KAFKA__SSL_KEY_PASSWORD, or use ssl_key_password_file"
    )
    ssl_key_password_file: str | None = Field(default=None, description="file that holds the key's password")
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        default="none", description="of outputs"
    )
    check_crcs: bool = Field(default=True, description="verify checksums of what is read")

    @model_validator(mode="after")
    def _complete(self) -> KafkaSection:
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("ssl_keyfile needs ssl_certfile")
        if self.security_protocol.startswith("SASL"):
            password = self.sasl_password or self.sasl_password_file
            if not (self.sasl_mechanism and self.sasl_username and password):
                raise ValueError(
                    f"security_protocol {self.security_protocol} needs sasl_mechanism, sasl_username and a"
                    " password, as STREAMGAUGE_KAFKA__SASL_PASSWORD or in the file sasl_password_file"
                )
        return self


class InputSection(Section):
    """What messages look like and what is refused."""

    series_field: str = "series"
    timestamp_field: str = "timestamp"
    values_field: str = "values"
    unknown_channels: Literal["ignore", "reject"] = Field(
        default="ignore", description="drop and count such values, or refuse the message"
    )
    max_future: Duration = Field(
        default=86400.0, description="refuse readings further ahead of their message's time"
    )


class GridSection(Section):
    """How readings become rows."""

    lateness: Duration = Field(
        default=0.0, description="how long a row waits for readings that come out of order"
    )


class OutputSection(Section):
    """What is written, and where: PREFIX.scores, PREFIX.alerts, PREFIX.dead-letters."""

    prefix: str = Field(default="streamgauge", min_length=1, description="of the output topics")
    scores: Literal["all", "anomalous", "none"] = Field(
        default="all", description="rows that go to PREFIX.scores"
    )
    detail: Literal["scores", "full"] = Field(
        default="scores", description="full adds expected values and contributions a channel"
    )
    create_topics: bool = Field(default=True, description="create output topics that are missing")


class DeliverySection(Section):
    """How outputs are written: each once, or at least once."""

    mode: Literal["auto", "exactly_once", "at_least_once"] = Field(
        default="auto", description="auto: exactly once where the cluster has transactions"
    )
    transactional_id: str | None = Field(
        default=None, description="unique to each member; default: of group_instance_id or host and port"
    )
    transaction_timeout: Duration = Field(
        default=10.0, gt=0, description="after which the cluster ends what a killed member left open"
    )


class RecoverySection(Section):
    """State in PREFIX.state, so that a successor goes on where a member was killed."""

    max_replay_rows: int = Field(
        default=100_000,
        ge=0,
        description="messages of a partition that may have to be read again; 0: no state, windows warm up",
    )


class HttpSection(Section):
    """Metrics, probes and the status page."""

    host: str = Field(default="127.0.0.1", description="address to bind; loopback unless told otherwise")
    port: int = Field(default=9108, ge=0, le=65535, description="0: any free port, named in the log")
    tls_certfile: str | None = Field(default=None, description="HTTPS; read anew when it changes")
    tls_keyfile: str | None = Field(default=None, description="the certificate's key, not encrypted")
    tls_client_cafile: str | None = Field(
        default=None, description="clients need a certificate of this authority"
    )
    username: str | None = Field(default=None, description="clients need this name and the password")
    password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_HTTP__PASSWORD, or use password_file"
    )
    password_file: str | None = Field(default=None, description="file that holds the password")
    open_probes: bool = Field(default=True, description="/healthz and /readyz need neither of them")
    max_connections: int = Field(
        default=64, ge=4, le=1_000, description="the one that waits longest makes room for the next"
    )

    @model_validator(mode="after")
    def _complete(self) -> HttpSection:
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            raise ValueError("tls_certfile and tls_keyfile need each other")
        if self.tls_client_cafile is not None and self.tls_certfile is None:
            raise ValueError("tls_client_cafile needs tls_certfile and tls_keyfile")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError(
                "username and password need each other; the password comes as STREAMGAUGE_HTTP__PASSWORD or"
                " from the file password_file"
            )
        if self.username is not None and ":" in self.username:
            raise ValueError("username must have no colon")
        return self


class MetricsSection(Section):
    """How much is exported."""

    max_series: int = Field(
        default=2000, ge=0, le=1_000_000, description="series with gauges of their own, the worst first"
    )
    max_channel_series: int = Field(
        default=200, ge=0, le=1_000_000, description="series with five gauges a channel, the worst first"
    )
    series: tuple[str, ...] = Field(
        default=(), description="patterns such as pump-*: these series come before the worst"
    )


class LogSection(Section):
    """How events are logged, on standard error."""

    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text on a terminal, else JSON"
    )
    level: Literal["debug", "info", "warning", "error"] = "info"


class ServiceSection(Section):
    """The process itself."""

    stale_after: Duration | None = Field(
        default=300.0, description="silence, by the service's clock, that makes a series stale"
    )
    max_poll_records: int = Field(
        default=20_000, ge=1, le=10_000_000, description="messages judged at once at most"
    )
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1_024, description="processor threads of the model")


class Config(Section):
    """Everything that `streamgauge run` can be told."""

    model: ModelSection
    kafka: KafkaSection
    input: InputSection = InputSection()
    grid: GridSection = GridSection()
    incidents: IncidentsSection = IncidentsSection()
    watchdog: WatchdogSection = WatchdogSection()
    channels: dict[str, ChannelSection] = Field(default_factory=dict)
    maintenance: tuple[MaintenanceSection, ...] = ()
    output: OutputSection = OutputSection()
    delivery: DeliverySection = DeliverySection()
    recovery: RecoverySection = RecoverySection()
    http: HttpSection = HttpSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    service: ServiceSection = ServiceSection()
