"""The HTTP side: metrics, probes, the status page. One thread a connection, so that a silent client
keeps nobody waiting; idle connections are closed."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

_IDLE_SECONDS = 10.0
_WORTH_BYTES = 1024
_FAST, _GZIP = 1, 31
"""Of `zlib.compress`: the level, and the size of the window that means gzip's header."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status code, content type and body."""

    code: int
    content_type: str
    body: bytes

    @classmethod
    def text(cls, code: int, body: str) -> Response:
        return cls(code, "text/plain; charset=utf-8", body.encode() + b"\n")

    @classmethod
    def json(cls, body: Any) -> Response:
        return cls(200, "application/json", json.dumps(body).encode())


Route: TypeAlias = Callable[[str], Response]
"""A route takes the Accept header and answers."""


class HttpServer:
    """Serves `routes` (path -> answer) until closed. Raises OSError where the address cannot be bound."""

    def __init__(self, host: str, port: int, routes: dict[str, Route]) -> None:
        self._server = _Server((host, port), _handler(routes))
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The base URL."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip.

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


def _handler(routes: dict[str, Route]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _IDLE_SECONDS
        protocol_version = "HTTP/1.1"
        server_version = "streamgauge"
        sys_version = ""

        def do_GET(self) -> None:  # the library's name
            route = routes.get(self.path.partition("?")[0])
            accept = self.headers.get("Accept", "")
            self._answer(route(accept) if route else Response.text(404, "not found"))

        do_HEAD = do_GET  # noqa: N815  # the library's name

        def _answer(self, response: Response) -> None:
            body = response.body
            self.send_response(response.code)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Vary", "Accept, Accept-Encoding")
            if len(body) >= _WORTH_BYTES and takes_gzip(self.headers.get("Accept-Encoding", "")):
                body = zlib.compress(body, _FAST, _GZIP)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
            """Probes and scrapes come every few seconds: not logged."""

    return Handler
