"""Access to the HTTP port: passwords, client certificates, their files, and warnings in the log."""

from __future__ import annotations

import logging
import shutil
import ssl
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config.load import load_config
from detector.config.schema import HttpSection
from detector.errors import ConfigError
from detector.http.access import Access, warn_of_exposure
from detector.http.messages import Response
from detector.http.server import HttpServer, Protection, listen
from detector.http.site import Answer, Site
from tests.security.http_client import exchange, get, login, trusting, wait_for
from tests.support.certificates import Authority, Files
from tests.support.secrets import planted

PASSWORD = planted("http-password")
ROUTES: dict[str, Answer] = {
    "/metrics": lambda request: Response.text(200, "metrics"),
    "/healthz": lambda request: Response.text(200, "alive"),
    "/readyz": lambda request: Response.text(200, "ready"),
}
GOOD = '[model]\npath = "models/pump"\n\n[kafka]\ntopic = "readings"\n'


def section(**values: object) -> HttpSection:
    return HttpSection.model_validate(values)


@pytest.fixture
def serve() -> Iterator[Callable[..., HttpServer]]:
    """Return a function that starts servers with this configuration."""
    servers: list[HttpServer] = []

    def start(**values: object) -> HttpServer:
        servers.append(HttpServer(listen("127.0.0.1", 0), Site.of(ROUTES), Protection.of(section(**values))))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("foreign"), "foreign")


@pytest.fixture(scope="module")
def own(authority: Authority) -> Files:
    return authority.issue("127.0.0.1")


def tls(own: Files, **more: object) -> dict[str, object]:
    return {"tls_certfile": str(own.certificate), "tls_keyfile": str(own.key), **more}


Serve = Callable[..., HttpServer]


def test_a_password_is_asked_for_and_probes_are_open(serve: Serve) -> None:
    server = serve(username="ops", password=PASSWORD)
    assert get(server, "/metrics")[0] == 401
    assert get(server, "/nothing")[0] == 401  # nobody learns what there is
    assert get(server, "/metrics", **login("ops", PASSWORD)) == (200, "metrics\n")
    assert get(server, "/nothing", **login("ops", PASSWORD))[0] == 404
    assert get(server, "/healthz") == (200, "alive\n")
    assert get(server, "/readyz") == (200, "ready\n")
    answer = exchange(server, b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b'WWW-Authenticate: Basic realm="streamgauge"' in answer


def test_probes_can_be_closed_too(serve: Serve) -> None:
    server = serve(username="ops", password=PASSWORD, open_probes=False)
    assert get(server, "/healthz")[0] == 401
    assert get(server, "/healthz", **login("ops", PASSWORD))[0] == 200


@pytest.mark.parametrize(
    ("username", "password"),
    [("ops", ""), ("ops", PASSWORD[:-1]), ("ops", PASSWORD + "x"), ("OPS", PASSWORD), ("", PASSWORD)],
)
def test_a_wrong_login_is_refused_and_not_repeated_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, username: str, password: str
) -> None:
    server = serve(username="ops", password=PASSWORD)
    for _ in range(3):
        assert get(server, "/metrics", **login(username, password))[0] == 401
    refusals = [record for record in caplog.records if record.message == "http clients refused"]
    assert [record.keys for record in refusals] == [{"last": "127.0.0.1", "wrong_password": 1}]
    assert PASSWORD[:-1] not in caplog.text


@given(st.text(max_size=60))
def test_no_authorization_but_the_right_one_is_taken(authorization: str) -> None:
    access = Access.of(section(username="ops", password=PASSWORD))
    assert access.refusal("/metrics", authorization, False) == 401
    assert access.refusal("/metrics", f"Basic {authorization}", False) == 401
    assert access.refusal("/metrics", login("ops", PASSWORD)["Authorization"], False) is None


def test_secrets_are_in_no_words_of_access() -> None:
    http = section(username="ops", password=PASSWORD)
    assert PASSWORD not in repr(http) + repr(Access.of(http)) + repr(Protection.of(http))


def test_https_is_spoken_and_its_certificate_holds(serve: Serve, authority: Authority, own: Files) -> None:
    server = serve(**tls(own, username="ops", password=PASSWORD))
    assert server.address.startswith("https://")
    assert get(server, "/metrics", trusting(authority.file), **login("ops", PASSWORD)) == (200, "metrics\n")
    assert get(server, "/metrics", trusting(authority.file))[0] == 401


