"""The shipped rules and configurations of deploy/, for the tests, and the programs that check them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus/prometheus.yml"
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
ALERTMANAGER = ROOT / "deploy/alertmanager/alertmanager.yml"
CASES = Path(__file__).parent / "cases"
RUNBOOKS = ROOT / "docs/runbooks"
RUNBOOK_BASE = "https://example.org/streamgauge/runbooks/"


def need(program: str) -> str:
    """Return the name of the program. If it is missing, skip the test, or fail it in CI."""
    if shutil.which(program) is None:
        reason = f"{program} is missing (Debian packages prometheus and prometheus-alertmanager)"
        if os.environ.get("STREAMGAUGE_REQUIRE_PROMETHEUS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def output_of(program: str, *arguments: str | Path) -> str:
    """Return the output of the program; fail the test if its exit status is not 0."""
    command = [need(program), *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Return every rule of every group and file."""
    documents = [yaml.safe_load(path.read_text()) for path in RULES]
    return tuple(rule for one in documents for group in one["groups"] for rule in group["rules"])


@cache
def alerts() -> tuple[dict[str, Any], ...]:
    return tuple(rule for rule in rules() if "alert" in rule)


def alert_names() -> list[str]:
    return sorted({rule["alert"] for rule in alerts()})


def metrics_in(text: str) -> set[str]:
    """Return the names of metrics in an expression or template, without recorded series."""
    return set(re.findall(r"(?<![\w:])(?:streamgauge|process|python)_\w+(?![\w:])", text))


def recorded_in(text: str) -> set[str]:
    """Return the names of recorded series in an expression or template."""
    return set(re.findall(r"\b[a-z_]+:streamgauge_\w+:\w+", text))
