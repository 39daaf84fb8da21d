"""Kafka over TLS and with logins: the daemon end to end, and its errors when Kafka refuses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.faults.cluster import Member, start
from tests.security.http_client import fetch
from tests.security.secure_kafka import PASSWORD, USER, SecureKafka
from tests.support.artifacts import make_artifact
from tests.support.certificates import Authority
from tests.support.daemon import PATIENCE_SECONDS, ROOT, read_all, running, wait_for
from tests.support.secrets import leaks, planted
from tests.support.strategies import readings_of

STARTUP_SECONDS = 400
NUM_ROWS = 30
PASSWORD_VARIABLE = "STREAMGAUGE_KAFKA__SASL_PASSWORD"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


@pytest.fixture
def topic(secure_kafka: SecureKafka) -> str:
    """A topic with readings of two series, written over the plain listener."""
    name = f"secure-{uuid.uuid4().hex[:8]}"
    bootstrap = secure_kafka.broker.bootstrap
    secure_kafka.create_topic(name, 2)
    series = np.tile(np.arange(2), NUM_ROWS)
    times = 1_700_000_000_000_000_000 + np.repeat(np.arange(NUM_ROWS), 2) * 10**9
    values = np.random.default_rng(0).standard_normal((2 * NUM_ROWS, 2))
    producer = Producer(Connection((bootstrap,)))
    producer.produce(encode(readings_of(series, times, values), ("flow", "pressure"), name))
    producer.close()
    return name


def configuration(
    entry: Path, server: str, topic: str, *, startup_seconds: int = STARTUP_SECONDS, **kafka: object
) -> str:
    lines = "\n".join(f"{key} = {json.dumps(str(value))}" for key, value in kafka.items())
    return (
        f'[model]\npath = "{entry}"\n[kafka]\nbootstrap_servers = ["{server}"]\ntopic = "{topic}"\n'
        f'group_id = "{topic}"\nstartup_timeout = "{startup_seconds}s"\n{lines}\n'
        f'[output]\nprefix = "out-{topic}"\n'
    )


def tls(kafka: SecureKafka) -> dict[str, object]:
    return {"security_protocol": "SSL", "ssl_cafile": kafka.authority.file}


def login(mechanism: str) -> dict[str, object]:
    return {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_username": USER}


def certified(kafka: SecureKafka) -> dict[str, object]:
    return {**tls(kafka), "ssl_certfile": kafka.client.certificate, "ssl_keyfile": kafka.client.key}


WAYS: dict[str, tuple[str, Callable[[SecureKafka], dict[str, object]]]] = {
    "TLS": ("TLS", tls),
    "mutual TLS": ("MUTUAL", certified),
    "PLAIN": ("LOGIN", lambda kafka: login("PLAIN")),
    "SCRAM-SHA-512": ("LOGIN", lambda kafka: login("SCRAM-SHA-512")),
    "TLS and PLAIN": (
        "LOGINTLS",
        lambda kafka: {**login("PLAIN"), **tls(kafka), "security_protocol": "SASL_SSL"},
    ),
    "TLS and SCRAM-SHA-256": (
        "LOGINTLS",
        lambda kafka: {**login("SCRAM-SHA-256"), **tls(kafka), "security_protocol": "SASL_SSL"},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_is_judged_end_to_end(
    entry: Path, secure_kafka: SecureKafka, topic: str, tmp_path: Path, way: str
) -> None:
    listener, settings = WAYS[way]
    server = secure_kafka.broker.address_of(listener)
    (tmp_path / "password").write_text(PASSWORD)
    given = settings(secure_kafka) | {"sasl_password_file": tmp_path / "password"}
    with forked(configuration(entry, server, topic, **given), tmp_path) as member:
        wait_for(lambda: member.events("started") or not member.is_alive, f"the start; see {member.log}")
        (started,) = member.events("started")
        status = started["http"] + "/api/status"
        wait_for(lambda: readings(status) == 2 * NUM_ROWS, f"all readings; see {member.log}")
        member.send(signal.SIGTERM)
        wait_for(lambda: not member.is_alive, f"the end; see {member.log}")
    assert started["delivery"] == "exactly_once"
    assert member.events("stopped")[0]["readings"] == 2 * NUM_ROWS
    scores = [json.loads(one.value) for one in read_all(secure_kafka.broker.bootstrap, f"out-{topic}.scores")]
    assert sum(len(body["timestamp"]) for body in scores) == 2 * (NUM_ROWS - 1)  # the newest are still open
    assert leaks(member.log.read_bytes()) == []


@contextmanager
def forked(config: str, directory: Path) -> Iterator[Member]:
    """A daemon while the context lasts, from a process that has imported everything."""
    path = directory / "streamgauge.toml"
    path.write_text(f"{config}\n[http]\nport = 0\n")
    member = Member(0, path, directory / "daemon.log")
    start(member)
    try:
        yield member
    finally:
        if member.is_alive:
            member.kill()


def readings(status: str) -> int:
    code, body = fetch(status)
    return json.loads(body)["readings"] if code == 200 else -1


def refused_to_record(directory: Path, server: str, password: str, **kafka: object) -> str:
    """The last words of `streamgauge record`, which logs in by the daemon's code and starts much sooner."""
    config = directory / "streamgauge.toml"
    config.write_text(configuration(directory, server, "readings", **kafka))
    command = [sys.executable, "-m", "streamgauge", "record", "--config", config, "--out", directory / "out"]
    environ = {**os.environ, PASSWORD_VARIABLE: password}
    outcome = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert outcome.returncode == 1
    assert leaks(outcome.stdout + outcome.stderr) == []
    return last_words(outcome.stderr.decode(), server)