def test_a_client_certificate_is_asked_for_and_probes_are_open(
    serve: Serve, authority: Authority, own: Files
) -> None:
    server = serve(**tls(own, tls_client_cafile=str(authority.file)))
    client = authority.issue("prometheus.example.org")
    assert get(server, "/metrics", trusting(authority.file, client)) == (200, "metrics\n")
    assert get(server, "/metrics", trusting(authority.file))[0] == 403
    assert get(server, "/healthz", trusting(authority.file)) == (200, "alive\n")


@pytest.mark.parametrize("open_probes", [True, False])
@pytest.mark.parametrize("bad", ["foreign", "expired"])
def test_a_bad_client_certificate_is_refused_everywhere(
    serve: Serve, authority: Authority, foreign: Authority, own: Files, open_probes: bool, bad: str
) -> None:
    server = serve(**tls(own, tls_client_cafile=str(authority.file), open_probes=open_probes))
    issuer = foreign if bad == "foreign" else authority
    client = issuer.issue(f"{bad}.example.org", expired=bad == "expired")
    for path in ("/metrics", "/healthz"):
        with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
            get(server, path, trusting(authority.file, client))
    assert get(server, "/metrics", trusting(authority.file, authority.issue("prometheus")))[0] == 200


def test_without_open_probes_no_client_without_a_certificate_gets_through_the_handshake(
    serve: Serve, authority: Authority, own: Files, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(**tls(own, tls_client_cafile=str(authority.file), open_probes=False))
    with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
        get(server, "/healthz", trusting(authority.file))
    wait_for(lambda: caplog.records, "the log")
    assert [record.keys for record in caplog.records] == [{"last": "127.0.0.1", "certificate_refused": 1}]


def put(source: Path, target: Path) -> None:
    """Replace a file as a renewal of certificates does."""
    shutil.copy(source, target.with_suffix(".new"))
    target.with_suffix(".new").replace(target)


def test_changed_certificates_are_taken_up_and_unusable_ones_are_not(
    serve: Serve, authority: Authority, foreign: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = authority.issue("127.0.0.1"), foreign.issue("127.0.0.1")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    put(first.certificate, certificate)
    put(first.key, key)
    with caplog.at_level(logging.INFO, logger="streamgauge"):
        server = serve(tls_certfile=str(certificate), tls_keyfile=str(key))
        assert get(server, "/healthz", trusting(authority.file))[0] == 200
        put(second.certificate, certificate)  # half of the change: the key is another's
        assert get(server, "/healthz", trusting(authority.file))[0] == 200
        put(second.key, key)
        assert get(server, "/healthz", trusting(foreign.file))[0] == 200
        with pytest.raises(urllib.error.URLError):
            get(server, "/healthz", trusting(authority.file))
    changes = [record.message for record in caplog.records if "changed" in record.message]
    assert changes == ["certificates not changed", "certificates changed"]


def problem(directory: Path, http: str = "", kafka: str = "", environ: dict[str, str] | None = None) -> str:
    path = directory / "streamgauge.toml"
    path.write_text(f"{GOOD}{kafka}\n[http]\n{http}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    return str(caught.value).replace(str(directory), "")


def test_files_that_cannot_be_used_are_errors_that_name_section_key_and_file(
    tmp_path: Path, authority: Authority, own: Files
) -> None:
    other, locked = authority.issue("other"), authority.issue("locked", password=b"hunter2")
    (tmp_path / "empty").write_text("")
    (tmp_path / "half").write_text(own.certificate.read_text()[:200])

    def told(certificate: object, key: object, authorities: object = authority.file) -> str:
        names = (("tls_certfile", certificate), ("tls_keyfile", key), ("tls_client_cafile", authorities))
        return problem(tmp_path, "\n".join(f'{name} = "{value}"' for name, value in names))

    assert "[http] tls_certfile: /nowhere: No such file" in told(tmp_path / "nowhere", own.key)
    assert f"[http] tls_keyfile: {other.key}: does not belong to the certificate in tls_certfile," in told(
        own.certificate, other.key
    )
    assert "[http] tls_keyfile: /empty: contains no private key in PEM" in told(
        own.certificate, tmp_path / "empty"
    )
    assert "[http] tls_certfile: /empty: contains no certificate in PEM" in told(tmp_path / "empty", own.key)
    assert "[http] tls_keyfile: " in told(tmp_path / "half", own.key)
    assert "the key is encrypted" in told(locked.certificate, locked.key)
    assert "[http] tls_client_cafile: /half: cannot be used" in told(
        own.certificate, own.key, tmp_path / "half"
    )
    assert "[http] tls_certfile: /: Is a directory" in told(f"{tmp_path}/", own.key)


def test_kafka_s_files_are_checked_as_well_and_all_problems_told_at_once(
    tmp_path: Path, authority: Authority, own: Files
) -> None:
    locked = authority.issue("locked", password=planted("key").encode())
    kafka = f'ssl_cafile = "{tmp_path}/nowhere"\n'
    found = problem(tmp_path, f'tls_certfile = "{own.certificate}"\ntls_keyfile = "/nothing"', kafka)
    assert "[kafka] ssl_cafile: /nowhere: No such file" in found
    assert "[http] tls_keyfile: /nothing: No such file" in found
    kafka = f'ssl_certfile = "{locked.certificate}"\nssl_keyfile = "{locked.key}"\n'
    assert "[kafka] ssl_keyfile: " in (found := problem(tmp_path, kafka=kafka))
    assert "the key is encrypted, and its password is missing or wrong" in found
    path = tmp_path / "streamgauge.toml"
    config = load_config(path, {"STREAMGAUGE_KAFKA__SSL_KEY_PASSWORD": planted("key")})
    assert planted("key") not in repr(config)


@pytest.mark.parametrize(
    ("http", "environ", "told"),
    [
        ('tls_certfile = "a.pem"', {}, "tls_certfile and tls_keyfile need each other"),
        ('tls_client_cafile = "a.pem"', {}, "tls_client_cafile needs tls_certfile and tls_keyfile"),
        ('username = "ops"', {}, "username and password need each other"),
        ("", {"STREAMGAUGE_HTTP__PASSWORD": PASSWORD}, "username and password need each other"),
        ('username = "o:ps"', {"STREAMGAUGE_HTTP__PASSWORD": PASSWORD}, "username must not contain a colon"),
        (f'username = "ops"\npassword = "{PASSWORD}"', {}, "STREAMGAUGE_HTTP__PASSWORD or name a file"),
        ('username = "ops"\npassword_file = "/dev/null"', {}, "[http] password_file: /dev/null: empty"),
    ],
)
def test_halves_of_a_protection_are_refused(
    tmp_path: Path, http: str, environ: dict[str, str], told: str
) -> None:
    found = problem(tmp_path, http, environ=environ)
    assert told in found
    assert "[http]" in found
    assert PASSWORD not in found


def test_a_login_to_kafka_without_its_parts_is_refused(tmp_path: Path) -> None:
    found = problem(tmp_path, kafka='security_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\n')
    assert "[kafka]: security_protocol SASL_SSL needs sasl_mechanism, sasl_username and a password" in found


@pytest.mark.parametrize(
    ("host", "values", "events"),
    [
        ("127.0.0.1", {}, []),
        ("::1", {}, []),
        ("0.0.0.0", {}, ["http is in plain text on the network", "http is open to the network"]),
        ("192.0.2.1", {"username": "ops", "password": "x"}, ["http is in plain text on the network"]),
        ("::", {"tls_certfile": "a", "tls_keyfile": "b"}, ["http is open to the network"]),
        ("::", {"tls_certfile": "a", "tls_keyfile": "b", "tls_client_cafile": "c"}, []),
    ],
)
def test_the_log_warns_of_a_port_that_others_can_reach(
    caplog: pytest.LogCaptureFixture, host: str, values: dict[str, object], events: list[str]
) -> None:
    warn_of_exposure(section(**values), host)
    assert [record.message for record in caplog.records] == events
    assert all("set [http] " in record.keys["remedy"] for record in caplog.records)


def test_a_client_that_does_not_trust_our_certificate_is_told_in_the_log(
    serve: Serve, foreign: Authority, own: Files, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(**tls(own))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(server, "/metrics", trusting(foreign.file))
    wait_for(lambda: caplog.records, "the log")
    assert [record.keys for record in caplog.records] == [{"last": "127.0.0.1", "handshake_failed": 1}]


def test_the_address_of_the_explorer_is_http_or_https_and_nothing_else(tmp_path: Path) -> None:
    for address in ("javascript:alert(1)", "gauge.example.org", 'https://x/"onclick="'):
        found = problem(tmp_path, f"explorer = '{address}'")
        assert "[http]: explorer must be an address such as https://gauge.example.org/" in found
    assert section(explorer="https://gauge.example.org/").explorer == "https://gauge.example.org/"
