"""The documents stay true: links, command lines, configurations, metrics, reasons, the tree."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import streamgauge
from connectors.records import REASONS
from connectors.wide_json.decoder import Limits
from detector.config.load import Config
from detector.config.models.section import ModelSection
from detector.config.schema import HttpSection
from detector.config.types import parse_duration
from detector.engine.engine import Engine
from detector.metrics.docs_table import with_tables
from detector.metrics.recorder import Metrics
from detector.metrics.sources import NoSources
from detector.models.families import FAMILIES
from detector.offline.autoencoder import DEFAULT_ROUNDS
from detector.rows import windows
from tests.support.artifacts import make_artifact
from tests.test_architecture import LAYERS
from trainer.config import TrainConfig

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RULES = {"cold", "input", "units", "evidence", "incidents", "channels", "maintenance", "watchdog"}
PACKAGES = ("connectors", "detector", "trainer")
PROSE = [  # pages that are written by hand and for users; a decision is a record of its time
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "metrics.md"),
]
MOST_WORDS = 25
MIN_KNOWN_SHARE = windows.MIN_KNOWN_SHARE
PRIVATE = r"says?|said|hears?|heard|tells?|told|settled|anew|whoever|whom|but for|of which|born"


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


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {(document.parent / target).resolve() for document, target in links()}
    assert [path.name for path in sorted((ROOT / "docs/images").iterdir()) if path not in shown] == []


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_is_valid(line: str) -> None:
    words = shlex.split(line)[1:]
    assert streamgauge._parse(words).verb == words[0]


@pytest.mark.parametrize("block", toml_blocks())
def test_every_configuration_is_valid(block: str) -> None:
    values = tomllib.loads(block)
    if values.keys() & RULES and "source" not in values:
        given = {} if "models" in values else {"model": {"path": "models/pump"}}
        values = {**given, "kafka": {"topic": "readings"}, **values}
    model = Config if values.keys() & {"kafka", "source"} else TrainConfig
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


def paragraphs(text: str) -> Iterator[str]:
    """The text of paragraphs, list items and cells of tables; no headings, no code."""
    text = re.sub(r"```.*?```|<!--.*?-->", "\n\n", text, flags=re.DOTALL)
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_item, is_table = re.match(r"\s*([-*]|\d+\.) ", line), line.startswith("|")
        if is_item or is_table or not line.strip() or line.startswith("#"):
            yield " ".join(lines)
            lines = []
        if is_table:
            yield from re.split(r"(?<!\\)\|", line)
        elif is_item:
            lines = [line[is_item.end() :]]
        elif line.strip() and not line.startswith("#") and (lines or not line.startswith("    ")):
            lines.append(line.strip())


def sentences(path: Path) -> Iterator[str]:
    """The sentences of a page, links replaced by their words and code by one word."""
    for paragraph in paragraphs(text_of(path)):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
        plain = re.sub(r"``.*?``|`[^`]*`", "code", plain).replace("*", "")
        yield from re.split(r"(?<=[.!?])\s+", plain.strip())


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_no_sentence_is_too_long(page: Path) -> None:
    long = [one for one in sentences(page) if len(re.findall(r"\S*\w\S*", one)) > MOST_WORDS]
    assert long == []


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_no_page_has_words_of_a_private_language(page: Path) -> None:
    assert [one for one in sentences(page) if re.search(rf"\b({PRIVATE})\b", one, re.IGNORECASE)] == []


def test_the_picture_of_the_layers_is_that_of_the_architecture_test() -> None:
    picture = text_of(ROOT / "docs/architecture.md").partition("## The layers")[2].split("```")[1]
    lines = [re.findall(r"(?:connectors|detector|trainer)\.\w+", line) for line in picture.splitlines()]
    assert [set(names) for names in lines if names] == [*map(set, LAYERS[::-1])]


def test_the_walk_of_a_reading_names_files_that_exist() -> None:
    walk = text_of(ROOT / "docs/architecture.md").partition("## The walk")[2].partition("\n## ")[0]
    files = re.findall(r"^\| \d+ \|.*\| `([\w/]+\.py)` \|$", walk, re.MULTILINE)
    assert len(files) >= 15
    assert [file for file in files if not (ROOT / file).is_file()] == []


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables of a section, without backquotes."""
    section = re.split(r"\n## ", text_of(ROOT / page).partition(f"\n## {heading}\n")[2])[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows]


