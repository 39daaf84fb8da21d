"""The shipped rules: linted, executed case by case, each with a runbook and documented metrics."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.files import (
    ALERTMANAGER,
    CASES,
    PROMETHEUS,
    ROOT,
    RULES,
    RUNBOOK_BASE,
    RUNBOOKS,
    alert_names,
    alerts,
    metrics_in,
    need,
    output_of,
    recorded_in,
    rules,
)

METRICS = (ROOT / "docs/metrics.md").read_text()
DOCUMENTED = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS, re.MULTILINE))
OF_PROCESS = set(re.findall(r"`((?:process|python)_\w+)`", METRICS))


def texts_of(rule: dict[str, Any]) -> str:
    return "\n".join([rule["expr"], *rule.get("annotations", {}).values()])


def served() -> set[str]:
    """Return every name that a query may use: a histogram has three."""
    histograms = {name for name, kind in DOCUMENTED.items() if kind == "histogram"}
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    return (DOCUMENTED.keys() - histograms) | parts | OF_PROCESS


def cases_of(alert: str) -> list[dict[str, Any]]:
    path = CASES / f"{alert}.yml"
    assert path.exists(), f"{alert} has no cases: write {path.relative_to(ROOT)}"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["tests"]
    return found


def expectations(case: dict[str, Any]) -> list[bool]:
    """Return whether the alert is expected to fire, in the order of time."""
    return [bool(one["exp_alerts"]) for one in case["alert_rule_test"]]


def test_promtool_finds_nothing_to_lint() -> None:
    output_of("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_prometheus_and_alertmanager_accept_the_shipped_files() -> None:
    assert f"{len(RULES)} rule files found" in output_of("promtool", "check", "config", PROMETHEUS)
    output_of("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize("alert", alert_names())
def test_every_alert_behaves_as_in_its_cases(alert: str) -> None:
    output_of("promtool", "test", "rules", CASES / f"{alert}.yml")


@pytest.mark.parametrize("alert", alert_names())
def test_every_alert_has_cases_that_fire_that_resolve_and_that_nearly_fire(alert: str) -> None:
    cases = cases_of(alert)
    firing = [case for case in cases if "near miss" not in case["name"]]
    near = [case for case in cases if "near miss" in case["name"]]
    assert any(expectations(case)[-2:] == [True, False] for case in firing)
    assert near
    assert not any(any(expectations(case)) for case in near)
    assert {one["alertname"] for case in cases for one in case["alert_rule_test"]} == {alert}


def test_no_cases_are_left_of_removed_alerts() -> None:
    assert {path.stem for path in CASES.glob("*.yml")} == set(alert_names())


def with_expression(alert: str, expression: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run `promtool test rules` on the cases of the alert, with another expression for the alert."""
    names = []
    for path in RULES:
        document = yaml.safe_load(path.read_text())
        for group in document["groups"]:
            for rule in group["rules"]:
                if rule.get("alert") == alert:
                    rule.update(expr=expression)
        (directory / path.name).write_text(yaml.safe_dump(document))
        names.append(path.name)
    cases = yaml.safe_load((CASES / f"{alert}.yml").read_text())
    (directory / "cases.yml").write_text(yaml.safe_dump({**cases, "rule_files": names}))
    command = [need("promtool"), "test", "rules", str(directory / "cases.yml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("alert", ["StreamgaugeAnomaly", "StreamgaugeDown", "StreamgaugeLagStalled"])
def test_cases_notice_an_alert_that_never_fires_and_one_that_always_does(alert: str, tmp_path: Path) -> None:
    never = with_expression(alert, "vector(1) < 0", tmp_path)
    assert "got:[]" in never.stdout + never.stderr
    always = with_expression(alert, "vector(1)", tmp_path)
    assert "exp:[]" in always.stdout + always.stderr


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_has_a_severity_texts_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert {"summary", "description", "runbook_url"} <= rule["annotations"].keys()
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOK_BASE}{rule['alert']}.md"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alert_names())


@pytest.mark.parametrize("alert", alert_names())
def test_a_runbook_has_its_sections_commands_and_a_silence(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    parts = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(parts) == ["What it means", "What to check", "What to do", "How to silence it"]
    assert re.search(r"^    \S", parts["What to check"], re.MULTILINE)
    assert f"alertname={alert}" in parts["How to silence it"]


def test_rules_use_only_documented_metrics_and_recorded_series() -> None:
    text = "\n".join(map(texts_of, rules()))
    assert metrics_in(text) - served() == set()
    assert recorded_in(text) - {rule.get("record") for rule in rules()} == set()


@pytest.mark.parametrize("alert", alert_names())
def test_runbooks_query_only_existing_metrics(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text()
    queries = "\n".join(re.findall(r"^    promtool query .*$", text, re.MULTILINE))
    assert metrics_in(queries) - served() == set()
    assert recorded_in(queries) - {rule.get("record") for rule in rules()} == set()


def test_the_runbooks_move_with_one_command(tmp_path: Path) -> None:
    shipped = next(path for path in RULES if "alerts" in path.name)
    moved = tmp_path / "streamgauge-alerts.yml"
    moved.write_text(shipped.read_text())
    [command] = re.findall(r"^#\s+(sed -i .*)$", shipped.read_text(), re.MULTILINE)
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    found = [
        rule["annotations"]["runbook_url"]
        for group in yaml.safe_load(moved.read_text())["groups"]
        for rule in group["rules"]
    ]
    assert found == [f"https://wiki.example.com/streamgauge/{rule['alert']}.md" for rule in alerts()]
