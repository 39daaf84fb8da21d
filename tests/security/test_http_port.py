"""Hostile clients of the HTTP port: silent, slow, greedy, or with garbage, in plain text and TLS."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from detector import probe
from detector.config.tls_files import TlsFiles
from detector.http.certificates import Certificates
from detector.http.server import HttpServer, Protection, Response, Route
from tests.security.http_client import connect, exchange, get, read_all, trusting, wait_for
from tests.support.certificates import Authority

MOST = 8
PATIENCE, IMPATIENCE = 60.0, 2.0
LARGE = b"x" * (16 << 20)  # more than the buffers of a connection hold


@dataclass
class Target:
    """A server with few connections, the context that its clients need, and its calls."""

    server: HttpServer
    context: ssl.SSLContext | None
    calls: Counter[str] = field(default_factory=Counter)

    def answers(self) -> bool:
        return get(self.server, "/healthz", self.context) == (200, "alive\n")

    def exchange(self, sent: bytes) -> bytes:
        return exchange(self.server, sent, self.context)

    def connect(self) -> socket.socket:
        """Return a connection after its handshake."""
        raw = connect(self.server)
        return raw if self.context is None else self.context.wrap_socket(raw, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def impatient() -> None:
    """Ask `target` for a server with a short patience."""


@pytest.fixture(params=["plain", "TLS"])
def target(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Target]:
    calls: Counter[str] = Counter()

    def counted(name: str, response: Callable[[], Response]) -> Route:
        def route(accept: str) -> Response:
            calls[name] += 1
            return response()

        return route

    def broken() -> Response:
        raise RuntimeError("the inner workings")

    routes = {
        "/": counted("page", lambda: Response(200, "text/html", b"<p>page")),
        "/healthz": counted("healthz", lambda: Response.text(200, "alive")),
        "/large": counted("large", lambda: Response(200, "text/plain", LARGE)),
        "/broken": counted("broken", broken),
    }
    certificates = context = None
    if request.param == "TLS":
        files = authority.issue("127.0.0.1")
        certificates = Certificates(
            TlsFiles("http", "tls_", str(files.certificate), str(files.key)), required=False
        )
        context = trusting(authority.file)
    patience = IMPATIENCE if "impatient" in request.fixturenames else PATIENCE
    protection = Protection(certificates, max_connections=MOST, patience_seconds=patience)
    server = HttpServer("127.0.0.1", 0, routes, protection)
    yield Target(server, context, calls)
    server.close()


def test_silent_clients_block_no_other_client_and_are_bounded(target: Target) -> None:
    with ExitStack() as stack:
        for _ in range(5 * MOST):  # before any handshake
            stack.enter_context(connect(target.server))
        assert target.answers()
        assert target.server.num_connections <= MOST


def test_silent_clients_after_the_handshake_block_no_other_client(target: Target) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            stack.enter_context(target.connect())
        assert target.answers()
        assert target.server.num_connections <= MOST


@pytest.mark.usefixtures("impatient")
def test_a_silent_client_is_ended(target: Target) -> None:
    with connect(target.server) as client:
        assert read_all(client) == b""
    wait_for(lambda: target.server.num_connections == 0, "the end of its thread")


@pytest.mark.usefixtures("impatient")
def test_a_client_that_sends_a_byte_now_and_then_is_ended(target: Target) -> None:
    """Each byte arrives within the timeout of a single read, but the request never ends."""
    with target.connect() as client:
        client.settimeout(IMPATIENCE / 20)
        client.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        ended = False

        def drip() -> bool:
            nonlocal ended
            try:
                client.sendall(b"a")
                ended = client.recv(1) == b""
            except TimeoutError:
                pass
            except OSError:  # reset, or the end of TLS
                ended = True
            return ended

        wait_for(drip, "the slow client's end")
    assert target.answers()
    assert target.calls["healthz"] == 1


def test_many_slow_clients_block_no_other_client(target: Target) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            client = stack.enter_context(target.connect())
            client.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        assert target.answers()


@pytest.mark.usefixtures("impatient")
def test_a_client_that_reads_nothing_is_ended(target: Target) -> None:
    with target.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: target.calls["large"] == 1, "the request")
        assert target.answers()
        wait_for(lambda: target.server.num_connections == 0, "the end of its thread")


def test_garbage_is_refused_and_does_no_harm(target: Target) -> None:
    rng = random.Random(0)
    starts = [b"", b"GET ", b"GET / HTTP/", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n", b"\r\n" * 50]
    for start in starts:
        sent = start + rng.randbytes(300) + b"\r\n\r\n"
        assert b" 200 " not in target.exchange(sent)
        assert b" 200 " not in exchange(target.server, sent)
    assert target.answers()
    assert target.calls == {"healthz": 1}


def test_requests_without_end_are_refused(target: Target) -> None:
    line = target.exchange(b"GET /" + b"a" * (17 << 10) + b" HTTP/1.1\r\n\r\n")
    header = target.exchange(b"GET / HTTP/1.1\r\nX-Large: " + b"a" * (17 << 10) + b"\r\n\r\n")
    headers = target.exchange(b"GET / HTTP/1.1\r\n" + b"X-Many: a\r\n" * 2_000 + b"\r\n")
    # Nothing at all: closed with so much unread that the answer was lost on its way.
    assert line.split(b"\r\n")[0][9:12] in (b"414", b"")
    assert header.split(b"\r\n")[0][9:12] in (b"431", b"")
    assert headers.split(b"\r\n")[0][9:12] in (b"431", b"")
    assert target.answers()
    assert target.calls == {"healthz": 1}


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/..\\..\\..\\etc\\passwd",
        "/metrics/../../etc/passwd",
        "//etc/passwd",
        "/static/....//....//etc/passwd",
        "file:///etc/passwd",
        "http://other.example/etc/passwd",
        "/etc/passwd%00.html",
        "/etc/passwd?a=/healthz",
    ],
)
def test_no_path_leads_to_a_file(target: Target, path: str) -> None:
    answer = target.exchange(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "__init__"]
)
def test_only_reading_is_allowed(target: Target, method: str) -> None:
    answer = target.exchange(f"{method} / HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert target.calls == {}


def test_the_probe_finds_out_what_is_spoken(target: Target, capfd: pytest.CaptureFixture[str]) -> None:
    port = str(urlsplit(target.server.address).port)
    assert probe.main(["/healthz", port]) == 0
    assert probe.main(["/broken", port]) == 1
    assert f"/broken of port {port}: status 500" in capfd.readouterr().err
    target.server.close()
    assert probe.main(["/healthz", port]) == 1
    assert "refused" in capfd.readouterr().err


def test_head_has_no_body(target: Target) -> None:
    answer = target.exchange(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("framing", ["Content-Length: 33", "Transfer-Encoding: chunked"])
def test_a_body_is_not_taken_for_the_next_request(target: Target, framing: str) -> None:
    answer = target.exchange(f"GET / HTTP/1.1\r\n{framing}\r\n\r\nGET /large HTTP/1.1\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1") == 1
    assert target.calls == {"page": 1}


def test_a_failing_route_says_nothing_of_the_inner_workings(target: Target) -> None:
    code, body = get(target.server, "/broken", target.context)
    assert code == 500
    assert "inner workings" not in body
    assert target.answers()


def test_answers_tell_browsers_to_keep_to_themselves(target: Target) -> None:
    answer = target.exchange(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    for header in (b"Content-Security-Policy: default-src 'none'", b"X-Content-Type-Options: nosniff"):
        assert header in answer


def test_nobody_else_is_served_while_all_connections_are_being_answered() -> None:
    """A new connection does not interrupt an answer in progress either."""
    release, began = threading.Event(), threading.Semaphore(0)

    def slow(accept: str) -> Response:
        began.release()
        release.wait(60)
        return Response.text(200, "done")

    routes: dict[str, Route] = {"/slow": slow}
    server = HttpServer("127.0.0.1", 0, routes, Protection(max_connections=4))
    try:
        clients = [connect(server) for _ in range(4)]
        for client in clients:
            client.sendall(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert began.acquire(timeout=60)
        assert exchange(server, b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n") == b""
        release.set()
        for client in clients:
            with client:
                assert read_all(client).endswith(b"done\n")
        wait_for(lambda: server.num_connections == 0, "room")
        assert get(server, "/slow") == (200, "done\n")
    finally:
        release.set()
        server.close()


def test_a_client_without_tls_gets_nothing_from_a_port_with_it(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("127.0.0.1")
    tls = TlsFiles("http", "tls_", str(files.certificate), str(files.key))
    routes: dict[str, Route] = {"/": lambda accept: Response.text(200, "page")}
    server = HttpServer("127.0.0.1", 0, routes, Protection(Certificates(tls, required=False)))
    try:
        assert server.address.startswith("https://")
        assert b"page" not in exchange(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    finally:
        server.close()
