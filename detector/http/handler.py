"""One connection: its handshake, its requests of bounded size, and what is written back."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from http.client import HTTPMessage, LineTooLong
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from detector.http.access import Access, Refusals
from detector.http.compression import compressed
from detector.http.connections import Connections
from detector.http.cross_site import MOST_BYTES, too_large
from detector.http.messages import Request, Response, status_words
from detector.http.policy import HEADERS
from detector.http.site import Site
from detector.login import CHALLENGE

_HEAD_BYTES = 16 << 10
_LEFT_BYTES, _LEFT_SECONDS = 64 << 10, 0.5
"""Bounds of the rest of a refused request that is read, so that the client can read the answer."""


class Serving(Protocol):
    """What a connection needs of its server."""

    site: Site
    access: Access
    patience_seconds: float
    connections: Connections
    refusals: Refusals


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection, one after the other, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes
    server: Any
    headers: HTTPMessage

    def setup(self) -> None:
        """Do the TLS handshake in the thread of the connection; bound the size of requests."""
        self.serving: Serving = self.server
        self.request.settimeout(self.serving.patience_seconds)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()
        self.rfile = self._head = _Head(self.rfile)  # type: ignore[assignment]  # has the methods that are used

    def handle_one_request(self) -> None:
        """Answer one request of bounded size."""
        self._head.begin()
        self.headers = HTTPMessage()
        try:
            super().handle_one_request()
        except LineTooLong:  # the request line; the library answers long headers itself
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)

    def do_GET(self) -> None:  # the library's name
        """Answer a request of any known method."""
        if self.headers.defects:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        sends_body = bool(self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"))
        response = self._response()
        if sends_body and not self._head.has_read_body:
            self.close_connection = True  # what follows is not the next request
        self.serving.connections.answer(self.request)
        self._write(response)
        self.serving.connections.wait(self.request)  # what is left may be cut off for another client
        if sends_body and self.close_connection:
            self._read_the_rest()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = do_GET  # noqa: N815

    def _response(self) -> Response:
        """Return the answer. Only a route that takes a body lets it be read."""
        target, _, query = self.path.partition("?")
        path = unquote(target)
        refused = self._refusal(path)
        if refused is not None:
            return refused
        pairs = tuple(parse_qsl(query, keep_blank_values=True))
        request = Request(self.command, path, pairs, self.headers)
        site = self.serving.site
        found = site.route(request)
        if isinstance(found, Response):
            return found
        route, parts = found
        body = self._body() if route.method == "POST" else b""
        if isinstance(body, Response):
            return body
        self.serving.connections.answer(self.request)
        return site.answer(route, replace(request, parts=parts, body=body))

    def _refusal(self, path: str) -> Response | None:
        """Return the answer to a client that may not ask; None if it may."""
        given = self.headers.get_all("Authorization") or []
        authorization = given[0] if len(given) == 1 else ""
        status = self.serving.access.refusal(path, authorization, self._is_certified())
        if status is None:
            return None
        if status == HTTPStatus.FORBIDDEN:
            self.serving.refusals.note("no_certificate", str(self.client_address[0]))
            return self.serving.site.words(status, "a client certificate is needed")
        if given:
            self.serving.refusals.note("wrong_password", str(self.client_address[0]))
        told = self.serving.site.words(status, "username and password are needed")
        return replace(told, headers={"WWW-Authenticate": CHALLENGE})

    def _is_certified(self) -> bool:
        return isinstance(self.request, ssl.SSLSocket) and bool(self.request.getpeercert(binary_form=True))

    def _body(self) -> bytes | Response:
        """Return the body, or the answer that refuses it: too large, too slow, or of no known length."""
        words = self.serving.site.words
        lengths = self.headers.get_all("Content-Length") or []
        length = lengths[0] if len(lengths) == 1 else ""
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdecimal()):
            return words(411, "the body needs one `Content-Length`, and no `Transfer-Encoding`")
        if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            return words(*too_large())
        patience = self.serving.patience_seconds
        self.serving.connections.read_on(self.request, 2 * patience)
        deadline = time.monotonic() + patience
        try:
            return self._head.body(int(length), self.request, deadline)
        except TimeoutError:
            return words(408, "the body did not arrive in time")
        finally:
            self.request.settimeout(patience)

    def _write(self, response: Response) -> None:
        body, is_gzip = response.body, None
        if response.stream is None:
            is_gzip = compressed(body, self.headers.get("Accept-Encoding", ""))
            body = body if is_gzip is None else is_gzip
        else:
            self.close_connection = True
        self.serving.connections.go_on(self.request)
        self.send_response_only(response.code)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", response.content_type)
        self.send_header("Vary", "Accept, Accept-Encoding")
        if is_gzip is not None:
            self.send_header("Content-Encoding", "gzip")
        if response.stream is None and response.code != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        for name, value in ({"Cache-Control": "no-store"} | HEADERS | dict(response.headers)).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            if self.command != "HEAD":
                self._write_body(body, response)
        finally:
            if response.stream is not None:
                response.stream.close()

    def _write_body(self, body: bytes, response: Response) -> None:
        """Write the body, or each piece of a stream: every piece has the time of a whole answer."""
        if response.stream is None:
            self.wfile.write(body)
            return
        for piece in response.stream:
            self.serving.connections.go_on(self.request)
            self.wfile.write(piece)

    def _read_the_rest(self) -> None:
        """Read a little of what the client still sends: closing with bytes unread can lose the answer."""
        with suppress(OSError, ValueError):
            self.request.settimeout(_LEFT_SECONDS)
            self._head.drop(_LEFT_BYTES)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that is no HTTP, or too large; the answer is like all others."""
        self.close_connection = True
        self.request_version = self.protocol_version  # without a version the library would send no status
        self.serving.connections.answer(self.request)
        self._write(self.serving.site.words(code, status_words(code)))

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
        self.has_read_body = False

    def begin(self) -> None:
        """Start to count the bytes of the next request."""
        self._left, self.has_read_body = _HEAD_BYTES, False

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

    def body(self, length: int, connection: Any, deadline: float) -> bytes:
        """Read a body of this length. Raises TimeoutError after the deadline, ConnectionError if it ends."""
        found = b""
        while len(found) < length:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            piece = self._stream.read1(length - len(found))
            if not piece:
                raise ConnectionError("the client disconnected within a body")
            found += piece
        self.has_read_body = True
        return found

    def drop(self, most: int) -> None:
        """Read and forget bytes until the client stops, or `most` have come."""
        while most > 0 and (piece := self._stream.read1(most)):
            most -= len(piece)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
