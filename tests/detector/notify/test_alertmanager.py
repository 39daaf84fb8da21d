"""Alerts of a notifier, sent to a real Alertmanager."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.http_post import Poster
from detector.config.notify_schema import NotifySection
from detector.notify.notice import parse
from detector.notify.receivers import poster_of, receiver_of
from tests.detector.notify.notices import message
from tests.support.daemon import wait_for
from tests.support.kafka_broker import free_ports

PROGRAM = "prometheus-alertmanager"


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an Alertmanager for this module; yield its address."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    directory: Path = tmp_path_factory.mktemp("alertmanager")
    config = directory / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [PROGRAM, f"--config.file={config}", f"--storage.path={directory}", "--cluster.listen-address="]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        wait_for(lambda: active(url) is not None, f"Alertmanager; see {directory / 'log'}")
        yield url
    finally:
        process.kill()
        process.wait()


def active(url: str) -> list[dict[str, str]] | None:
    """Return the labels of the alerts that fire; None while Alertmanager does not answer."""
    with suppress(OSError), urllib.request.urlopen(f"{url}/api/v2/alerts?active=true", timeout=10) as answer:
        return [alert["labels"] for alert in json.load(answer)]
    return None


def section(url: str, **options: object) -> NotifySection:
    return NotifySection(name="am", kind="alertmanager", url=url, labels={"team": "water"}, **options)


def severities(url: str, series: str) -> list[str]:
    return [labels["severity"] for labels in active(url) or [] if labels["series"] == series]


def test_an_incident_fires_escalates_without_a_second_alert_and_resolves(alertmanager: str) -> None:
    made = section(alertmanager)
    receiver, poster = receiver_of(made), poster_of(made)
    changes = (
        ("opened", "warning", ["warning"]),
        ("escalated", "critical", ["critical"]),
        ("resolved", "critical", []),
    )
    for kind, severity, expected in changes:
        notice = parse(message(kind, "pump-7", severity=severity).value)
        for _ in range(2):  # a second delivery: the same alert
            answer = poster.post(*receiver.request(notice))
            assert answer.outcome == "delivered", answer.reason
            assert severities(alertmanager, "pump-7") == expected
        receiver.delivered(notice, time.time())
        for request in receiver.repeats():
            assert poster.post(*request).outcome == "delivered"
        assert severities(alertmanager, "pump-7") == expected


def test_labels_arrive_and_a_refused_message_is_not_retried(alertmanager: str) -> None:
    made = section(alertmanager)
    poster: Poster = poster_of(made)
    assert (
        poster.post(*receiver_of(made).request(parse(message("opened", "fan-1").value))).outcome
        == "delivered"
    )
    [labels] = [labels for labels in active(alertmanager) or [] if labels["series"] == "fan-1"]
    assert (labels["alertname"], labels["team"], labels["channel"]) == ("StreamgaugeAnomaly", "water", "flow")
    refused = poster.post(b'[{"labels": {}}]', {"Content-Type": "application/json"})
    assert refused.outcome == "refused"
