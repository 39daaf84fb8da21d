"""Pages of the reference, made from the code at each build: commands, keys, library, API of the explorer."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import griffe
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import streamgauge
from detector.config.schema import Config
from detector.config.secrets import refused_in
from detector.config.tables import PREFIX, fields_of
from detector.config.types import duration_text, is_duration
from detector.explore.web.openapi import document
from trainer.config import TrainConfig

_HELP_COLUMNS = "96"
_OF_THE_COMMAND = 3
"""So many names of `streamgauge.__all__` are the command itself and its version."""
_OF_CONFIGURATION = f"""\
`streamgauge config init streamgauge.toml` writes all of it as a commented file. A value can be overridden
by an environment variable `{PREFIX}SECTION__KEY`, such as `{PREFIX}KAFKA__TOPIC`. Durations are numbers of
seconds or texts such as `5m`. A secret comes from the environment or a file, never from the TOML."""
_OF_TRAINING = """\
`streamgauge train --config train.toml` reads them, and so does `fit(config=TrainConfig(...))`. Every option
has a default that works. `streamgauge init DATA` writes a file with the reasons."""
_OF_THE_API = "`streamgauge explore` serves it; the document itself is at `/api/v1/openapi.json`."
_PACKAGES = ("connectors", "detector", "trainer")


def commands() -> str:
    """Return the page of the commands: the help of each verb as a terminal shows it."""
    os.environ["COLUMNS"] = _HELP_COLUMNS  # argparse asks the terminal otherwise
    verbs = [verb.name for verb in streamgauge.VERBS]
    parts = ["# Commands", "This is what `--help` prints."]
    parts.append(_fenced(streamgauge._build_parser(None).format_help()))
    for name in verbs:
        child = _children(streamgauge._build_parser(name))[name]
        parts += [f"## streamgauge {name}", _fenced(child.format_help())]
        for below, grandchild in _children(child).items():
            parts += [f"### streamgauge {name} {below}", _fenced(grandchild.format_help())]
    return "\n\n".join(parts) + "\n"


def configuration() -> str:
    """Return the page of the daemon's configuration: every section, key, default and meaning."""
    parts = [
        "# Configuration of the daemon",
        _OF_CONFIGURATION,
    ]
    for name, section in Config.model_fields.items():
        fields, is_array = fields_of(section.annotation)
        if not fields:  # tables with names of the user's own
            fields = next((one.model_fields for one in _models_in(section.annotation)), {})
        words = section.description or inspect.getdoc(_first_model(section.annotation)) or ""
        rows = [
            (key, _kind(field), _shown(field), field.description or "")
            for key, field in fields.items()
            if not refused_in(name, key, field)
        ]
        parts += [f"## `[[{name}]]`" if is_array else f"## `[{name}]`", words.split("\n\n")[0]]
        parts.append(_table(("key", "values", "default", "meaning"), rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def training() -> str:
    """Return the page of the options of a training."""
    parts = [
        "# Options of a training",
        _OF_TRAINING,
    ]
    for name, section in TrainConfig.model_fields.items():
        for model in _models_in(section.annotation):
            about = _attributes(model)
            rows = [
                (key, _kind(field), _shown(field), about.get(key, _meaning_of_family(key)))
                for key, field in model.model_fields.items()
            ]
            words = (inspect.getdoc(model) or "").split("\n\n")[0]
            parts += [f"## `[{name}]`", words, _table(("key", "values", "default", "meaning"), rows)]
    return "\n\n".join(parts) + "\n"


def library() -> str:
    """Return the page of the library: directives by which mkdocstrings reads signatures and docstrings."""
    names = streamgauge.__all__[_OF_THE_COMMAND:]
    objects = [getattr(streamgauge, name) for name in names]
    returned = {one.__name__: one for value in objects for one in _results(value)}
    objects += [one for name, one in returned.items() if name not in names]
    parts = [
        "# Library",
        "`import streamgauge as sg` has these names. Results that functions return are at the end.",
        *(f"::: {one.__module__}.{one.__qualname__}" for one in objects),
    ]
    return "\n\n".join(parts) + "\n"


def explorer_api() -> str:
    """Return the page of the explorer's API, from its OpenAPI document."""
    described = document()
    parts = [
        "# API of the explorer",
        f"{_OF_THE_API} {described['info']['description']}",
    ]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            rows = [
                (one["name"], one["in"], _schema(one["schema"]), one.get("description", ""))
                for one in operation.get("parameters", ())
            ]
            parts += [f"## {method.upper()} {path}", f"{operation['summary']}."]
            parts.append(_table(("parameter", "in", "values", "meaning"), rows))
            parts.append(_answers(operation["responses"]))
    return "\n\n".join(part for part in parts if part) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/configuration.md": configuration,
    "reference/training.md": training,
    "reference/library.md": library,
    "reference/explorer-api.md": explorer_api,
}


def _children(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers of the verbs of a parser, by name."""
    found = (one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return next(found, {})


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown, or "" without rows. The first column is code."""
    lines = [f"| `{row[0]}` | " + " | ".join(map(_cell, row[1:])) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)


def _first_model(annotation: Any) -> type[BaseModel] | None:
    return next(_models_in(annotation), None)


def _kind(field: FieldInfo) -> str:
    """Return what a key may have, in words."""
    choices = _choices(field.annotation)
    if choices:
        return ", ".join(f"`{one}`" for one in choices)
    if is_duration(field):
        return "duration"
    text = str(field.annotation)
    for part, words in (("dict", "table"), ("tuple", "list"), ("list", "list"), ("bool", "true, false")):
        if part in text:
            return words
    return next((words for part, words in (("int", "integer"), ("float", "number")) if part in text), "text")


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(one) for one in typing.get_args(annotation)]
    return [one for part in typing.get_args(annotation) for one in _choices(part)]


def _shown(field: FieldInfo) -> str:
    """Return a default as TOML has it; "required" where there is none."""
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required():
        return "required"
    if default is None or (isinstance(default, tuple | list | dict) and not default):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if is_duration(field):
        return f"`{duration_text(default)}`"
    return f"`{', '.join(map(str, default))}`" if isinstance(default, tuple) else f"`{default}`"


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstring of a class has about its attributes, by name."""
    found: dict[str, str] = {}
    parsed = griffe.Docstring(inspect.getdoc(model) or "").parse("google", warnings=False)
    for section in parsed:
        if section.kind is griffe.DocstringSectionKind.attributes:
            for one in section.value:
                found |= dict.fromkeys(re.split(r", *", one.name), one.description)
    return found


def _meaning_of_family(key: str) -> str:
    return f"`{key}` of the [family](../models.md)"


def _results(value: Any) -> list[type]:
    """Return the class that a function returns, if its module has it: its users need its fields."""
    if not inspect.isfunction(value):
        return []
    found = value.__globals__.get(str(inspect.signature(value).return_annotation))
    return [found] if isinstance(found, type) and found.__module__.startswith(_PACKAGES) else []


def _schema(schema: Mapping[str, Any]) -> str:
    parts = [
        ", ".join(f"`{one}`" for one in schema["enum"]) if "enum" in schema else str(schema.get("type", ""))
    ]
    if "minimum" in schema:
        parts.append(f"{schema['minimum']} to {schema['maximum']}")
    if schema.get("default") not in (None, ""):
        parts.append(f"default `{schema['default']}`")
    return "; ".join(parts)


def _answers(responses: Mapping[str, Any]) -> str:
    required = [
        name
        for answer in responses.values()
        for content in answer.get("content", {}).values()
        for name in content["schema"].get("required", ())
    ]
    keys = f" Keys of the answer: {', '.join(f'`{name}`' for name in required)}." if required else ""
    return f"Status {', '.join(responses)}.{keys}"
