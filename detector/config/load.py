"""The daemon's configuration: TOML, checked as a whole, every value overridable from the environment.

An error says where (file, line, [section] key), what was found, what was expected and the nearest valid
name. Secrets come from the environment or from files only, and are never shown.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from detector.config.error_location import Place, heading, line_of, section_in, table_of
from detector.config.incident_schema import CHANNEL_EXAMPLE, MAINTENANCE_EXAMPLE
from detector.config.schema import DURATIONS, Config
from detector.config.secrets import is_secret, read_secrets, refuse_secrets, refused_in
from detector.config.tables import PREFIX, fields_of, override
from detector.config.tls_files import check_files
from detector.config.types import parse_duration, shown
from detector.errors import ConfigError

__all__ = ["Config", "example", "load_config", "load_toml", "parse_duration"]

_EXAMPLES = {
    ("model", "path"): '"models/pump"',
    ("kafka", "topic"): '"readings"',
    ("notify", "name"): '"on-call"',
    ("notify", "kind"): '"alertmanager"',
    ("notify", "url"): '"http://localhost:9093"',
}
_TABLES = {"channels": CHANNEL_EXAMPLE, "maintenance": MAINTENANCE_EXAMPLE}
"""Of tables that there may be any number of."""

ModelT = TypeVar("ModelT", bound=BaseModel)


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override and check the daemon's configuration. Raises ConfigError listing every problem."""
    config = read_secrets(path, load_toml(path, Config, environ))
    check_files(path, config)
    return config


def load_toml(path: Path, model: type[ModelT], environ: Mapping[str, str] | None = None) -> ModelT:
    """A TOML file as `model`; STREAMGAUGE_SECTION__KEY variables override its values.

    Raises ConfigError that lists every problem with its place and remedy.
    """
    text = _read(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: its syntax, or a number of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    refuse_secrets(path, values, model)
    overridden = override(values, model, os.environ if environ is None else environ)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(path, text, one, model, overridden) for one in error.errors()]
        raise ConfigError("\n".join(problems)) from error


def example(model: type[BaseModel] = Config) -> str:
    """A commented file of every key with its default; required ones have an example's value."""
    lines = [
        "# Streamgauge: configuration of the daemon. Every value can be overridden by an environment",
        f"# variable {PREFIX}SECTION__KEY, as {PREFIX}KAFKA__TOPIC. Commented values are the defaults.",
    ]
    for name, section in model.model_fields.items():
        if name in _TABLES:
            lines += ["", _TABLES[name]]
            continue
        fields, is_array = fields_of(section.annotation)
        words = section.description or (section.annotation.__doc__ or "").strip()
        lines += ["", f"#[[{name}]]  # {words}" if is_array else f"[{name}]  # {words}"]
        for key, field in fields.items():
            if refused_in(name, key, field):
                continue
            words = f"  # {field.description}" if field.description else _choices(field.annotation)
            value = _EXAMPLES.get((name, key)) or _toml(key, field.default)
            # What may be there many times is commented out as a whole.
            mark = "#" if is_array else "" if (name, key) in _EXAMPLES else "# "
            lines.append(f"{mark}{key} = {value}{words}")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; write an example with `streamgauge config init {path}`"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8: {error}") from error


def _problem(path: Path, text: str, error: Any, model: type[BaseModel], overridden: dict[Place, str]) -> str:
    table = table_of(error["loc"], model)
    rest = [str(part) for part in error["loc"][len(table) :]]
    named = f"{heading(table)} {'.'.join(rest)}".strip() if table else ""
    place = overridden.get(tuple(error["loc"][: len(table) + 1]))
    if place is None:
        line = line_of(text, table, rest[0] if rest else None)
        place = f"{path}:{line}" if line else str(path)
    said = _explain(error, table, rest, model)
    return f"{place}: {named}: {said}" if named else f"{place}: {said}"


def _explain(error: Any, table: Place, rest: list[str], model: type[BaseModel]) -> str:
    if error["type"] == "missing":
        return "missing; this value has no default"
    if error["type"] == "extra_forbidden":
        known = list(getattr(section_in(table, model), "model_fields", {}) if rest else model.model_fields)
        name = rest[-1] if rest else str(table[-1])
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join(known)}"
        return f"unknown {'key' if rest else 'section'} `{name}`; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], dict):
        return message
    hides = bool(rest) and is_secret(section_in(table, model), rest[0])
    return f"{message}, found {'***' if hides else shown(error['input'])}"


def _choices(annotation: Any) -> str:
    choices = [one for one in get_args(annotation) if isinstance(one, str)]
    nested = [one for part in get_args(annotation) for one in get_args(part) if isinstance(one, str)]
    return f"  # {' | '.join(choices or nested)}" if choices or nested else ""


def _toml(key: str, default: Any) -> str:
    if default is None:
        return '""'
    if isinstance(default, dict):
        return "{}"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{one}"' for one in default) + "]"
    if isinstance(default, float) and key in DURATIONS:
        return f'"{default:g}s"'
    return f'"{default}"' if isinstance(default, str) else f"{default:g}"