def as_text(default: object) -> str:
    """A default as pages and TOML write it."""
    plain = str(default).lower() if isinstance(default, bool) else str(default)
    return plain.removesuffix(".0")


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "gru"])
def test_options_of_a_family_have_the_documented_defaults(family: str) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(FAMILIES[family].config())}
    documented = {row[0]: row[1] for row in rows_of("docs/models.md", family) if row[0] in defaults}
    assert documented
    for name, text in documented.items():
        if defaults[name] is None:
            assert text.startswith("an eighth of")
        else:
            assert text == as_text(defaults[name]), name


def test_notifiers_have_the_documented_defaults() -> None:
    documented = {row[0]: row[1] for row in rows_of("docs/notifications.md", "Keys") if row[1]}
    found = {}
    for names, texts in documented.items():
        for name, text in zip(names.split(", "), texts.split(", "), strict=True):
            found[name] = parse_duration(text) if re.fullmatch(r"\d+[smhd]", text) else text
    (section, *_) = get_args(Config.model_fields["notify"].annotation)
    fields = section.model_fields
    assert len(found) >= 7
    for name, value in found.items():
        default = fields[name].default
        assert value == (default if isinstance(default, float) else json_text(default)), name


def json_text(default: object) -> str:
    return json.dumps(list(default)) if isinstance(default, tuple) else as_text(default)


def test_figures_on_the_pages_are_those_of_the_code() -> None:
    """A number in a sentence is derived from the constant that it describes."""
    quarter = {0.25: "a quarter", 0.5: "half"}[MIN_KNOWN_SHARE]
    rounds = {3: "three times"}[DEFAULT_ROUNDS]
    limits, model, http = Limits(), ModelSection.model_fields, HttpSection.model_fields
    for page, words, count in (
        ("docs/autoencoder.md", f"less than {quarter} of", 2),
        ("docs/autoencoder.md", f"{rounds}, or `--rounds N`", 1),
        ("docs/messages.md", f"up to {limits.max_series_length} characters", 1),
        ("docs/messages.md", f"more than {limits.max_bytes >> 20} MiB", 1),
        ("docs/getting-started.md", f"`[model] reload_every` ({model['reload_every'].default:g} s)", 1),
        ("docs/security.md", f"`max_connections` ({http['max_connections'].default})", 1),
        ("docs/evaluation.md", f"(default `{TrainConfig().scoring.alarm_budget}`)", 1),
        ("docs/evaluation.md", f"The default model is the {TrainConfig().model.family};", 1),
        ("README.md", f"This trains an {TrainConfig().model.family} of autoencoders", 1),
    ):
        assert " ".join(text_of(ROOT / page).split()).count(words) == count, (page, words)


def test_every_anchor_of_a_link_is_a_heading() -> None:
    for document in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text_of(document)):
            page = document.parent / target if target else document
            if "://" not in target and page.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
                assert anchor in slugs, (relative(document), target, anchor)


def test_everything_named_in_the_promise_exists() -> None:
    """A clause of docs/what-is-judged.md has a test that runs, and metrics and alerts that are shipped."""
    page = text_of(ROOT / "docs/what-is-judged.md")
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    lacking = [(path, name) for path, name in tests if f"def {name}(" not in text_of(ROOT / path)]
    metrics, alerts = re.findall(r"`(streamgauge_\w+)`", page), re.findall(r"Streamgauge[A-Z]\w+", page)
    rules = "".join(text_of(path) for path in (ROOT / "deploy/prometheus/rules").glob("*.y*ml"))
    lacking += [("metrics.md", one) for one in metrics if one not in text_of(ROOT / "docs/metrics.md")]
    lacking += [("rules", one) for one in alerts if f"alert: {one}\n" not in rules]
    assert min(len(tests), len(metrics), len(alerts)) > 5
    assert lacking == []
