"""deploy/grafana: the JSON is what its source makes, Grafana's schema reads it, Prometheus its queries."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.generate.__main__ import BOARDS
from detector.metrics.catalogue import BY_NAME
from detector.metrics.plant.sharing import BY_MODEL
from tests.dashboards.lint import RULES, excluded, violations
from tests.dashboards.prometheus_server import needed
from tests.dashboards.reading import (
    FILES,
    GRAFANA,
    ROOT,
    SELECTOR,
    Question,
    all_questions,
    board,
    panels,
    questions,
    variables,
)

OF_HISTOGRAMS = ("_bucket", "_sum", "_count")
by_name = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def metric_of(name: str) -> str:
    """The metric that a sample belongs to."""
    stem = re.sub("|".join(f"{end}$" for end in OF_HISTOGRAMS), "", name)
    return stem if stem in BY_NAME else name


def test_every_dashboard_has_a_source_and_every_source_its_dashboard() -> None:
    assert {path.name for path in FILES} == set(BOARDS)


@by_name
def test_the_json_is_what_the_source_makes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == BOARDS[path.name](), "run make dashboards-json"


@by_name
def test_the_sdk_reads_a_dashboard_and_writes_the_same(path: Path) -> None:
    """A key that Grafana's schema does not know would be lost on the way."""
    register_default_plugins()
    ours = board(path)
    again = json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(ours)), cls=JSONEncoder))
    for item in (*again["links"], *again["annotations"]["list"]):
        assert item.pop("placement") == "inControlsMenu"  # the SDK's constant, which we leave out
    assert again == ours


def test_the_round_trip_loses_a_key_that_the_schema_does_not_know() -> None:
    register_default_plugins()
    ours = board(FILES[0])
    ours["panels"][0]["descriptoin"] = "a typing error"
    assert "descriptoin" not in Dashboard.from_json(ours).to_json()["panels"][0].to_json()


def rules_of(asked: list[Question]) -> str:
    """Expressions as a file of recording rules."""
    rules = [
        {"record": f"dashboards:q{number}", "expr": question.filled()}
        for number, question in enumerate(asked)
    ]
    return yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]})


