"""Secrets: from the environment or from files, and seen nowhere else."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

import streamgauge
from detector.artifact.registry import publish
from tests.security.http_client import fetch, login, trusting
from tests.security.secure_kafka import PASSWORD, USER, SecureKafka
from tests.support.artifacts import make_artifact
from tests.support.certificates import Authority
from tests.support.daemon import ROOT, running, wait_for
from tests.support.secrets import MARKER, leaks, planted

KAFKA, HTTP, KEY = PASSWORD, planted("http-password"), planted("key-password")
ENVIRONMENT = {
    "STREAMGAUGE_KAFKA__SASL_PASSWORD": KAFKA,
    "STREAMGAUGE_KAFKA__SSL_KEY_PASSWORD": KEY,
    "STREAMGAUGE_HTTP__PASSWORD": HTTP,
}
GOOD = '[model]\npath = "models/pump"\n[kafka]\ntopic = "readings"\n[http]\nusername = "ops"\n'
LOGIN = 'security_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_username = "me"'
OUTCOMES = {
    "fine": (GOOD, 0),
    "fine with a login": (
        GOOD.replace("[kafka]", f"[kafka]\n{LOGIN}"),
        0,
    ),
    "half a login": (GOOD.replace('username = "ops"', "port = 1"), 2),
    "half of another": (GOOD.replace("[kafka]", '[kafka]\nsecurity_protocol = "SASL_SSL"'), 2),
    "a wrong type": (GOOD.replace('"readings"', "5"), 2),
    "no section": ('[model]\npath = "x"\nkafka = 5\n', 2),
    "in the file": (GOOD.replace("[kafka]", f'[kafka]\nsasl_password = "{KAFKA}"'), 2),
    "in the file, elsewhere": (GOOD + f'password = "{HTTP}"\n', 2),
    "in the file, misspelt": (GOOD + f'pasword = "{HTTP}"\n', 2),
    "in the file, not quoted": (GOOD + f"password = {HTTP}\n", 2),
    "in the file, of the wrong type": (GOOD + f'password = ["{HTTP}"]\n', 2),
    "in a wrong section": (f'{GOOD}[kafak]\nsasl_password = "{KAFKA}"\n', 2),
}


@pytest.mark.parametrize("case", OUTCOMES)
@pytest.mark.parametrize("debug", ["", "1"], ids=["", "with tracebacks"])
def test_config_check_shows_no_secret(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    case: str,
    debug: str,
) -> None:
    text, code = OUTCOMES[case]
    path = tmp_path / "streamgauge.toml"
    path.write_text(text)
    for name, value in (ENVIRONMENT | {streamgauge.DEBUG_VARIABLE: debug}).items():
        monkeypatch.setenv(name, value)
    assert streamgauge.main(["config", "check", str(path)]) == code
    said = "".join(capfd.readouterr())
    assert str(path) in said or "STREAMGAUGE_" in said
    assert leaks(said.encode()) == []


@pytest.mark.parametrize("content", [f"{KAFKA}\xff".encode("latin-1"), b"\n"], ids=["not UTF-8", "empty"])
def test_a_damaged_file_of_a_secret_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "secret").write_bytes(content)
    path = tmp_path / "streamgauge.toml"
    path.write_text(GOOD.replace("[kafka]", f'[kafka]\nsasl_password_file = "{tmp_path / "secret"}"'))
    for name, value in (ENVIRONMENT | {streamgauge.DEBUG_VARIABLE: "1"}).items():
        monkeypatch.setenv(name, value)
    assert streamgauge.main(["config", "check", str(path)]) == 2
    said = "".join(capfd.readouterr())
    assert f"[kafka] sasl_password_file: {tmp_path / 'secret'}" in said
    assert leaks(said.encode()) == []


def test_a_running_daemon_shows_no_secret(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    """With every secret that it can have in use: not in its log, its pages, its metrics."""
    authority = Authority(tmp_path)
    own = authority.issue("127.0.0.1")
    publish(make_artifact(), tmp_path / "models" / "pump")
    server = secure_kafka.broker.address_of("LOGINTLS")
    locked = secure_kafka.authority.issue("locked.example.org", password=KEY.encode())
    config = f"""
[model]
path = "{tmp_path / "models" / "pump"}"
[kafka]
bootstrap_servers = ["{server}"]
topic = "nothing-yet"
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
sasl_username = "{USER}"
ssl_cafile = "{secure_kafka.authority.file}"
ssl_certfile = "{locked.certificate}"
ssl_keyfile = "{locked.key}"
[log]
level = "debug"
"""
    http = {
        "STREAMGAUGE_HTTP__USERNAME": "ops",
        "STREAMGAUGE_HTTP__TLS_CERTFILE": str(own.certificate),
        "STREAMGAUGE_HTTP__TLS_KEYFILE": str(own.key),
    }
    secure_kafka.create_topic("nothing-yet")
    context, right = trusting(authority.file), login("ops", HTTP)
    with running(config, tmp_path, ENVIRONMENT | http, prefix=()) as daemon:
        address = daemon.address.replace("http:", "https:")
        wait_for(
            lambda: fetch(address + "/readyz", context)[0] == 200 or daemon.process.poll() is not None,
            f"readiness; see {daemon.log}",
        )
        assert fetch(address + "/metrics", context, **login("ops", planted("wrong")))[0] == 401
        pages = [fetch(address + path, context, **right) for path in ("/", "/metrics", "/api/status")]
        assert daemon.terminate() == 0
    assert [code for code, _ in pages] == [200, 200, 200]
    assert leaks("".join(body for _, body in pages).encode()) == []
    events = [event["event"] for event in daemon.events()]
    assert {"started", "http clients refused", "stopped"} <= set(events)
    assert leaks(daemon.log.read_bytes()) == []


@pytest.mark.parametrize(
    "written",
    [
        KAFKA.encode(),
        b"Basic " + base64.b64encode(f"ops:{HTTP}".encode()),
        b"Basic " + base64.b64encode(f"me:{HTTP}".encode()),
        b"x" + base64.b64encode(b"\0user\0" + KAFKA.encode()),
    ],
)
def test_the_search_finds_a_secret_however_it_is_wrapped(written: bytes) -> None:
    assert leaks(b'{"event": "' + written + b'"}') == [MARKER]
    assert leaks(b'{"event": "nothing"}') == []


@pytest.mark.parametrize(("written", "code"), [("all is well", 0), (KAFKA, 1)])
def test_a_session_whose_daemons_logged_a_secret_fails(tmp_path: Path, written: str, code: int) -> None:
    log = tmp_path / "daemon.log"
    (tmp_path / "test_one.py").write_text(
        "from pathlib import Path\nfrom tests.support.secrets import remember\n"
        f"def test_one():\n    log = Path({str(log)!r})\n    remember(log)\n    log.write_text({written!r})\n"
    )
    environ = {name: value for name, value in os.environ.items() if "TEST_LOGS" not in name}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", os.devnull]
    outcome = subprocess.run(
        [*command, "--rootdir", tmp_path, tmp_path / "test_one.py"],
        cwd=ROOT,
        env=environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in outcome.stdout
    assert outcome.returncode == code, outcome.stdout
    assert ("a secret in a log" in outcome.stdout) == bool(code)
