"""The HTTP port: its routes, and hostile clients."""

from __future__ import annotations

import gzip
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from detector.engine.engine import Engine
from detector.http.server import HttpServer, Response, takes_gzip
from detector.http.status_page import Status
from detector.metrics.recorder import Metrics
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources


@pytest.fixture
def server() -> Iterator[HttpServer]:
    routes = {
        "/healthz": lambda accept: Response.text(200, "alive"),
        "/readyz": lambda accept: Response.text(503, "waiting"),
        "/accept": lambda accept: Response.text(200, accept),
        "/long": lambda accept: Response.text(200, "streamgauge " * 1000),
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
    assert b" 4" in answer.split(b"\r\n")[0] or answer.startswith(b"<!DOCTYPE")
    assert get(server, "/healthz") == (200, "alive\n")


def test_only_reading_is_allowed(server: HttpServer) -> None:
    with connect(server) as client:
        client.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"501" in client.recv(4096).split(b"\r\n")[0]


def test_the_status_page_escapes_names_from_outside() -> None:
    import dataclasses

    import numpy as np

    from tests.support.strategies import readings_of

    engine = Engine(make_artifact())
    readings = readings_of(np.zeros(12, int), np.arange(12) * 10**9, np.random.default_rng(0).random((12, 2)))
    engine.step(dataclasses.replace(readings, names=("<script>alert(1)</script>",)))
    metrics = Metrics(engine, 10, "1", FixedSources(ready=True))
    status = Status(metrics)
    page = status.page()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert json.loads(json.dumps(status.json()))["series"]["ok"] == 1


@pytest.mark.parametrize("is_readable", [True, False])
def test_the_status_page_says_where_decisions_have_no_effect(is_readable: bool) -> None:
    metrics = Metrics(Engine(make_artifact()), 10, "1", FixedSources(decisions_readable=is_readable))
    status = Status(metrics)
    assert status.json()["decisions_readable"] is is_readable
    assert ("accept, reject and mute have no effect" in status.page()) is not is_readable
    exposition = metrics.exposition("text/plain")[0].decode()
    assert f"\nstreamgauge_decisions_readable {float(is_readable)}\n" in exposition


def test_the_status_page_shows_incidents_lag_age_and_drift() -> None:
    import dataclasses
    import time

    import numpy as np

    from connectors.records import Batch
    from detector.engine.loop import Turn
    from tests.support.strategies import readings_of

    artifact = dataclasses.replace(make_artifact(threshold=1e-9), written_at=time.time() - 3 * 86400)
    engine = Engine(artifact)
    sources = FixedSources(lag={0: 4}, ready=True, lag_seconds={0: 7.25}, replaying=1)
    metrics = Metrics(engine, 10, "1", sources)
    status = Status(metrics)
    before = status.json()
    assert before["firing"] == []
    assert before["error_psi"] is None
    assert "Open incidents" not in status.page()
    readings = readings_of(np.zeros(12, int), np.arange(12) * 10**9, np.random.default_rng(0).random((12, 2)))
    readings = dataclasses.replace(readings, names=("<b>pump</b>",))
    metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
    found = json.loads(json.dumps(status.json()))
    (incident,) = engine.open_incidents
    assert [(one["id"], one["channel"]) for one in found["firing"]] == [
        (incident.id, incident.channels[0].name)
    ]
    assert (found["lag_seconds"], found["replaying"]) == (7.2, 1)
    assert found["model_age_seconds"] == pytest.approx(3 * 86400, abs=60)
    page = status.page()
    for words in ("Open incidents", "&lt;b&gt;pump", incident.channels[0].name, "seconds behind", "3.0 d"):
        assert words in page
    assert "<b>pump" not in page


def test_the_status_page_marks_the_incidents_that_last_and_has_their_ids() -> None:
    import dataclasses

    import numpy as np

    from connectors.records import Batch
    from detector.engine.engine import EngineOptions
    from detector.engine.loop import Turn
    from detector.incidents.rules import IncidentRules
    from tests.support.strategies import readings_of

    engine = Engine(
        make_artifact(threshold=1e-9), EngineOptions(rules=IncidentRules(lasting_after_ns=10 * 10**9))
    )
    metrics = Metrics(engine, 10, "1", FixedSources(ready=True))
    values, pages = np.random.default_rng(0).random((40, 2)), []
    for rows in (slice(0, 12), slice(12, 40)):
        at = np.arange(40)[rows]
        readings = readings_of(np.zeros(len(at), int), at * 10**9, values[rows])
        readings = dataclasses.replace(readings, names=("pump",))
        metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
        pages.append(Status(metrics).page())
    (incident,) = engine.open_incidents
    assert all(f"<td>{incident.id}" in page for page in pages)
    assert ["lasts</span>" in page for page in pages] == [False, True]
    assert Status(metrics).json()["firing"][0]["lasting_since_ms"] == incident.lasting_ns // 1_000_000
    assert "alarm above score 1" not in pages[1]


def test_the_status_page_has_times_to_the_second_and_scrolls_wide_tables_on_a_phone() -> None:
    import re

    import numpy as np

    from connectors.records import Batch
    from detector.engine.loop import Turn
    from tests.support.strategies import readings_of

    engine = Engine(make_artifact(threshold=1e-9))
    metrics = Metrics(engine, 10, "1", FixedSources(ready=True))
    readings = readings_of(np.zeros(12, int), np.arange(12) * 10**9, np.random.default_rng(0).random((12, 2)))
    metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
    page = Status(metrics).page()
    times = re.findall(r"<td>(\d{4}-[^<]*)", page)
    assert times, "since when incidents are open, and the newest rows"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", one) for one in times)
    assert page.count("(UTC)") == 2
    assert "@media (max-width: 40rem) { table { display: block; overflow-x: auto; }" in page
