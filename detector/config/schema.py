"""Describe the configuration: a class for each section, a field for each key.

`detector.config.load` fills them from TOML and the environment. `detector.config.example` writes the
docstring of a class and the description of a field into the example file.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from detector.config.incident_schema import (
    CalendarSection,
    ChannelSection,
    ColdSection,
    DriftSection,
    EvidenceSection,
    IncidentsSection,
    MaintenanceSection,
    WatchdogSection,
)
from detector.config.input.kafka import KafkaSection
from detector.config.input.registry import SchemaRegistrySection
from detector.config.input.section import BINARY, InputSection, InputsSection, check_registry, form_of
from detector.config.input.source import MqttSection, SourceSection, check_outputs, with_source
from detector.config.input.topics import check_topics
from detector.config.models.fallback import FallbackSection, check_fallback, with_models
from detector.config.models.section import ModelSection, ModelsSection, check_entries
from detector.config.notify_schema import NotifySection
from detector.config.types import Duration, Section


class GridSection(Section):
    """How readings are combined into rows of equal length."""

    lateness: Duration = Field(
        default=0.0, description="how long a row waits for readings that arrive out of order"
    )


class OutputSection(Section):
    """Outputs: PREFIX.scores, PREFIX.alerts, PREFIX.dead-letters. PREFIX.decisions is read from Kafka."""

    to: Literal["auto", "stdout", "files", "mqtt"] = Field(
        default="auto", description="auto: Kafka where readings come from Kafka, else standard output"
    )
    directory: str | None = Field(
        default=None, description="of `to` files: directory with a file PREFIX.scores.jsonl and so on"
    )

    prefix: str = Field(default="streamgauge", min_length=1, description="prefix of the output topics")
    scores: Literal["all", "anomalous", "none"] = Field(
        default="all", description="rows that are published to PREFIX.scores"
    )
    detail: Literal["scores", "full"] = Field(
        default="scores", description="full: also the expected value and the contribution of each channel"
    )
    create_topics: bool = Field(default=True, description="create missing output topics")

    @model_validator(mode="after")
    def _complete(self) -> OutputSection:
        if (self.to == "files") != (self.directory is not None):
            raise ValueError('`to = "files"` and `directory` need each other')
        return self


class DeliverySection(Section):
    """The delivery guarantee of outputs."""

    mode: Literal["auto", "exactly_once", "at_least_once"] = Field(
        default="auto", description="auto: exactly once if the cluster supports transactions"
    )
    transactional_id: str | None = Field(
        default=None,
        description="a name of its own for each process; default: from group_instance_id, or host and port",
    )
    transaction_timeout: Duration = Field(
        default=10.0,
        gt=0,
        description="time after which the cluster ends the transaction of a killed process",
    )


class RecoverySection(Section):
    """Saved state in PREFIX.state: the next owner of a partition resumes where the last one stopped."""

    max_replay_rows: int = Field(
        default=100_000,
        ge=0,
        description="most messages of a partition to read again after a restart; 0: save no state",
    )


_WEB_ADDRESS = re.compile(r"https?://[^\s\"'<>]+")


class HttpSection(Section):
    """Server of metrics, health probes and the page of the daemon."""

    host: str = Field(
        default="127.0.0.1", description="address to bind; the default is reachable from this host alone"
    )
    port: int = Field(default=9108, ge=0, le=65535, description="0: any free port; the log names it")
    tls_certfile: str | None = Field(
        default=None, description="certificate for HTTPS, PEM file; read again when it changes"
    )
    tls_keyfile: str | None = Field(default=None, description="private key of tls_certfile, not encrypted")
    tls_client_cafile: str | None = Field(
        default=None, description="clients must present a certificate of this authority, PEM file"
    )
    username: str | None = Field(default=None, description="clients must send this name and the password")
    password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_HTTP__PASSWORD; or use password_file"
    )
    password_file: str | None = Field(default=None, description="file that contains the password")
    open_probes: bool = Field(
        default=True, description="/healthz and /readyz need neither certificate nor password"
    )
    max_connections: int = Field(
        default=64,
        ge=4,
        le=1_000,
        description="most open connections; beyond that the one idle longest is closed",
    )

    explorer: str | None = Field(
        default=None,
        description="address of the explorer, which the page of the daemon links to",
    )

    @model_validator(mode="after")
    def _complete(self) -> HttpSection:
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            raise ValueError("tls_certfile and tls_keyfile need each other")
        if self.tls_client_cafile is not None and self.tls_certfile is None:
            raise ValueError("tls_client_cafile needs tls_certfile and tls_keyfile")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError(
                "username and password need each other; set the password as STREAMGAUGE_HTTP__PASSWORD or"
                " name a file in password_file"
            )
        if self.username is not None and ":" in self.username:
            raise ValueError("username must not contain a colon")
        if self.explorer is not None and not _WEB_ADDRESS.fullmatch(self.explorer):
            raise ValueError("explorer must be an address such as https://gauge.example.org/")
        return self


class MetricsSection(Section):
    """Bounds of the exported metrics."""

    max_series: int = Field(
        default=2000,
        ge=0,
        le=1_000_000,
        description="most series with gauges of their own; those with the highest scores",
    )
    max_channel_series: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="most series with five gauges for each channel; those with the highest scores",
    )
    series: tuple[str, ...] = Field(
        default=(), description="patterns such as pump-*: these series are exported first"
    )


class LogSection(Section):
    """The log, on standard error."""

    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text on a terminal, otherwise JSON"
    )
    level: Literal["debug", "info", "warning", "error"] = "info"


class ServiceSection(Section):
    """Resources of the process."""

    stale_after: Duration | None = Field(
        default=300.0,
        description="time without a reading, by the clock of this host, after which a series is stale",
    )
    forget_after: Duration = Field(
        default=604_800.0,
        description="time without a reading, while the service listens, after which a series is forgotten;"
        " its incidents resolve; 0s: never",
    )
    self_check_every: Duration = Field(
        default=3600.0,
        description="time between two self-checks: are the faults found that the model promises; 0: only when"
        " a model is loaded",
    )
    max_poll_records: int = Field(default=20_000, ge=1, le=10_000_000, description="most messages in a batch")
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1_024,
        description="batches of windows scored in parallel; none: the number of cores, at most 4",
    )


class ConnectionConfig(Section):
    """The part of a configuration that `streamgauge record` and `streamgauge replay` need."""

    kafka: KafkaSection
    input: InputSection = InputSection()
    inputs: tuple[InputsSection, ...] = ()
    schema_registry: SchemaRegistrySection = SchemaRegistrySection()
    output: OutputSection = OutputSection()

    @model_validator(mode="after")
    def _has_registry(self) -> ConnectionConfig:
        check_registry(self.input, self.inputs, self.schema_registry)
        return self


class Config(Section):
    """The whole configuration of `streamgauge run`."""

    model: ModelSection
    source: SourceSection = SourceSection()
    models: tuple[ModelsSection, ...] = ()
    fallback: FallbackSection = FallbackSection()
    kafka: KafkaSection
    mqtt: MqttSection = MqttSection()
    input: InputSection = InputSection()
    inputs: tuple[InputsSection, ...] = ()
    schema_registry: SchemaRegistrySection = SchemaRegistrySection()
    grid: GridSection = GridSection()
    incidents: IncidentsSection = IncidentsSection()
    watchdog: WatchdogSection = WatchdogSection()
    evidence: EvidenceSection = EvidenceSection()
    calendar: CalendarSection = CalendarSection()
    drift: DriftSection = DriftSection()
    cold: ColdSection = ColdSection()
    channels: dict[str, ChannelSection] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    maintenance: tuple[MaintenanceSection, ...] = ()
    output: OutputSection = OutputSection()
    delivery: DeliverySection = DeliverySection()
    recovery: RecoverySection = RecoverySection()
    http: HttpSection = HttpSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    service: ServiceSection = ServiceSection()
    notify: tuple[NotifySection, ...] = Field(
        default=(),
        description="receivers of incidents; one table for each (docs/notifications.md)",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_kafka(cls, values: Any) -> Any:
        return with_source(values)

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.source.kind == "kafka" and self.output.to != "auto":
            raise ValueError("[output] to: readings from Kafka have their results in Kafka; remove this key")
        kind, form = self.source.kind, self.input.format
        if kind in ("stdin", "files") and form in BINARY:
            raise ValueError(
                f'[input] format: {form} is binary, and [source] kind = "{kind}" reads lines'
                "; read it from Kafka or MQTT, or set a format of text such as wide_json"
            )
        if self.source.path is not None:
            check_outputs(self.source.path, self._files())
        if kind != "kafka" and self.delivery.mode == "exactly_once" and not self.commits_outputs:
            raise ValueError(
                '[delivery] mode: without Kafka, exactly_once needs [source] kind = "files" with state, and'
                ' [output] to = "files"; set these, or mode = "auto"'
            )
        return self

    @property
    def commits_outputs(self) -> bool:
        """Whether state, position and lengths of output files are committed together, so exactly once."""
        return self.source.kind == "files" and self.source.state is not None and self.output.to == "files"

    def _files(self) -> list[str]:
        """Return the files that a daemon without Kafka writes."""
        found = []
        if self.output.directory is not None:
            topics = ("scores", "alerts", "dead-letters")
            found = [f"{self.output.directory}/{self.output.prefix}.{topic}.jsonl" for topic in topics]
        if self.source.state is not None:
            found.append(f"{self.source.state}/state.sqlite")
        return found

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, values: Any) -> Any:
        """Let [[models]] stand for [model], which is then without a path."""
        return with_models(values)

    @model_validator(mode="after")
    def _models_differ(self) -> Config:
        others = [form_of(one).series for one in self.inputs]
        check_entries(self.models, self.incidents, form_of(self.input).series, others)
        return self

    @model_validator(mode="after")
    def _has_registry(self) -> Config:
        check_registry(self.input, self.inputs, self.schema_registry)
        check_fallback(self.fallback, self.model.path, self.models, self.input, self.inputs)
        return self

    @model_validator(mode="after")
    def _reads_topics(self) -> Config:
        models = [(one.path, one.topics) for one in self.models]
        inputs = [one.topics for one in self.inputs]
        check_topics(self.kafka, self.source.kind, self.output.prefix, inputs, models)
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        names = [section.env_name for section in self.notify]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            shown = ", ".join(f"`{name}`" for name in twice)
            raise ValueError(
                f"[[notify]] name {shown} is used twice (names are compared as environment variables: case"
                " and punctuation are ignored)"
            )
        return self
