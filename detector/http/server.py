"""The HTTP server of daemon and explorer.

Each connection has a thread, so that a silent client blocks no other client. The number of connections, their
time, and the size of requests are bounded.
"""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

from detector.config.schema import HttpSection
from detector.config.tls_files import TlsFiles
from detector.http.access import Access, Refusals
from detector.http.certificates import Certificates
from detector.http.connections import Connections
from detector.http.handler import Handler
from detector.http.site import Site

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS, _ANSWER_SECONDS = 10.0, 60.0
_LOOK_SECONDS = 0.1
_BACKLOG = 64
_REFUSED = ("CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE")


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


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise
    return found


class HttpServer:
    """Serves a site in threads of its own, until it is closed.

    Args:
        listening: From `listen`; it is closed with the server.
        site: What it answers.
        protection: TLS, access and bounds; the default is plain text that anybody may read.
    """

    def __init__(self, listening: socket.socket, site: Site, protection: Protection | None = None) -> None:
        self._server = _Server(listening, site, protection or Protection())
        serve = partial(self._server.serve_forever, _LOOK_SECONDS)
        self._thread = threading.Thread(target=serve, name="http", daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """The bound address."""
        return str(self._server.server_address[0])

    @property
    def address(self) -> str:
        """The base URL, without a slash at its end."""
        scheme = "http" if self._server.certificates is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self._server.server_address[1]}"

    @property
    def num_connections(self) -> int:
        """Number of connections that are open now."""
        return len(self._server.connections)

    def close(self, grace_seconds: float = 0.0) -> None:
        """Stop serving, and end all connections; answers in progress have `grace_seconds` to finish."""
        self._server.shutdown()
        self._server.server_close()
        self._server.connections.close(grace_seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, site: Site, protection: Protection) -> None:
        self.address_family = listening.family
        self.site, self.access = site, protection.access
        self.certificates, self.patience_seconds = protection.certificates, protection.patience_seconds
        self.connections = Connections(
            protection.max_connections, protection.patience_seconds, _ANSWER_SECONDS
        )
        self.refusals = Refusals()
        super().__init__(listening.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and read nothing: its own thread does the TLS handshake."""
        connection, address = super().get_request()
        if self.certificates is None:
            return connection, address
        try:
            return self.certificates.context.wrap_socket(
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
        with suppress(OSError):
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log errors of the server only. A client that disconnects, is slow or sends garbage is none."""
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            reason = "certificate_refused" if error.reason in _REFUSED else "handshake_failed"
            self.refusals.note(reason, str(client_address[0]))
        elif not isinstance(error, OSError):
            logger.error("a request failed", exc_info=error)
