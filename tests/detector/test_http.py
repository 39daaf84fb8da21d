"""The HTTP port: its routes, and clients that mean no good."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from detector.engine import Engine
from detector.http import HttpServer, Response
from detector.metrics import Metrics, Sources
from detector.status import Status
from tests.artifacts import make_artifact


@pytest.fixture
def server() -> Iterator[HttpServer]:
    routes = {
        "/healthz": lambda accept: Response.text(200, "alive"),
        "/readyz": lambda accept: Response.text(503, "waiting"),
        "/accept": lambda accept: Response.text(200, accept),
    }
    server = HttpServer("127.0.0.1", 0, routes)
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


def test_silent_clients_keep_nobody_waiting(server: HttpServer) -> None:
    silent = [connect(server) for _ in range(20)]
    assert get(server, "/healthz") == (200, "alive\n")
    for client in silent:
        client.close()


@pytest.mark.parametrize("garbage", [b"\xff\x00\r\n\r\n", b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"])
def test_garbage_is_answered_with_an_error_and_does_no_harm(server: HttpServer, garbage: bytes) -> None:
    with connect(server) as client:
        client.sendall(garbage)
        answer = client.recv(4096)
    assert b" 4" in answer.split(b"\r\n")[0] or answer.startswith(b"<!DOCTYPE")
    assert get(server, "/healthz") == (200, "alive\n")


def test_only_reading_is_allowed(server: HttpServer) -> None:
    with connect(server) as client:
        client.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"501" in client.recv(4096).split(b"\r\n")[0]


def test_the_status_page_escapes_what_comes_from_outside() -> None:
    import dataclasses

    import numpy as np

    from tests.strategies import readings_of

    engine = Engine(make_artifact())
    readings = readings_of(np.zeros(12, int), np.arange(12) * 10**9, np.random.default_rng(0).random((12, 2)))
    engine.step(dataclasses.replace(readings, names=("<script>alert(1)</script>",)))
    metrics = Metrics(engine, 10, "1", Sources(dict, int, lambda: True))
    status = Status(metrics)
    page = status.page()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert json.loads(json.dumps(status.json()))["series"]["ok"] == 1
