"""Dashboards as the tests read them: what Grafana would ask Prometheus, and of which panel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy/grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
LABEL_VALUES = re.compile(r"label_values\((.*), *(\w+)\)")
SELECTOR = re.compile(r"\b((?:streamgauge|process|python)_\w+)(?:\{([^}]*)\})?")
PLAIN = {
    "__rate_interval": "1m",
    "__range": "1h",
    "__interval": "15s",
    "job": ".+",
    "instance": ".+",
    "series": "pump-1",
    "channel": ".+",
}
"""What Grafana may put in the place of variables."""

Kind = Literal["panel", "variable", "annotation"]


@dataclass(frozen=True, slots=True)
class Question:
    """One expression: of a panel, a variable (whose `label` is asked for) or an annotation."""

    kind: Kind
    where: str
    expr: str
    now: bool = False
    label: str = ""

    def filled(self, values: Mapping[str, str] = PLAIN) -> str:
        """The expression as Grafana would send it."""
        return re.sub(r"\$(\w+)", lambda match: values[match.group(1)], self.expr)


def board(path: Path) -> dict[str, Any]:
    """The dashboard in a file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(of: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Everything that shows data."""
    return [panel for panel in of["panels"] if panel["type"] != "row"]


def variables(of: Mapping[str, Any], kind: str = "query") -> list[dict[str, Any]]:
    """Variables that are asked for (`kind` query), or data sources."""
    return [variable for variable in of["templating"]["list"] if variable["type"] == kind]


def questions(of: Mapping[str, Any]) -> Iterator[Question]:
    """Everything that Grafana asks for a dashboard."""
    title = of["title"]
    for panel in panels(of):
        for target in panel["targets"]:
            where = f"{title}: {panel['title']}, {target['refId']}"
            yield Question("panel", where, target["expr"], now=target["instant"])
    for variable in variables(of):
        match = LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert match is not None, variable
        yield Question("variable", f"{title}: ${variable['name']}", match[1], label=match[2])
    for annotation in of["annotations"]["list"]:
        yield Question("annotation", f"{title}: {annotation['name']}", annotation["target"]["expr"])


def all_questions() -> list[Question]:
    """Of all dashboards."""
    return [question for path in FILES for question in questions(board(path))]
