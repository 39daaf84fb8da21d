"""Many small modules as one script: a page that loads nothing cannot import one file from another.

It reads the few forms that our own modules use, one a line: `import { a, b } from "./x.js";`, and `export`
before a function or a constant. Every module becomes a function that returns its exports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


class BundleError(Exception):
    """A module has a form that this file does not read; the message has the module and the line."""


def bundled(modules: Mapping[str, str], starts: Iterable[str]) -> str:
    """Return one script in which each module runs once, after those that it imports.

    Args:
        modules: text by name, without `.js`.
        starts: the modules to run. With a name such as `series?series`, the module runs where the export
            `shown` of the module `shell` is the word after the question mark.

    Raises:
        BundleError: a module is missing, or has another form of import or export.
    """
    parts: list[str] = []
    done: set[str] = set()
    for start in starts:
        name, _, page = start.partition("?")
        whole = [one for one in _order(modules, name, done) if one != name or not page]
        parts += [f"const module_{one} = (() => {{\n{_body(modules, one)}}})();" for one in whole]
        if page:
            parts.append(f'if (module_shell.shown === "{page}") {{\n{_body(modules, name)}}}')
    return '"use strict";\n' + "\n".join(parts) + "\n"


def _order(modules: Mapping[str, str], name: str, done: set[str]) -> list[str]:
    """Return the modules that are not done yet and that a module needs, itself last; mark them as done."""
    if name in done:
        return []
    done.add(name)
    found = [
        one for _, needed in _IMPORT.findall(_text(modules, name)) for one in _order(modules, needed, done)
    ]
    return [*found, name]


def _text(modules: Mapping[str, str], name: str) -> str:
    if name not in modules:
        raise BundleError(f"there is no module {name}.js")
    return modules[name]


def _body(modules: Mapping[str, str], name: str) -> str:
    """Return the statements of a module: imports read the constants of others, exports are returned."""
    text = _IMPORT.sub(r"const { \1 } = module_\2;", _text(modules, name))
    exports = _EXPORT.findall(text)
    text = _EXPORT.sub("", text)
    left = _LEFT.search(text)
    if left is not None:
        raise BundleError(f"{name}.js: {left[0]!r} is a form of import or export that a report cannot hold")
    returned = f"return {{ {', '.join(exports)} }};\n" if exports else ""
    return text + returned
