"""The kinds of receivers: each makes bodies and headers of requests, from the configuration. No network."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import orjson

from connectors.errors import EndpointError
from connectors.http_post import Endpoint, Poster, basic_auth
from detector.config.notify_schema import NotifySection
from detector.errors import ConfigError
from detector.notify.alertmanager import PATH, Alertmanager
from detector.notify.notice import Notice, link_of, template_values
from detector.notify.templates import DEFAULT, PAGERDUTY, SLACK, Json, parse_template, render

Request: TypeAlias = tuple[bytes, dict[str, str]]

_PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_PAGERDUTY_SUMMARY = 1024
_PAGERDUTY_SEVERITIES = ("critical", "error", "warning", "info")
_EXAMPLE = Notice("opened", "0", "series", "warning", "firing", datetime.now(UTC), datetime.now(UTC))


class Receiver(Protocol):
    """Makes a request for each change, and remembers what must be repeated.

    A new kind of receiver implements these methods and `note`, and `receiver_of` returns it.
    """

    @property
    def note(self) -> str:
        """What must be known after a restart beside the changes that were delivered; empty: nothing."""

    def request(self, notice: Notice) -> Request | None:
        """Return body and headers of the request for this change; None where nothing is to be sent."""

    def delivered(self, notice: Notice, at_seconds: float, partition: int | None = None) -> None:
        """Note that this change was delivered at this epoch second.

        After `recall` it was delivered before, and is read back from `partition`.
        """

    def repeats(self) -> Iterator[Request]:
        """Yield requests that must be sent regularly, so that nothing expires."""

    def clear(self) -> None:
        """Forget all changes: other processes may deliver them now."""

    def recall(self, notes: Mapping[int, str]) -> None:
        """Take the notes of before a restart, by partition; the changes that were delivered follow."""


class Webhook:
    """Makes one request per change from a template. Nothing is repeated."""

    note = ""

    def __init__(self, section: NotifySection, template: Json) -> None:
        self._section, self._template = section, template
        key = section.routing_key
        self._secret = {"routing_key": key.get_secret_value()} if key else {}

    def request(self, notice: Notice) -> Request:
        """Return body and headers. A second request for this change has the same Idempotency-Key."""
        section = self._section
        values = template_values(notice, dict(section.labels), link_of(section.link, notice))
        if section.kind == "slack":
            values = {name: _for_slack(value) for name, value in values.items()}
        if section.kind == "pagerduty":
            values |= _for_pagerduty(values)
        body = render(self._template, values | self._secret)
        if section.kind == "pagerduty" and not values["link"]:
            body.pop("client_url", None)
        return orjson.dumps(body), {"Content-Type": "application/json", "Idempotency-Key": notice.key}

    def delivered(self, notice: Notice, at_seconds: float, partition: int | None = None) -> None:
        """Do nothing: a webhook needs no repeats."""

    def repeats(self) -> Iterator[Request]:
        """Return no requests: nothing expires."""
        return iter(())

    def clear(self) -> None:
        """Do nothing: there is nothing to forget."""

    def recall(self, notes: Mapping[int, str]) -> None:
        """Do nothing: there is nothing to remember."""


def receiver_of(section: NotifySection) -> Receiver:
    """Return the receiver that this table describes.

    Raises:
        ConfigError: The template cannot be used.
    """
    if section.kind == "alertmanager":
        return Alertmanager(section.labels, section.link, section.expire_after)
    if section.template_file is not None:
        return Webhook(section, _template(section.template_file))
    return Webhook(section, {"slack": SLACK, "pagerduty": PAGERDUTY}.get(section.kind, DEFAULT))


def poster_of(section: NotifySection) -> Poster:
    """Return the poster for this table: URL, authorization, headers and TLS.

    Raises:
        ConfigError: The URL or a file cannot be used.
    """
    url = section.url.get_secret_value() if section.url else _PAGERDUTY_URL
    if section.kind == "alertmanager":
        url = url.rstrip("/").removesuffix(PATH) + PATH
    secrets = (section.routing_key, section.bearer_token, section.basic_password)
    try:
        return Poster(
            Endpoint(
                url,
                _headers(section),
                section.timeout,
                section.ssl_cafile,
                section.ssl_certfile,
                section.ssl_keyfile,
            ),
            tuple(secret.get_secret_value() for secret in secrets if secret),
        )
    except EndpointError as error:
        raise ConfigError(str(error)) from None


def _headers(section: NotifySection) -> dict[str, str]:
    headers = {"User-Agent": "streamgauge", **section.headers}
    if section.headers_file is not None:
        headers |= _headers_of(section.headers_file)
    if section.bearer_token:
        headers["Authorization"] = f"Bearer {section.bearer_token.get_secret_value()}"
    elif section.basic_password:
        headers["Authorization"] = basic_auth(
            section.basic_username or "", section.basic_password.get_secret_value()
        )
    for name, value in headers.items():
        if not (name.isascii() and value.isascii() and name.isprintable() and value.isprintable()):
            raise ConfigError(f"headers: {name!r}: names and values must be printable ASCII")
    return headers


def _headers_of(file: str) -> dict[str, str]:
    lines = [line for line in _read(file, "headers_file").splitlines() if line.strip()]
    pairs = [line.partition(":") for line in lines]
    if not all(colon and name.strip() for name, colon, _ in pairs):
        raise ConfigError(f"headers_file: {file}: every line must be `Name: value`")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _template(file: str) -> Json:
    try:
        return parse_template(_read(file, "template_file"), template_values(_EXAMPLE, {}, ""))
    except ValueError as error:
        raise ConfigError(f"template_file: {file}: {error}") from None


def _read(file: str, key: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise ConfigError(f"{key}: {file}: {reason}") from None


def _for_slack(value: Any) -> Any:
    """Escape the value: a series named <!channel> must not notify a whole channel."""
    return html.escape(value, quote=False) if isinstance(value, str) else value


def _for_pagerduty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the Events API restricts, within its limits."""
    severity = values["severity"]
    return {
        "summary": values["summary"][:_PAGERDUTY_SUMMARY],
        "severity": severity if severity in _PAGERDUTY_SEVERITIES else "critical",
    }
