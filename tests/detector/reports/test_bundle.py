"""Modules as one script: order, exports, and forms that are refused."""

from __future__ import annotations

import pytest

from detector.reports.bundle import BundleError, bundled


def test_a_module_runs_once_and_after_those_that_it_imports() -> None:
    modules = {
        "top": 'import { a } from "./left.js";\nimport { b } from "./right.js";\ngo(a, b);\n',
        "left": 'import { c } from "./deep.js";\nexport const a = c;\n',
        "right": 'import { c } from "./deep.js";\nexport function b() { return c; }\n',
        "deep": "export const c = 1;\n",
    }
    script = bundled(modules, ["top"])
    places = [script.index(f"const module_{name} = ") for name in ("deep", "left", "right", "top")]
    assert places == sorted(places)
    assert script.count("const module_deep = ") == 1
    assert "const { c } = module_deep;\nconst a = c;\nreturn { a };" in script
    assert "function b() { return c; }\nreturn { b };" in script
    assert "import" not in script
    assert "export" not in script


def test_a_page_runs_only_where_it_is_shown() -> None:
    modules = {"shell": "export const shown = 1;\n", "page": "go();\n"}
    script = bundled(modules, ["shell", "page?first"])
    assert script.endswith('if (module_shell.shown === "first") {\ngo();\n}\n')


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('import x from "./x.js";', "import x"),
        ("export default 3;", "export default"),
        ("export let a = 1;", "export let"),
    ],
)
def test_other_forms_of_modules_are_refused_with_the_line(line: str, names: str) -> None:
    with pytest.raises(BundleError, match=names):
        bundled({"one": line + "\n"}, ["one"])


def test_a_module_that_is_missing_is_named() -> None:
    with pytest.raises(BundleError, match=r"no module gone\.js"):
        bundled({"one": 'import { a } from "./gone.js";\n'}, ["one"])
