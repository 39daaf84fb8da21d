"""Describe a table [[notify]]: a receiver of incidents (docs/notifications.md explains each key)."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from detector.config.types import Duration, Section

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_LABELS = {"series", "incident", "model", "reason", "severity", "channel"}
_SECRET_PART = re.compile(r"(?i)(token|key|secret|sig|pass|auth|code)[^=&]*=|//[^/]*@")


class NotifySection(Section):
    """One receiver of incidents."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="name in metrics, logs and the consumer group",
    )
    kind: Literal["alertmanager", "webhook", "slack", "pagerduty"]
    url: SecretStr | None = Field(
        default=None,
        description="address of Alertmanager or of the webhook; one with a token only in url_file",
    )
    url_file: str | None = Field(default=None, description="file that contains the url")
    routing_key: SecretStr | None = Field(default=None, description="only from the environment or a file")
    routing_key_file: str | None = Field(
        default=None, description="file that contains the routing key of PagerDuty"
    )
    bearer_token: SecretStr | None = Field(default=None, description="only from the environment or a file")
    bearer_token_file: str | None = Field(default=None, description="file that contains a bearer token")
    basic_username: str | None = Field(default=None, description="user name of HTTP basic authentication")
    basic_password: SecretStr | None = Field(default=None, description="only from the environment or a file")
    basic_password_file: str | None = Field(
        default=None, description="file that contains the password of basic_username"
    )
    headers: dict[str, str] = Field(default={}, description="further HTTP headers, without secrets")
    headers_file: str | None = Field(
        default=None, description="file of further headers with secrets, one line Name: value each"
    )
    template_file: str | None = Field(
        default=None, description="file with the JSON body of a webhook; it may contain $names"
    )
    send_resolved: bool = Field(default=True, description="also notify when an incident is resolved")
    fold: bool = Field(
        default=False,
        description="one message for many incidents that begin together, by [incidents] fold_series",
    )
    min_severity: Literal["warning", "critical"] = Field(
        default="warning", description="least severity to notify of"
    )
    series: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="series to notify of: names, or patterns such as pump-*"
    )
    labels: dict[str, str] = Field(default={}, description="labels added to each notification")
    link: str = Field(default="", description="page to link to; {series} and {id} are replaced")
    timeout: Duration = Field(
        default=10.0, gt=0, le=60, description="longest wait for a connection and for an answer"
    )
    give_up_after: Duration = Field(
        default=86400.0, description="age at which a notification that fails is dropped"
    )
    repeat: Duration = Field(
        default=60.0, ge=1, description="time between two reports of open incidents to Alertmanager"
    )
    expire_after: Duration = Field(
        default=3600.0, gt=0, description="time without a report after which Alertmanager resolves an alert"
    )
    ssl_cafile: str | None = Field(
        default=None, description="certificate authority to trust, PEM file; default: those of the system"
    )
    ssl_certfile: str | None = Field(default=None, description="our certificate, PEM file, if required")
    ssl_keyfile: str | None = Field(
        default=None, description="private key of ssl_certfile; default: the same file"
    )

    @property
    def env_name(self) -> str:
        """The name as environment variables contain it."""
        return re.sub(r"\W", "_", self.name).upper()

    @model_validator(mode="after")
    def _fits_its_kind(self) -> NotifySection:
        named = f"STREAMGAUGE_NOTIFY__{self.env_name}__"
        for is_wrong, words in (
            (
                self.kind != "pagerduty" and not (self.url or self.url_file),
                f"url is missing; name a file that contains it in url_file, or set {named}URL",
            ),
            (
                self.kind == "pagerduty" and not (self.routing_key or self.routing_key_file),
                f"PagerDuty needs routing_key_file, or {named}ROUTING_KEY",
            ),
            (
                self.kind in {"alertmanager", "pagerduty"} and self.template_file is not None,
                f"template_file is for kind webhook and slack, found {self.kind}",
            ),
            (
                self.kind == "alertmanager" and not self.send_resolved,
                "send_resolved: must be true for Alertmanager; set send_resolved in its own receivers",
            ),
            (
                self.kind in {"alertmanager", "pagerduty"} and self.fold,
                f"fold is for kind webhook and slack; {self.kind} groups by its own rules",
            ),
            (self.expire_after < 2 * self.repeat, "expire_after must be at least twice repeat"),
            (bool(self.ssl_keyfile) > bool(self.ssl_certfile), "ssl_keyfile needs ssl_certfile"),
            (
                "authorization" in map(str.lower, self.headers),
                "headers: remove Authorization and use bearer_token_file for the token",
            ),
            *((True, f"labels: {_label_problem(name)}") for name in self.labels if _label_problem(name)),
        ):
            if is_wrong:
                raise ValueError(words)
        return self

    @staticmethod
    def has_secret_url(table: dict[str, object]) -> bool:
        """Return whether the url of a table looks as if it contained a secret."""
        url = table.get("url")
        return isinstance(url, str) and (table.get("kind") == "slack" or _SECRET_PART.search(url) is not None)


def _label_problem(name: str) -> str:
    """Return what is wrong with the name of a label; "" for a good one."""
    if name in _OWN_LABELS:
        return f"`{name}` is reserved (Streamgauge sets it)"
    return "" if _LABEL.fullmatch(name) else f"`{name}` is not a valid Prometheus label name"
