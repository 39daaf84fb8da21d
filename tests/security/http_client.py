"""Clients of the HTTP port: normal ones, and a raw one that sends what no library would send."""

from __future__ import annotations

import base64
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from detector.http.server import HttpServer
from tests.support.certificates import Files

PATIENCE_SECONDS = 60.0  # a bound on hanging, not an expectation


def trusting(authority: Path, own: Files | None = None) -> ssl.SSLContext:
    """Return the TLS context of a client that trusts only this authority."""
    context = ssl.create_default_context(cafile=authority)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def login(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def get(
    server: HttpServer, path: str, context: ssl.SSLContext | None = None, **headers: str
) -> tuple[int, str]:
    """Return status and body. Raises OSError if there is no answer."""
    return _read(server.address + path, context, headers)


def fetch(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, str]:
    """Return status and body; status 0 while nothing listens."""
    try:
        return _read(url, context, headers)
    except OSError:
        return 0, ""


def _read(url: str, context: ssl.SSLContext | None, headers: dict[str, str]) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def connect(server: HttpServer) -> socket.socket:
    """Open a plain TCP connection."""
    place = urlsplit(server.address)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE_SECONDS)


def exchange(server: HttpServer, sent: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send these bytes; return the whole answer until the server closes."""
    with connect(server) as raw:
        client = raw if context is None else context.wrap_socket(raw, server_hostname="127.0.0.1")
        with client:
            try:
                client.sendall(sent)
                if context is None:
                    client.shutdown(socket.SHUT_WR)  # nothing more comes: it need not wait
                return read_all(client)
            except OSError:  # it closed with bytes of ours unread
                return b""


def read_all(client: socket.socket) -> bytes:
    """Return the bytes that arrive until the other side closes."""
    found = b""
    while True:
        try:
            piece = client.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            return found
        if not piece:
            return found
        found += piece


def wait_for(condition: object, what: str) -> None:
    """Return once `condition()` holds; fail after a generous bound."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s for {what}"
        time.sleep(0.02)
