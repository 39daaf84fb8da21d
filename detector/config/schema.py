"""What the daemon can be told: a class a section of the configuration, a field a key.

`detector.config.load` reads them from TOML and the environment.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from detector.config.incident_schema import (
    ChannelSection,
    IncidentsSection,
    MaintenanceSection,
    WatchdogSection,
)
from detector.config.types import Duration, Section


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
        *("timeout", "give_up_after", "repeat", "expire_after"),
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
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1_024,
        description="batches of windows judged at once; none: as many as there are cores, at most 4",
    )


_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_LABELS = {"series", "incident", "model", "reason", "severity", "channel"}
_TELLING = re.compile(r"(?i)(token|key|secret|sig|pass|auth|code)[^=&]*=|//[^/]*@")


class NotifySection(Section):
    """Who is told of incidents, beside the alerts topic; one table for each (docs/notifications.md)."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="in metrics, logs and its consumer group"
    )
    kind: Literal["alertmanager", "webhook", "slack", "pagerduty"]
    url: SecretStr | None = Field(
        default=None, description="of Alertmanager, or where to POST; with a token only from url_file"
    )
    url_file: str | None = Field(default=None, description="file that holds the url")
    routing_key: SecretStr | None = Field(default=None, description="only from the environment or a file")
    routing_key_file: str | None = Field(default=None, description="file that holds PagerDuty's routing key")
    bearer_token: SecretStr | None = Field(default=None, description="only from the environment or a file")
    bearer_token_file: str | None = Field(default=None, description="file that holds a bearer token")
    basic_username: str | None = Field(default=None, description="of HTTP basic authentication")
    basic_password: SecretStr | None = Field(default=None, description="only from the environment or a file")
    basic_password_file: str | None = Field(default=None, description="file that holds its password")
    headers: dict[str, str] = Field(default={}, description="further headers, without secrets")
    headers_file: str | None = Field(default=None, description="further ones with secrets: Name: value lines")
    template_file: str | None = Field(default=None, description="JSON body of a webhook with $names")
    send_resolved: bool = Field(default=True, description="tell of the end of incidents, too")
    min_severity: Literal["warning", "critical"] = Field(default="warning", description="tell from here up")
    series: tuple[str, ...] = Field(default=("*",), min_length=1, description="patterns such as pump-*")
    labels: dict[str, str] = Field(default={}, description="added to each alert and body")
    link: str = Field(default="", description="page to look at; {series} and {id} are filled in")
    timeout: Duration = Field(default=10.0, gt=0, le=60, description="to connect, and to answer")
    give_up_after: Duration = Field(default=86400.0, description="age from which a failed one is given up")
    repeat: Duration = Field(default=60.0, ge=1, description="how often Alertmanager is told what fires")
    expire_after: Duration = Field(
        default=3600.0, gt=0, description="without us, Alertmanager ends an alert after so long"
    )
    ssl_cafile: str | None = Field(default=None, description="whom to trust, PEM; default: the system's")
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    @property
    def env_name(self) -> str:
        """How environment variables call it."""
        return re.sub(r"\W", "_", self.name).upper()

    @model_validator(mode="after")
    def _fits_its_kind(self) -> NotifySection:
        named = f"STREAMGAUGE_NOTIFY__{self.env_name}__"
        wrong_labels = [n for n in self.labels if n in _OWN_LABELS or not _LABEL.fullmatch(n)]
        for is_wrong, words in (
            (
                self.kind != "pagerduty" and not (self.url or self.url_file),
                f"url is missing: name a file that holds it in url_file, or set {named}URL",
            ),
            (
                self.kind == "pagerduty" and not (self.routing_key or self.routing_key_file),
                f"PagerDuty needs routing_key_file, or {named}ROUTING_KEY",
            ),
            (
                self.kind in {"alertmanager", "pagerduty"} and self.template_file is not None,
                f"template_file is for webhook and slack, and this is {self.kind}",
            ),
            (
                self.kind == "alertmanager" and not self.send_resolved,
                "send_resolved: Alertmanager must know of the end; its own receivers have send_resolved",
            ),
            (self.expire_after < 2 * self.repeat, "expire_after must be at least twice repeat"),
            (bool(self.ssl_keyfile) > bool(self.ssl_certfile), "ssl_keyfile needs ssl_certfile"),
            ("authorization" in map(str.lower, self.headers), "headers: use bearer_token_file for a token"),
            (bool(wrong_labels), f"labels: {', '.join(wrong_labels)}: ours, or no name of a label"),
        ):
            if is_wrong:
                raise ValueError(words)
        return self

    @staticmethod
    def has_secret_url(table: dict[str, object]) -> bool:
        """Whether a table of the file has a url that holds a secret, as far as one can tell."""
        url = table.get("url")
        return isinstance(url, str) and (table.get("kind") == "slack" or _TELLING.search(url) is not None)


class ConnectionConfig(Section):
    """The part of a configuration that `streamgauge record` and `streamgauge replay` need."""

    kafka: KafkaSection
    input: InputSection = InputSection()


class Config(Section):
    """The whole configuration of `streamgauge run`."""

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
    notify: tuple[NotifySection, ...] = Field(
        default=(), description="who is told of incidents: a table for each (docs/notifications.md)"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        names = [section.env_name for section in self.notify]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"[[notify]] name: {', '.join(twice)}: two of them are called so")
        return self
