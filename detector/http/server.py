"""The HTTP server: metrics, probes, the status page.

Each connection has a thread, so that a silent client blocks no other client. The number of connections, their
time, and the size of requests are bounded.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from detector.config.schema import HttpSection
from detector.config.tls_files import TlsFiles
from detector.http.access import Access, Refusals
from detector.http.certificates import Certificates
from detector.http.connections import Connections
from detector.login import CHALLENGE

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS, _ANSWER_SECONDS = 10.0, 60.0
_LOOK_SECONDS = 0.1
_WORTH_BYTES = 1024
_FAST, _GZIP = 1, 31
"""Arguments of `zlib.compress`: the fastest level, and the window size that selects the gzip format."""
_HEAD_BYTES = 16 << 10
_REFUSED = ("CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Response:
    """Status code, content type and body."""

    code: int
    content_type: str
    body: bytes

    @classmethod
    def text(cls, code: int, body: str) -> Response:
        """Return plain text; a newline is added."""
        return cls(code, "text/plain; charset=utf-8", body.encode() + b"\n")

    @classmethod
    def json(cls, body: Any) -> Response:
        """Return plain values as JSON, with status 200."""
        return cls(200, "application/json", json.dumps(body).encode())


Route: TypeAlias = Callable[[str], Response]
"""A route takes the Accept header and returns the response."""


@dataclass(frozen=True, slots=True)
class Protection:
    """TLS, access and bounds of the port.

    certificates      None: plain text
    access            what a request needs to be answered
    max_connections   maximum number of connections at once
    patience_seconds  time in which a client must send its request
    """

    certificates: Certificates | None = None
    access: Access = field(default_factory=Access)
    max_connections: int = 64
    patience_seconds: float = _PATIENCE_SECONDS

    @classmethod
    def of(cls, http: HttpSection) -> Protection:
        """Return what the [http] table asks for.

        Raises:
            ConfigError: A certificate or key cannot be used.
        """
        certificates = None
        if http.tls_certfile is not None:
            certificates = Certificates(TlsFiles.of_http(http), required=not http.open_probes)
        return cls(certificates, Access.of(http), http.max_connections)


class HttpServer:
    """Serves routes in a thread of its own, until it is closed.

    Args:
        host: Address to bind.
        port: Port to bind; 0 chooses a free one.
        routes: Path -> function that returns the response.
        protection: TLS, access and bounds; the default is plain text that anybody may read.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(
        self, host: str, port: int, routes: dict[str, Route], protection: Protection | None = None
    ) -> None:
        self._server = _Server(host, port, routes, protection or Protection())
        serve = partial(self._server.serve_forever, _LOOK_SECONDS)
        self._thread = threading.Thread(target=serve, name="http", daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """The bound address."""
        return str(self._server.server_address[0])

    @property
    def address(self) -> str:
        """The base URL."""
        scheme = "http" if self._server.protection.certificates is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self._server.server_address[1]}"

    @property
    def num_connections(self) -> int:
        """Number of connections that are open now."""
        return len(self._server.connections)

    def close(self) -> None:
        """Stop serving, and end all connections."""
        self._server.shutdown()
        self._server.server_close()
        self._server.connections.close()


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip.

    >>> takes_gzip("br, gzip;q=0.8"), takes_gzip("gzip;q=0"), takes_gzip("")
    (True, False, False)
    """
    for one in accept_encoding.lower().split(","):
        name, _, weight = one.replace(" ", "").partition(";q=")
        if name in ("gzip", "*"):
            return weight.strip("0.") != "" if weight else True
    return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, routes: dict[str, Route], protection: Protection) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.routes, self.protection = routes, protection
        self.connections = Connections(
            protection.max_connections, protection.patience_seconds, _ANSWER_SECONDS
        )
        self.refusals = Refusals()
        super().__init__((host, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and read nothing: its own thread does the TLS handshake."""
        connection, address = super().get_request()
        certificates = self.protection.certificates
        if certificates is None:
            return connection, address
        try:
            return certificates.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ), address
        except (OSError, ValueError):  # ValueError: the client has disconnected already
            connection.close()
            raise OSError("the client has disconnected") from None

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is room for this connection."""
        has_room, was_full = self.connections.admit(request)
        if was_full or not has_room:
            self.refusals.note("too_many_connections", str(client_address[0]))
        return has_room

    def service_actions(self) -> None:
        """End connections whose deadline has passed; the library calls this regularly."""
        self.connections.expire()

    def shutdown_request(self, request: Any) -> None:
        """Remove the connection before the library closes it."""
        self.connections.forget(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log errors of the server only. A client that disconnects, is slow or sends garbage is none."""
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            reason = "certificate_refused" if error.reason in _REFUSED else "handshake_failed"
            self.refusals.note(reason, str(client_address[0]))
        elif not isinstance(error, OSError):
            logger.error("a request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "streamgauge"
    sys_version = ""
    server: _Server

    def setup(self) -> None:
        """Do the TLS handshake in the thread of the connection; bound the size of requests."""
        self.request.settimeout(self.server.protection.patience_seconds)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()
        self.rfile = self._head = _Head(self.rfile)  # type: ignore[assignment]  # has the methods that are used

    def handle_one_request(self) -> None:
        """Answer one request of bounded size."""
        self._head.begin()
        try:
            super().handle_one_request()
        except LineTooLong:  # the request line; the library answers long headers itself
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            self.close_connection = True

    def do_GET(self) -> None:  # the library's name
        """Answer a GET or HEAD request."""
        if self.headers.defects:
            self.send_error(HTTPStatus.BAD_REQUEST)
            self.close_connection = True
            return
        self.server.connections.answer(self.request)
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # what follows is not the next request
        self._answer(*self._response())
        self.server.connections.wait(self.request)

    do_HEAD = do_GET  # noqa: N815  # the library's name

    def _response(self) -> tuple[Response, dict[str, str]]:
        path = self.path.partition("?")[0]
        authorization = self.headers.get("Authorization", "")
        refusal = self.server.protection.access.refusal(path, authorization, self._is_certified())
        if refusal is not None:
            return self._refused(refusal, tried=bool(authorization))
        route = self.server.routes.get(path)
        if route is None:
            return Response.text(404, "not found"), {}
        try:
            return route(self.headers.get("Accept", "")), {}
        except Exception:
            logger.exception("cannot answer %s", path)  # the path of a route of ours, not text of the client
            return Response.text(500, "failed; see the log"), {}

    def _refused(self, status: HTTPStatus, *, tried: bool) -> tuple[Response, dict[str, str]]:
        if status == HTTPStatus.FORBIDDEN:
            self.server.refusals.note("no_certificate", str(self.client_address[0]))
            return Response.text(status, "a client certificate is needed"), {}
        if tried:
            self.server.refusals.note("wrong_password", str(self.client_address[0]))
        challenge = {"WWW-Authenticate": CHALLENGE}
        return Response.text(status, "username and password are needed"), challenge

    def _is_certified(self) -> bool:
        return isinstance(self.request, ssl.SSLSocket) and bool(self.request.getpeercert(binary_form=True))

    def _answer(self, response: Response, headers: dict[str, str]) -> None:
        body = response.body
        self.send_response(response.code)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Vary", "Accept, Accept-Encoding")
        if len(body) >= _WORTH_BYTES and takes_gzip(self.headers.get("Accept-Encoding", "")):
            body = zlib.compress(body, _FAST, _GZIP)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (_HEADERS | headers).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        """Close the streams; a client that has disconnected is no error."""
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Log nothing: probes and scrapes come every few seconds."""


class _Head:
    """The stream of a client. Request line and headers together have a bounded number of bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = _HEAD_BYTES

    def begin(self) -> None:
        """Start to count the bytes of the next request."""
        self._left = _HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        """Read a line of the request.

        Raises:
            LineTooLong: The request line and headers are longer than allowed.
            ConnectionError: The request is incomplete. The library would treat it as complete.
        """
        line: bytes = self._stream.readline(min(limit, self._left + 1))
        is_first = self._left == _HEAD_BYTES
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("request head")
        if not line.endswith(b"\n") and (line or not is_first):
            raise ConnectionError("the client disconnected within a request")
        return line

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
