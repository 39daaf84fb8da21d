"""Routes of Alertmanager: the receiver of each alert, and inhibitions."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.monitoring.files import ALERTMANAGER, alert_names, alerts, output_of

CONFIG = yaml.safe_load(ALERTMANAGER.read_text())


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=StreamgaugeAnomaly severity=critical job=streamgauge series=pump-7", "on-call"),
        ("alertname=StreamgaugeAnomaly severity=warning job=streamgauge series=pump-7", "team"),
        ("alertname=StreamgaugeDown severity=critical job=streamgauge instance=a:9108", "on-call"),
        ("alertname=StreamgaugeDriftHigh severity=warning job=streamgauge", "team"),
        ("alertname=StreamgaugeModelStale severity=info job=streamgauge", "nobody"),
        ("alertname=Something", "team"),
    ],
)
def test_the_severity_of_an_alert_selects_its_receiver(labels: str, receiver: str) -> None:
    output = output_of("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels.split())
    assert output.split() == [receiver]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_critical_alerts_go_on_call_and_info_to_nobody(rule: dict[str, Any]) -> None:
    severity = rule["labels"]["severity"]
    labels = [f"alertname={rule['alert']}", f"severity={severity}", "job=streamgauge"]
    output = output_of("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert output.split() == [{"critical": "on-call", "warning": "team", "info": "nobody"}[severity]]


def test_inhibitions_name_alerts_that_exist() -> None:
    matchers = [
        matcher
        for rule in CONFIG["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
        if matcher.startswith("alertname")
    ]
    named = {name for matcher in matchers for name in matcher.split('"')[1].split("|")}
    assert named
    assert named <= set(alert_names())
