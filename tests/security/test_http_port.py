"""Hostile clients of the HTTP port: silent, slow, greedy, or with garbage, in plain text and TLS."""

from __future__ import annotations

import random
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from detector import probe
from detector.config.tls_files import TlsFiles
from detector.engine.engine import Engine
from detector.explore.source import source_of
from detector.explore.web.app import site_of
from detector.explore.web.serve import opened
from detector.http.certificates import Certificates
from detector.http.cross_site import MARKED
from detector.http.messages import Request, Response
from detector.http.policy import HEADERS
from detector.http.server import HttpServer, Protection, listen
from detector.http.site import Answer, Route, Site
from detector.metrics.recorder import Metrics
from detector.service.routes import Routes
from detector.service.turn_observer import TurnObserver
from tests.detector.explore.explored import ADA, START_NS, scores_of, write_backtest
from tests.security.http_client import connect, exchange, get, read_all, trusting, wait_for
from tests.support.artifacts import make_artifact
from tests.support.certificates import Authority
from tests.support.sources import FixedSources

MOST = 8
PATIENCE, IMPATIENCE = 60.0, 2.0
ALIVE = {"daemon": "/readyz", "explorer": "/api/v1/source"}
LARGE = b"x" * (16 << 20)  # more than the buffers of a connection hold


