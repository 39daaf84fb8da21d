"""Examples in docstrings run and print what they claim."""

from __future__ import annotations

import doctest
import importlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [
    ROOT / "streamgauge.py",
    *(path for name in ("connectors", "detector", "trainer") for path in sorted((ROOT / name).rglob("*.py"))),
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LEAST_EXAMPLES = 10


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


WITH_EXAMPLES = [dotted(path) for path in FILES if ">>>" in path.read_text(encoding="utf-8")]


@cache
def examples(module: str) -> list[doctest.DocTest]:
    """The docstrings of a module that have examples."""
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_print_what_they_claim(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = examples(module)
    assert tests, f"{module} has >>> outside of a docstring"
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    lines: list[str] = []
    for test in tests:
        runner.run(test, out=lines.append, clear_globs=False)
    assert runner.failures == 0, "".join(lines)


def test_there_are_examples() -> None:
    assert sum(len(test.examples) for module in WITH_EXAMPLES for test in examples(module)) >= LEAST_EXAMPLES
