"""Describe [kafka]: the cluster, and the topics of the readings."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.config.types import Duration, Section

_TOPIC = re.compile(r"[A-Za-z0-9._*?\[\]!-]{1,249}")


class KafkaSection(Section):
    """The cluster and the topic of the readings."""

    bootstrap_servers: tuple[str, ...] = Field(
        default=("localhost:9092",),
        min_length=1,
        description="broker addresses host:port; one is enough, several are safer",
    )
    topic: str = Field(description="topic of the readings; its messages have the series as key")
    topics: tuple[str, ...] = Field(
        default=(),
        description="instead of topic: several names, and patterns such as plant-*; topics may come later",
    )
    group_id: str = Field(
        default="streamgauge", description="consumer group; its processes share the partitions"
    )
    group_instance_id: str | None = Field(
        default=None, description="static membership: a name of its own for each process"
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        default="earliest", description="where a group without committed offsets starts to read"
    )
    session_timeout: Duration = Field(
        default=45.0, gt=0, description="time without a heartbeat before the group takes our partitions away"
    )
    max_poll_interval: Duration = Field(
        default=300.0,
        gt=0,
        description="longest time between two polls before the group takes our partitions away",
    )
    startup_timeout: Duration = Field(
        default=60.0, description="longest wait for the cluster and the topic at the start"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_KAFKA__SASL_PASSWORD; or use sasl_password_file"
    )
    sasl_password_file: str | None = Field(default=None, description="file that contains the password")
    ssl_cafile: str | None = Field(
        default=None,
        description="certificate authority of the brokers, PEM file; default: those of the system",
    )
    ssl_certfile: str | None = Field(
        default=None, description="our certificate, PEM file, if the brokers require one"
    )
    ssl_keyfile: str | None = Field(
        default=None, description="private key of ssl_certfile; default: the same file"
    )
    ssl_key_password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_KAFKA__SSL_KEY_PASSWORD, or use ssl_key_password_file"
    )
    ssl_key_password_file: str | None = Field(
        default=None, description="file that contains the password of ssl_keyfile"
    )
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        default="none", description="compression of output topics"
    )
    check_crcs: bool = Field(default=True, description="verify the checksums of messages that are read")

    @model_validator(mode="before")
    @classmethod
    def _one_or_several(cls, values: Any) -> Any:
        """Let `topics` stand for `topic`, which is then empty."""
        if isinstance(values, dict) and values.get("topics") and "topic" not in values:
            return {"topic": "", **values}
        return values

    @field_validator("topics")
    @classmethod
    def _are_topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for one in topics:
            if not _TOPIC.fullmatch(one):
                raise ValueError(f"{one!r} is no name of a topic, and no pattern such as plant-*")
        return topics

    @property
    def shown(self) -> str:
        """What is read, for people."""
        return f"topics {', '.join(self.topics)}" if self.topics else f"topic {self.topic}"

    @model_validator(mode="after")
    def _complete(self) -> KafkaSection:
        if self.topic and self.topics:
            raise ValueError("`topic` and `topics` exclude each other; keep one of them")
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("ssl_keyfile needs ssl_certfile")
        if self.security_protocol.startswith("SASL"):
            password = self.sasl_password or self.sasl_password_file
            if not (self.sasl_mechanism and self.sasl_username and password):
                raise ValueError(
                    f"security_protocol {self.security_protocol} needs sasl_mechanism, sasl_username and a"
                    " password; set STREAMGAUGE_KAFKA__SASL_PASSWORD or name a file in sasl_password_file"
                )
        return self
