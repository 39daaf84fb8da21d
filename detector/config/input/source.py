"""Describe [source] and [mqtt]: where readings come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from detector.config.types import Duration, Section

_ONLY_FOR = {"path": "files", "follow": "files", "topics": "mqtt"}


class SourceSection(Section):
    """Where readings come from (docs/sources.md)."""

    kind: Literal["kafka", "stdin", "files", "mqtt"] = Field(
        default="kafka", description="with another kind than kafka, [kafka] is left out"
    )
    path: str | None = Field(
        default=None, description="of files: a file, a directory or a pattern such as data/*.jsonl"
    )
    follow: bool = Field(
        default=False, description="of files: wait for lines that are appended, and for new files"
    )
    topics: tuple[str, ...] = Field(
        default=(), description="of mqtt: topics, with wildcards such as plant/+/readings"
    )
    state: str | None = Field(
        default=None,
        description="of kinds other than kafka: directory of the saved state; none: a restart begins again",
    )

    @model_validator(mode="after")
    def _complete(self) -> SourceSection:
        fields = type(self).model_fields
        for key, kind in _ONLY_FOR.items():
            if getattr(self, key) != fields[key].default and self.kind != kind:
                raise ValueError(f'`{key}` is for kind = "{kind}", not for {self.kind}')
        if self.kind == "kafka" and self.state is not None:
            raise ValueError("`state` is for kinds other than kafka, which keeps its state in PREFIX.state")
        if self.kind == "files" and not self.path:
            raise ValueError('kind = "files" needs `path`, such as data/*.jsonl')
        if self.kind == "mqtt" and not self.topics:
            raise ValueError('kind = "mqtt" needs `topics`, such as plant/+/readings')
        return self


class MqttSection(Section):
    """The broker of MQTT 5, for `kind = "mqtt"` of [source] and `to = "mqtt"` of [output]."""

    host: str = Field(default="localhost", min_length=1, description="name or address of the broker")
    port: int | None = Field(default=None, ge=1, le=65535, description="default: 1883, with tls 8883")
    client_id: str = Field(
        default="streamgauge",
        min_length=1,
        description="name of the session; a restart continues it, and each daemon needs its own",
    )
    username: str | None = None
    password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_MQTT__PASSWORD; or use password_file"
    )
    password_file: str | None = Field(default=None, description="file that contains the password")
    tls: bool = Field(default=False, description="encrypt the connection, and check the broker's certificate")
    ssl_cafile: str | None = Field(
        default=None,
        description="certificate authority of the broker, PEM file; default: those of the system",
    )
    ssl_certfile: str | None = Field(
        default=None, description="our certificate, PEM file, if one is required"
    )
    ssl_keyfile: str | None = Field(default=None, description="private key of ssl_certfile")
    session_expiry: Duration = Field(
        default=86400.0, gt=0, description="how long the broker keeps messages for us while we are away"
    )
    keepalive: Duration = Field(
        default=30.0, ge=1, le=65535, description="time after which a silent connection counts as broken"
    )
    max_in_flight: int = Field(
        default=1000, ge=1, le=65535, description="most messages that are received and not acknowledged yet"
    )
    startup_timeout: Duration = Field(default=60.0, description="longest wait for the broker at the start")

    @model_validator(mode="after")
    def _complete(self) -> MqttSection:
        if not self.tls and (self.ssl_cafile or self.ssl_certfile or self.ssl_keyfile):
            raise ValueError("ssl_cafile, ssl_certfile and ssl_keyfile need tls = true")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile need each other")
        if self.username is None and (self.password or self.password_file):
            raise ValueError("a password needs username")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (8883 if self.tls else 1883)


def with_source(values: Any) -> Any:
    """Return the values of a configuration; where nothing comes from Kafka, with an empty [kafka].

    Raises ValueError where a topic of Kafka is given and not used. Other variables of [kafka] may be set.
    """
    source = values.get("source") if isinstance(values, dict) else None
    kind = source.get("kind", "kafka") if isinstance(source, dict) else "kafka"
    if kind == "kafka":
        return values
    if isinstance(values.get("kafka"), dict) and {"topic", "topics"} & values["kafka"].keys():
        raise ValueError(f'[kafka] is not used with [source] kind = "{kind}"; remove one of them')
    return values | {"kafka": {"topic": ""}}


def check_outputs(path: str, outputs: Iterable[str]) -> None:
    """Raise ValueError where `path` of [source] finds a file that we write: each result would be read again.

    Args:
        path: a file, a directory or a pattern, as in [source].
        outputs: the files that this configuration writes.
    """
    wanted = Path(path).resolve()
    for output in (Path(one).resolve() for one in outputs):
        if output.parent == wanted or _is_matched(output.parts, wanted.parts):
            raise ValueError(
                f"[source] path: {path} also finds {output}, which this process writes: it would read its own"
                " output; give [output] directory and [source] state a place that path does not match"
            )


def _is_matched(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path match those of a pattern, in which ** stands for any directories."""
    if not (parts and pattern):
        return not (parts or pattern)
    if pattern[0] == "**":
        return any(_is_matched(parts[at:], pattern[1:]) for at in range(len(parts)))
    return fnmatchcase(parts[0], pattern[0]) and _is_matched(parts[1:], pattern[1:])
