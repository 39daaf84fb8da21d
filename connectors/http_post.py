"""Sends one HTTP POST to a receiver and classifies the outcome.

Failures of a receiver or of the network do not raise: they are an `Answer`. A connection serves one request.
Deliveries are rare, and a kept connection that a firewall dropped makes their outcome uncertain. Redirects
are not followed: they would carry secrets elsewhere. Texts show only scheme and host of a URL, because paths
and queries may hold tokens.
"""

from __future__ import annotations

import base64
import logging
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswerError

from connectors.errors import EndpointError

# It logs whole URLs.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

_MOST_SHOWN, _SHORTEST_SECRET = 200, 4
_LONGEST_WAIT_SECONDS = 3600.0
_AGAIN = frozenset({401, 403, 404, 407, 408, 421, 425, 429})
"""Codes below 500 that blame the way to the receiver, not the message: a later try may succeed."""


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where to POST and how. Its repr shows no secret.

    url               http or https; its path and query may hold a token
    headers           sent with each request; may hold tokens
    timeout_seconds   to connect, and between two parts of an answer
    ssl_...           PEM files: trusted authorities (default: those of the system), own certificate and key
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 10.0
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    @property
    def shown(self) -> str:
        """Scheme and host, for logs."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def __repr__(self) -> str:
        return f"Endpoint({self.shown}/***)"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a POST: `delivered`, `again` (may work later) or `refused` (never will).

    `reason` is for logs and holds no secret. `wait_seconds` is the delay that the receiver asked for.
    """

    outcome: Literal["delivered", "again", "refused"]
    reason: str
    wait_seconds: float = 0.0


class Poster:
    """POSTs to one endpoint. Promise: none. If the answer was lost, the message may have arrived or not."""

    def __init__(self, endpoint: Endpoint, secrets: tuple[str, ...] = ()) -> None:
        """Prepare to POST; nothing is sent yet.

        Args:
            endpoint: where to send.
            secrets: further words that no reason may repeat.

        Raises:
            EndpointError: the URL or a TLS file cannot be used.
        """
        self._endpoint = endpoint
        self._pool = pool_of(endpoint)
        self._secrets = _secrets_of(endpoint, secrets)

    @property
    def shown(self) -> str:
        """Scheme and host, for logs."""
        return self._endpoint.shown

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send `body`, blocking for at most about two timeouts.

        Args:
            body: the bytes to send.
            headers: sent in addition to those of the endpoint.
        """
        try:
            response = self._pool.request(
                "POST",
                self._endpoint.url,
                body=body,
                headers={**self._endpoint.headers, **(headers or {}), "Connection": "close"},
                timeout=self._endpoint.timeout_seconds,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except HTTPError as error:
            return Answer("again", f"{self.shown}: {why_of(error)}")
        try:
            return self._answer_of(response)
        finally:
            response.close()

    def _answer_of(self, response: urllib3.BaseHTTPResponse) -> Answer:
        status = response.status
        if 200 <= status < 300:
            return Answer("delivered", f"{self.shown}: {status}")
        reason = f"{self.shown}: {status} {response.reason or ''}".rstrip() + self._beginning_of(response)
        if status >= 500 or status in _AGAIN:
            return Answer("again", reason, _wait(response.headers.get("Retry-After")))
        return Answer("refused", reason)

    def _beginning_of(self, response: urllib3.BaseHTTPResponse) -> str:
        """Return the first characters of the answer, secrets masked: some receivers repeat the path."""
        try:
            text = response.read1(4 * _MOST_SHOWN).decode("utf-8", errors="replace")
        except (HTTPError, OSError):
            return ""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = "".join(c if c.isprintable() else " " for c in text)
        return f": {' '.join(text.split())[:_MOST_SHOWN]}" if text.strip() else ""


def _secrets_of(endpoint: Endpoint, more: tuple[str, ...]) -> tuple[str, ...]:
    """Return all words to mask, the longest first, so that no part of one remains."""
    parts = urlsplit(endpoint.url)
    words = {*more, endpoint.url, parts.path, parts.query, parts.password or ""}
    words |= {*parts.path.split("/"), *(pair.partition("=")[2] for pair in parts.query.split("&"))}
    words |= set(endpoint.headers.values()) | {v.rpartition(" ")[2] for v in endpoint.headers.values()}
    words |= {unquote(word) for word in words}
    return tuple(sorted((w for w in words if len(w) >= _SHORTEST_SECRET), key=len, reverse=True))


def pool_of(endpoint: Endpoint) -> urllib3.PoolManager:
    """Return the connections to an endpoint, through the proxy of the environment. Raises EndpointError."""
    try:
        parts = urlsplit(endpoint.url)
        is_fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine = False
    if not is_fine:
        raise EndpointError("the url is not of the form http://host:port/path or https://host/path") from None
    context = _tls(endpoint) if parts.scheme == "https" else None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager(ssl_context=context)
    user, _, _ = urlsplit(proxy).netloc.rpartition("@")
    login = urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
    return urllib3.ProxyManager(proxy, proxy_headers=login, ssl_context=context)


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ssl_cafile)
        if endpoint.ssl_certfile:
            context.load_cert_chain(endpoint.ssl_certfile, endpoint.ssl_keyfile)
    except (OSError, ValueError) as error:
        files = (endpoint.ssl_cafile, endpoint.ssl_certfile, endpoint.ssl_keyfile)
        named = ", ".join(name for name in files if name)
        raise EndpointError(f"cannot use {named} for TLS: {error}") from error
    return context


def _wait(asked: str | None) -> float:
    """Return the seconds of a Retry-After header, which is a number or a date; 0 if there is none."""
    try:
        return min(urllib3.Retry().parse_retry_after(asked), _LONGEST_WAIT_SECONDS) if asked else 0.0
    except (HTTPError, ValueError, OverflowError):
        return 0.0


def why_of(error: HTTPError) -> str:
    """Describe an error of urllib3 without the URL that its own text contains."""
    if isinstance(error, SSLError):
        return f"TLS failed: {error.args[0] if error.args else ''}"
    if isinstance(error, NoAnswerError) and not isinstance(error, NewConnectionError):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    words = cause.strerror if isinstance(cause, OSError) else "the connection broke"
    return f"{type(error).__name__}: {words}"


def basic_auth(username: str, password: str) -> str:
    """Return the Authorization header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