def promtool(tmp_path: Path, rules: str) -> subprocess.CompletedProcess[str]:
    program = needed("promtool")
    (tmp_path / "rules.yml").write_text(rules, encoding="utf-8")
    command = [program, "check", "rules", "--lint=none", str(tmp_path / "rules.yml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_promtool_accepts_every_expression(tmp_path: Path) -> None:
    asked = all_questions()
    outcome = promtool(tmp_path, rules_of(asked))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert f"{len(asked)} rules found" in outcome.stdout


def test_promtool_refuses_an_expression_that_is_none(tmp_path: Path) -> None:
    broken = Question("panel", "planted", "sum(rate(streamgauge_rows_total[$__rate_interval])")
    assert promtool(tmp_path, rules_of([broken])).returncode != 0


@pytest.mark.parametrize("question", all_questions(), ids=lambda question: question.where)
def test_only_documented_metrics_and_their_labels_are_asked_for(question: Question) -> None:
    document = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    found = list(SELECTOR.finditer(question.expr))
    assert found
    for name, matchers in (match.groups() for match in found):
        assert f"`{metric_of(name)}`" in document
        labels = set(re.findall(r"(\w+)=", matchers or ""))
        spec = BY_NAME.get(metric_of(name))
        assert labels <= {"job", "instance", *(spec.labels if spec else ())}
    # A label of a grouping or a legend belongs to one of the metrics at least.
    known = {"job", "instance", "le"}.union(*(BY_NAME[n].labels for n in names_of(question) if n in BY_NAME))
    known |= {"model"} if names_of(question) & BY_MODEL else set()
    grouped = re.findall(r"\b(?:by|ignoring|on) \(([^)]*)\)", question.expr)
    assert {label for group in grouped for label in group.split(", ")} <= known
    assert not question.label or question.label in known


def names_of(question: Question) -> set[str]:
    return {metric_of(match[1]) for match in SELECTOR.finditer(question.expr)}


def test_every_metric_is_shown_somewhere() -> None:
    shown = set().union(*map(names_of, all_questions()))
    assert set(BY_NAME) - shown == set()


@pytest.mark.parametrize("rule", RULES)
@by_name
def test_a_rule_of_the_linter_holds(rule: str, path: Path) -> None:
    assert violations(board(path), rule) == []


def _of_first_panel(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda of: change(panels(of)[0])


def _first_expr(expr: str) -> Callable[[dict[str, Any]], object]:
    return _of_first_panel(lambda panel: panel["targets"][0].update(expr=expr))


PLANTED: dict[str, Callable[[dict[str, Any]], object]] = {
    "template-datasource-rule": lambda of: variables(of, "datasource")[0].update(name="ds"),
    "template-job-rule": lambda of: variables(of)[0].update(allValue=".*"),
    "template-instance-rule": lambda of: variables(of)[1].update(name="host"),
    "template-on-time-change-reload-rule": lambda of: variables(of)[1].update(refresh=1),
    "template-uneditable-rule": lambda of: of.update(editable=True),
    "panel-datasource-rule": _of_first_panel(lambda panel: panel["datasource"].update(uid="prometheus")),
    "panel-title-description-rule": _of_first_panel(lambda panel: panel.pop("description")),
    "panel-units-rule": _of_first_panel(
        lambda panel: panel["fieldConfig"]["defaults"].update(unit="furlong")
    ),
    "panel-no-targets-rule": _of_first_panel(lambda panel: panel["targets"].clear()),
    "target-job-rule": _first_expr('streamgauge_ready{instance=~"$instance"}'),
    "target-instance-rule": _first_expr("streamgauge_ready"),
    "target-rate-interval-rule": _first_expr("sum(rate(streamgauge_rows_total[5m]))"),
    "target-counter-agg-rule": _first_expr("sum(streamgauge_rows_total)"),
    "panels-lie-side-by-side": _of_first_panel(lambda panel: panel["gridPos"].update(x=20)),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_linter_finds_a_planted_fault(rule: str) -> None:
    broken = board(GRAFANA / "dashboards/model.json")
    PLANTED[rule](broken)
    assert violations(broken, rule)


def test_what_is_excluded_from_a_rule_exists_and_needs_it() -> None:
    for rule in RULES:
        needed = {(of["title"], title) for of in map(board, FILES) for title, _ in RULES[rule](of)}
        assert excluded(rule) == needed


def test_links_lead_to_dashboards_that_exist_and_have_the_variable() -> None:
    boards = {of["uid"]: of for of in map(board, FILES)}
    found = [link for of in boards.values() for link in re.findall(r"/d/([\w-]+)\?([^\"]*)", json.dumps(of))]
    assert found
    for uid, query in found:
        names = {variable["name"] for variable in boards[uid]["templating"]["list"]}
        given = re.findall(r"var-(\w+)=", query) + re.findall(r"\$\{(\w+):queryparam\}", query)
        assert set(given) <= names
        assert "series" in given
    tags = {tag for of in boards.values() for link in of["links"] for tag in link["tags"]}
    assert all(tags <= set(of["tags"]) for of in boards.values())


def test_the_provisioned_data_source_is_the_one_that_dashboards_begin_with() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    for path in FILES:
        (variable,) = variables(board(path), "datasource")
        assert (variable["current"]["value"], variable["query"]) == (source["uid"], source["type"])


def test_dashboards_are_where_the_provider_looks_for_them() -> None:
    compose = ROOT / "deploy/compose.yml"
    if not compose.exists():
        pytest.skip("no deploy/compose.yml to compare with")
    volumes = yaml.safe_load(compose.read_text(encoding="utf-8"))["services"]["grafana"]["volumes"]
    mounted = dict(volume.split(":")[:2] for volume in volumes)
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/streamgauge.yml").read_text())[
        "providers"
    ]
    assert mounted["./grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"


def test_every_dashboard_asks_for_its_variables_in_turn() -> None:
    """What a variable's query names comes before it."""
    for of in map(board, FILES):
        before = {"datasource"}
        for variable in variables(of):
            assert set(re.findall(r"\$(\w+)", variable["query"]["query"])) <= before
            before.add(variable["name"])
        used = {name for question in questions(of) for name in re.findall(r"\$(\w+)", question.expr)}
        assert {name for name in used if not name.startswith("__")} <= before
