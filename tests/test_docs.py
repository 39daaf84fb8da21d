"""The documents stay true: links, command lines, configurations, metrics, reasons, the tree."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamgauge
from connectors.records import REASONS
from detector.config.load import Config
from detector.engine.engine import Engine
from detector.metrics.docs_table import with_tables
from detector.metrics.recorder import Metrics
from detector.metrics.sources import NoSources
from tests.support.artifacts import make_artifact
from trainer.config import TrainConfig

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
RULES = {"incidents", "channels", "maintenance", "watchdog"}
PACKAGES = ("connectors", "detector", "trainer")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(document)):
            if "://" not in target:
                yield document, target


def command_lines() -> list[str]:
    """Every line of code that starts with our command, comments and prompts cut off."""
    lines = "\n".join(map(text_of, DOCUMENTS)).splitlines()
    commands = [line.strip().removeprefix("$ ") for line in lines]
    return sorted({line.split("  #")[0].strip() for line in commands if line.startswith("streamgauge ")})


def toml_blocks() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", "\n".join(map(text_of, DOCUMENTS)), re.DOTALL)


@pytest.mark.parametrize(("document", "target"), list(links()), ids=lambda value: Path(value).name)
def test_every_link_leads_somewhere(document: Path, target: str) -> None:
    assert (document.parent / target).exists()


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_is_valid(line: str) -> None:
    words = shlex.split(line)[1:]
    assert streamgauge._parse(words).verb == words[0]


@pytest.mark.parametrize("block", toml_blocks())
def test_every_configuration_is_valid(block: str) -> None:
    values = tomllib.loads(block)
    if values.keys() & RULES:
        values = {"model": {"path": "models/pump"}, "kafka": {"topic": "readings"}, **values}
    model = Config if "kafka" in values else TrainConfig
    assert model.model_validate(values)


def test_every_metric_is_documented_and_no_other() -> None:
    metrics = Metrics(Engine(make_artifact()), 10, "0", NoSources())
    exposition = metrics.exposition("text/plain")[0].decode()
    served = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))
    document = text_of(ROOT / "docs/metrics.md")
    documented = dict(re.findall(r"^\| `(streamgauge_\w+)` \| (\w+) \|", document, re.MULTILINE))
    of_process = set(re.findall(r"`((?:process|python)_\w+)`", document))
    assert documented == {name: kind for name, kind in served.items() if name not in of_process}
    if sys.platform == "linux":
        assert of_process <= served.keys()


def test_the_tables_of_metrics_are_those_that_the_code_makes() -> None:
    document = text_of(ROOT / "docs/metrics.md")
    remedy = "run python -m detector.metrics.docs_table --write docs/metrics.md"
    assert document == with_tables(document), remedy


def test_every_reason_for_a_dead_letter_is_documented_and_no_other() -> None:
    table = text_of(ROOT / "docs/messages.md").partition("dead-letters`")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(REASONS)


def test_the_tree_in_the_architecture_names_every_module() -> None:
    tree = text_of(ROOT / "docs/architecture.md").partition("## The tree")[2].partition("## Artifact")[0]
    modules = {relative(path) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    named: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        if match := re.match(r"( *)(\w+\.py|\w+/) ", line):
            depth, name = len(match.group(1)) // 2, match.group(2)
            if name.endswith("/"):
                folders[depth:] = [name]
            elif depth:
                named.add("".join(folders[:depth]) + name)
    assert named == {module for module in modules if not module.endswith("__init__.py")}