def last_words(log: str, server: str) -> str:
    last = log.splitlines()[-1]
    assert last.startswith(f"streamgauge: error: {server}: it")
    assert "gave up" not in last  # at once, and not after the time that a cluster may take to come
    return last


def test_a_wrong_password_is_an_error_that_names_the_setting(
    entry: Path, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    server = secure_kafka.broker.address_of("LOGINTLS")
    settings = {**tls(secure_kafka), **login("SCRAM-SHA-256"), "security_protocol": "SASL_SSL"}
    config = configuration(entry, server, "readings", **settings)
    with running(config, tmp_path, {PASSWORD_VARIABLE: planted("wrong")}) as daemon:
        assert daemon.process.wait(STARTUP_SECONDS / 2) == 1  # long before it would give up waiting
    log = daemon.log.read_text()
    assert leaks(log.encode()) == []
    said = last_words(log, server)
    assert "refused our credentials: check [kafka] sasl_username and the password" in said


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (login("PLAIN"), "refused our credentials: check [kafka] sasl_username and the password"),
        (login("SCRAM-SHA-512") | {"sasl_username": "nobody"}, "refused our credentials"),
        (login("SCRAM-SHA-512"), "does not offer this way to log in: check [kafka] sasl_mechanism"),
    ],
    ids=["wrong password", "unknown user", "unknown mechanism"],
)
def test_a_login_that_is_refused_is_an_error_that_names_the_setting(
    secure_kafka: SecureKafka, tmp_path: Path, settings: dict[str, object], advice: str
) -> None:
    listener = "PLAINLOGIN" if "sasl_mechanism" in advice else "LOGIN"
    server = secure_kafka.broker.address_of(listener)
    assert advice in refused_to_record(tmp_path, server, planted("wrong"), **settings)


def test_a_broker_of_a_foreign_authority_is_refused_and_the_setting_named(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path, "foreign")
    server = secure_kafka.broker.address_of("TLS")
    said = refused_to_record(tmp_path, server, "", security_protocol="SSL", ssl_cafile=foreign.file)
    assert "not signed by an authority that we trust: check [kafka] ssl_cafile" in said


def test_a_broker_with_a_certificate_for_another_host_is_refused(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    server = secure_kafka.broker.address_of("MISNAMED")
    said = refused_to_record(tmp_path, server, "", **tls(secure_kafka))
    assert "its certificate is for another name" in said
    assert "[kafka] bootstrap_servers" in said


@pytest.mark.parametrize("shown", ["none", "foreign"])
def test_a_broker_that_wants_another_certificate_is_an_error_that_names_the_setting(
    secure_kafka: SecureKafka, tmp_path: Path, shown: str
) -> None:
    server, settings = secure_kafka.broker.address_of("MUTUAL"), tls(secure_kafka)
    if shown == "foreign":
        own = Authority(tmp_path, "foreign").issue("member.example.org")
        settings |= {"ssl_certfile": own.certificate, "ssl_keyfile": own.key}
    said = refused_to_record(tmp_path, server, "", **settings)
    assert "does not accept our certificate: check [kafka] ssl_certfile and ssl_keyfile" in said


def test_a_port_without_tls_is_an_error_that_names_the_setting(
    entry: Path, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    """It looks like a broker that is just going down, and is waited for as long as a cluster may take."""
    server = secure_kafka.broker.bootstrap
    config = configuration(entry, server, "readings", startup_seconds=2, **tls(secure_kafka))
    with forked(config, tmp_path) as member:
        wait_for(lambda: not member.is_alive, f"the end; see {member.log}")
    last = member.log.read_text().splitlines()[-1]
    assert "gave up after 2 s" in last
    assert "security_protocol (SSL) right?" in last