@dataclass
class Target:
    """A server with few connections, the context that its clients need, and its calls by path."""

    server: HttpServer
    context: ssl.SSLContext | None
    alive: str
    calls: Counter[str] = field(default_factory=Counter)

    def answers(self) -> bool:
        return get(self.server, self.alive, self.context)[0] == 200

    def exchange(self, sent: bytes) -> bytes:
        return exchange(self.server, sent, self.context)

    def connect(self) -> socket.socket:
        """Return a connection after its handshake."""
        raw = connect(self.server)
        return raw if self.context is None else self.context.wrap_socket(raw, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def applications(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """The sites of the daemon and of an explorer that the network may reach."""
    metrics = Metrics(Engine(make_artifact()), 10, "1", FixedSources(ready=True))
    names, times = np.repeat(np.array(["a"], dtype=object), 20), START_NS + np.arange(20) * 60 * 10**9
    out = tmp_path_factory.mktemp("explored") / "out"
    shown = opened(source_of(str(write_backtest(out, scores_of(names, times, 0, 0.0), []))), ADA)
    yield {"daemon": Routes(metrics, TurnObserver(metrics)).site(), "explorer": site_of(shown)}
    shown.close()


@pytest.fixture
def impatient() -> None:
    """Ask `target` for a server with a short patience."""


@pytest.fixture(params=["daemon", "explorer"])
def application(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["plain", "TLS"])
def target(
    request: pytest.FixtureRequest, authority: Authority, applications: dict[str, Site], application: str
) -> Iterator[Target]:
    """The whole application, whose calls are counted, and two more routes: a large answer, a broken one."""
    calls: Counter[str] = Counter()

    def counted(path: str, answer: Answer) -> Answer:
        def answered(request: Request) -> Response:
            calls[path] += 1
            return answer(request)

        return answered

    def broken(request: Request) -> Response:
        raise RuntimeError("the inner workings")

    site = applications[application]
    routes = [replace(one, answer=counted(one.path, one.answer)) for one in site.routes]
    routes.append(Route("/large", counted("/large", lambda request: Response(200, "text/plain", LARGE))))
    routes.append(Route("/broken", counted("/broken", broken)))
    certificates = context = None
    if request.param == "TLS":
        files = authority.issue("127.0.0.1")
        certificates = Certificates(
            TlsFiles("http", "tls_", str(files.certificate), str(files.key)), required=False
        )
        context = trusting(authority.file)
    patience = IMPATIENCE if "impatient" in request.fixturenames else PATIENCE
    protection = Protection(certificates, max_connections=MOST, patience_seconds=patience)
    server = HttpServer(listen("127.0.0.1", 0), replace(site, routes=routes), protection)
    yield Target(server, context, ALIVE[application], calls)
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
        client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
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
    assert target.calls == {target.alive: 1}


def test_many_slow_clients_block_no_other_client(target: Target) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            client = stack.enter_context(target.connect())
            client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert target.answers()


@pytest.mark.usefixtures("impatient")
def test_a_client_that_reads_nothing_is_ended(target: Target) -> None:
    with target.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: target.calls["/large"] == 1, "the request")
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
    assert target.calls == {target.alive: 1}


def test_requests_without_end_are_refused(target: Target) -> None:
    line = target.exchange(b"GET /" + b"a" * (17 << 10) + b" HTTP/1.1\r\n\r\n")
    header = target.exchange(b"GET / HTTP/1.1\r\nX-Large: " + b"a" * (17 << 10) + b"\r\n\r\n")
    headers = target.exchange(b"GET / HTTP/1.1\r\n" + b"X-Many: a\r\n" * 2_000 + b"\r\n")
    # Nothing at all: closed with so much unread that the answer was lost on its way.
    assert line.split(b"\r\n")[0][9:12] in (b"414", b"")
    assert header.split(b"\r\n")[0][9:12] in (b"431", b"")
    assert headers.split(b"\r\n")[0][9:12] in (b"431", b"")
    assert target.answers()
    assert target.calls == {target.alive: 1}


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
    known = method.isupper()
    assert answer.startswith(b"HTTP/1.1 405 " if known else b"HTTP/1.1 501 ")
    assert (b"\r\nAllow: GET, HEAD\r\n" in answer) is known
    assert target.calls == {}


def test_the_probe_finds_out_what_is_spoken(target: Target, capfd: pytest.CaptureFixture[str]) -> None:
    port = str(urlsplit(target.server.address).port)
    assert probe.main([target.alive, port]) == 0
    assert probe.main(["/broken", port]) == 1
    assert f"/broken of port {port}: status 500" in capfd.readouterr().err
    target.server.close()
    assert probe.main([target.alive, port]) == 1
    assert "refused" in capfd.readouterr().err


def test_head_has_no_body(target: Target) -> None:
    answer = target.exchange(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert re.search(rb"\r\nContent-Length: [1-9]\d+\r\n", answer)
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("framing", ["Content-Length: 33", "Transfer-Encoding: chunked"])
def test_a_body_is_not_taken_for_the_next_request(target: Target, framing: str) -> None:
    answer = target.exchange(f"GET / HTTP/1.1\r\n{framing}\r\n\r\nGET /large HTTP/1.1\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1") == 1
    assert target.calls == {"/": 1}


def test_a_failing_route_says_nothing_of_the_inner_workings(target: Target) -> None:
    code, body = get(target.server, "/broken", target.context)
    assert code == 500
    assert "inner workings" not in body
    assert target.answers()


def test_answers_tell_browsers_to_keep_to_themselves(target: Target) -> None:
    answer = target.exchange(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    errors = [target.exchange(b"\xff\r\n\r\n"), target.exchange(b"GET /none HTTP/1.0\r\n\r\n")]
    for one in (answer, *errors):
        for name, value in HEADERS.items():
            assert f"\r\n{name}: {value}\r\n".encode() in one
        assert b"\r\nServer: " not in one


def test_nobody_else_is_served_while_all_connections_are_being_answered() -> None:
    """A new connection does not interrupt an answer in progress either."""
    release, began = threading.Event(), threading.Semaphore(0)

    def slow(request: Request) -> Response:
        began.release()
        release.wait(60)
        return Response.text(200, "done")

    server = HttpServer(listen("127.0.0.1", 0), Site.of({"/slow": slow}), Protection(max_connections=4))
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
    site = Site.of({"/": lambda request: Response.text(200, "page")})
    server = HttpServer(listen("127.0.0.1", 0), site, Protection(Certificates(tls, required=False)))
    try:
        assert server.address.startswith("https://")
        assert b"page" not in exchange(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    finally:
        server.close()


def asked(framing: str, body: bytes = b"") -> bytes:
    """A request that the explorer would take, if its body were right."""
    lines = ["POST /api/v1/decisions HTTP/1.1", f"X-Streamgauge: {MARKED}", "Content-Type: application/json"]
    return "\r\n".join([*lines, "Connection: close", framing, "", ""]).encode() + body


@pytest.mark.parametrize("application", ["explorer"], indirect=True)
@pytest.mark.parametrize(
    ("framing", "status"),
    [
        ("Transfer-Encoding: chunked", b"411"),
        ("Content-Length: -1", b"411"),
        ("Content-Length: \u00b2", b"411"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", b"411"),
        ("Content-Length: 2\r\nContent-Length: 2", b"411"),
        ("Content-Length: 16385", b"413"),
        ("Content-Length: " + "9" * 5000, b"413"),
        ("Content-Length: 2", b"400"),
    ],
)
def test_a_body_that_cannot_be_right_is_refused(target: Target, framing: str, status: bytes) -> None:
    answer = target.exchange(asked(framing, b"{}"))
    assert answer[9:12] == status
    assert b"GET" not in answer
    assert target.answers()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("application", ["explorer"], indirect=True)
def test_a_body_that_comes_too_slowly_is_refused(target: Target) -> None:
    with target.connect() as client:
        client.sendall(asked("Content-Length: 1000"))
        client.settimeout(IMPATIENCE / 20)
        answer = b""

        def drip() -> bool:
            nonlocal answer
            try:
                client.sendall(b" ")
                answer += client.recv(4096)
            except TimeoutError:
                return False
            except OSError:
                return True
            return bool(answer)

        wait_for(drip, "the answer")
    assert answer[9:12] in (b"408", b"")
    assert target.answers()
    assert target.calls == {target.alive: 1}


@pytest.mark.parametrize("application", ["explorer"], indirect=True)
def test_many_slow_bodies_block_no_other_client(target: Target) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            client = stack.enter_context(target.connect())
            client.sendall(asked("Content-Length: 1000"))
        assert target.answers()


def test_requests_that_follow_each_other_at_once_are_answered_in_order(target: Target) -> None:
    head = f"GET {target.alive} HTTP/1.1\r\n"
    answer = target.exchange((3 * f"{head}\r\n" + f"{head}Connection: close\r\n\r\n").encode())
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert target.calls == {target.alive: 4}


def test_an_old_client_without_a_host_is_answered_and_closed(target: Target) -> None:
    answer = target.exchange(f"GET {target.alive} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_is_gone_in_the_middle_of_an_answer_does_no_harm(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with target.connect() as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000)
    wait_for(lambda: target.server.num_connections == 0, "the end of their threads")
    assert target.answers()
    assert caplog.records == []


def test_streams_end_with_the_server_and_leave_no_thread() -> None:
    """Thirty clients listen; the server waits for none of them for longer than its grace."""
    ended = threading.Event()

    class Ticks:
        def __iter__(self) -> Iterator[bytes]:
            while not ended.wait(0.01):
                yield b"data: 1\n\n"

        def close(self) -> None:
            closed.release()

    closed = threading.Semaphore(0)
    site = Site.of({"/events": lambda request: Response(200, "text/event-stream", stream=Ticks())})
    before = threading.active_count()
    with ExitStack() as stack:
        with closing(HttpServer(listen("127.0.0.1", 0), site)) as server:
            clients = [stack.enter_context(connect(server)) for _ in range(30)]
            for client in clients:
                client.sendall(b"GET /events HTTP/1.1\r\n\r\n")
                assert b"text/event-stream" in client.recv(4096)
        for client in clients:
            read_all(client)
            assert closed.acquire(timeout=60)
    wait_for(lambda: threading.active_count() <= before, "the end of the threads")
    ended.set()


def test_an_answer_in_progress_may_finish_within_the_grace() -> None:
    began, release = threading.Event(), threading.Event()

    def slow(request: Request) -> Response:
        began.set()
        release.wait(60)
        return Response.text(200, "done")

    server = HttpServer(listen("127.0.0.1", 0), Site.of({"/slow": slow}))
    with connect(server) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert began.wait(60)
        closer = threading.Thread(target=server.close, args=(60.0,))
        closer.start()
        release.set()
        assert read_all(client).endswith(b"done\n")
        closer.join()
