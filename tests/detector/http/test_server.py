"""The HTTP port: its routes, and hostile clients."""

from __future__ import annotations

import gzip
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from detector.http.compression import takes_gzip
from detector.http.messages import Response
from detector.http.server import HttpServer, listen
from detector.http.site import Site


@pytest.fixture
def server() -> Iterator[HttpServer]:
    routes = {
        "/healthz": lambda request: Response.text(200, "alive"),
        "/readyz": lambda request: Response.text(503, "waiting"),
        "/accept": lambda request: Response.text(200, request.accept),
        "/long": lambda request: Response.text(200, "streamgauge " * 1000),
    }
    server = HttpServer(listen("127.0.0.1", 0), Site.of(routes))
    yield server
    server.close()


def get(server: HttpServer, path: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(server.address + path, headers=headers), timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def connect(server: HttpServer) -> socket.socket:
    host, port = server.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_routes_answer_and_others_are_not_found(server: HttpServer) -> None:
    assert get(server, "/healthz") == (200, "alive\n")
    assert get(server, "/readyz?verbose=1") == (503, "waiting\n")
    assert get(server, "/accept", Accept="text/plain") == (200, "text/plain\n")
    assert get(server, "/../etc/passwd")[0] == 404


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("identity, GZIP ;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br, identity", False),
        ("", False),
        (";;,q=,gzip;q=rubbish", True),
    ],
)
def test_a_long_body_is_compressed_if_the_client_accepts_it(
    server: HttpServer, header: str, taken: bool
) -> None:
    assert takes_gzip(header) is taken
    asked = urllib.request.Request(server.address + "/long", headers={"Accept-Encoding": header})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        body = answer.read()
        assert (answer.headers["Content-Encoding"] == "gzip") is taken
        assert int(answer.headers["Content-Length"]) == len(body)
    assert (gzip.decompress(body) if taken else body) == b"streamgauge " * 1000 + b"\n"


def test_a_short_body_is_not_compressed(server: HttpServer) -> None:
    assert get(server, "/healthz", **{"Accept-Encoding": "gzip"}) == (200, "alive\n")


def test_silent_clients_block_no_other_client(server: HttpServer) -> None:
    silent = [connect(server) for _ in range(20)]
    assert get(server, "/healthz") == (200, "alive\n")
    for client in silent:
        client.close()


@pytest.mark.parametrize("garbage", [b"\xff\x00\r\n\r\n", b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"])
def test_garbage_gets_an_error_and_does_no_harm(server: HttpServer, garbage: bytes) -> None:
    with connect(server) as client:
        client.sendall(garbage)
        answer = client.recv(4096)
    assert b" 4" in answer.split(b"\r\n")[0]
    assert get(server, "/healthz") == (200, "alive\n")


def test_only_reading_is_allowed(server: HttpServer) -> None:
    with connect(server) as client:
        client.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        answer = client.recv(4096)
    assert b"405" in answer.split(b"\r\n")[0]
    assert b"Allow: GET, HEAD\r\n" in answer
