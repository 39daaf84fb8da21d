"""One POST: what comes of it for every answer, and that no secret is ever said."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from connectors.errors import EndpointError
from connectors.http_post import Endpoint, Poster, basic_auth
from tests.support.receiver import Receiver, Reply, receiving

SECRET = "T0KEN-hunter2"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def poster(receiver: Receiver, **options: object) -> Poster:
    return Poster(Endpoint(f"{receiver.url}/services/{SECRET}?sig={SECRET}", **options))


def test_body_path_query_and_headers_arrive(receiver: Receiver) -> None:
    answer = poster(receiver, headers={"Authorization": f"Bearer {SECRET}"}).post(b"{}", {"X-More": "1"})
    assert answer.outcome == "delivered"
    got = receiver.got[0]
    assert (got.path, got.body) == (f"/services/{SECRET}?sig={SECRET}", b"{}")
    assert (got.headers["authorization"], got.headers["x-more"]) == (f"Bearer {SECRET}", "1")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (202, "delivered"), (204, "delivered")]
    + [(code, "again") for code in (500, 502, 503, 504, 408, 429, 401, 403, 404)]
    + [(code, "refused") for code in (301, 307, 400, 405, 410, 413, 422)],
)
def test_a_status_says_whether_another_attempt_makes_sense(
    receiver: Receiver, status: int, outcome: str
) -> None:
    receiver.answer = lambda _: Reply(status, headers={"Location": "/elsewhere"})
    assert poster(receiver).post(b"{}").outcome == outcome
    assert len(receiver.got) == 1  # neither retried nor redirected here


def test_a_retry_after_is_taken_as_a_number_or_a_date_within_reason(receiver: Receiver) -> None:
    for asked, at_least, at_most in (
        ("7", 7, 7),
        (formatdate(time.time() + 100, usegmt=True), 90, 100),
        ("99999999", 3600, 3600),
        ("soon", 0, 0),
        ("-5", 0, 0),
    ):
        receiver.answer = lambda _, asked=asked: Reply(503, headers={"Retry-After": asked})
        assert at_least <= poster(receiver).post(b"{}").wait_seconds <= at_most, asked


def test_an_answer_that_repeats_our_secrets_is_quoted_without_them(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda got: Reply(400, f"Cannot POST {got.path}\n{got.headers}".encode())
    made = Poster(
        Endpoint(f"{receiver.url}/{SECRET}", {"Authorization": basic_auth("us", SECRET)}), (SECRET,)
    )
    answer = made.post(b"{}")
    assert "Cannot POST" in answer.reason
    assert "***" in answer.reason
    for told in (answer.reason, repr(made), repr(Endpoint(f"{receiver.url}/{SECRET}")), caplog.text):
        assert SECRET not in told
        assert basic_auth("us", SECRET).split()[1] not in told


@pytest.mark.parametrize(
    "garbage",
    [b"", b"HTTP/1.1 200 OK\r\n: broken\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000],
    ids=["nothing", "bad header", "zeros", "endless header"],
)
def test_garbage_is_an_answer_and_not_an_error(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(garbage)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}"
        answer = Poster(Endpoint(url, timeout_seconds=10)).post(b"{}")
        thread.join()
    assert answer.outcome in {"again", "delivered"}
    assert SECRET not in answer.reason + caplog.text


def test_nobody_listening_and_nobody_answering_are_reasons_to_try_again(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    answer = Poster(Endpoint(f"http://127.0.0.1:{port}/{SECRET}")).post(b"{}")
    assert answer.outcome == "again"
    assert "refused" in answer.reason
    assert SECRET not in answer.reason
    receiver.answer = lambda _: Reply(hang=True)
    answer = poster(receiver, timeout_seconds=0.2).post(b"{}")
    assert (answer.outcome, answer.reason) == ("again", f"{receiver.url}: no answer in time")
    answer = Poster(Endpoint("http://no-such-host.invalid/")).post(b"{}")
    assert answer.outcome == "again"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    command = ["openssl", "req", "-x509", "-days", "2", *key, "-out", f"{path}.crt", *subject]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_tls_trusts_the_given_authority_and_shows_our_certificate(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    with receiving(tls=context) as receiver:
        ours = {"ssl_cafile": str(certificate), "ssl_certfile": str(certificate)}
        assert Poster(Endpoint(receiver.url, **ours)).post(b"{}").outcome == "delivered"
        stranger = Poster(Endpoint(receiver.url)).post(b"{}")
        assert stranger.outcome == "again"
        assert "certificate" in stranger.reason.lower()
        without = Poster(Endpoint(receiver.url, ssl_cafile=str(certificate))).post(b"{}")
        assert without.outcome == "again"


@pytest.mark.parametrize(
    "url",
    ["", "ftp://host/", "host:9093", "http://", "http://host:port/", "http://[::1/", "file:///etc/passwd"],
)
def test_a_url_that_cannot_be_is_refused_at_once_and_not_repeated(url: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Poster(Endpoint(f"{url}{SECRET}" if url.endswith("st/") else url))
    assert SECRET not in str(caught.value)


def test_a_missing_authority_file_is_named() -> None:
    with pytest.raises(EndpointError, match="/nowhere"):
        Poster(Endpoint("https://host/", ssl_cafile="/nowhere"))
