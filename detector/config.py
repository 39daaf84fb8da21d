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

from pydantic import BaseModel, SecretStr, ValidationError

from detector.config_tables import PREFIX, Table, Where, fields_of, line_of, override, shown_as, tables
from detector.errors import ConfigError
from detector.sections import DURATIONS, Config, NotifySection, Section, parse_duration, shown

__all__ = ["Config", "example", "load_config", "load_toml", "parse_duration"]

_SECRETS = frozenset({"sasl_password", "routing_key", "bearer_token", "basic_password"})
"""Keys that no file may have and no example shows."""
_UNSHOWN = _SECRETS | {"url", "headers"}
"""Keys whose values no error repeats."""
_EXAMPLES = {
    ("model", "path"): '"models/pump"',
    ("kafka", "topic"): '"readings"',
    ("notify", "name"): '"on-call"',
    ("notify", "kind"): '"alertmanager"',
    ("notify", "url"): '"http://localhost:9093"',
}

ModelT = TypeVar("ModelT", bound=BaseModel)
SectionT = TypeVar("SectionT", bound=Section)


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override and check the daemon's configuration. Raises ConfigError listing every problem."""
    config = load_toml(path, Config, environ)
    kafka = _with_secrets(config.kafka, f"{path}: [kafka]")
    notify = [
        _with_secrets(section, f"{path}: {shown_as('notify', number)}")
        for number, section in enumerate(config.notify, 1)
    ]
    return config.model_copy(update={"kafka": kafka, "notify": tuple(notify)})


def _with_secrets(section: SectionT, place: str) -> SectionT:
    """The section with every secret X that its X_file holds. Raises ConfigError."""
    fields, found = type(section).model_fields, {}
    for key in fields:
        file, secret = getattr(section, key), key.removesuffix("_file")
        of_secret = secret != key and secret in fields and "SecretStr" in str(fields[secret].annotation)
        if file is None or not of_secret:
            continue
        try:
            found[secret] = SecretStr(Path(file).read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            # ValueError: no UTF-8 (its words would show the secret), or no path
            reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
            cause = error if isinstance(error, OSError) else None
            raise ConfigError(f"{place} {key}: {file}: {reason}") from cause
    return section.model_copy(update=found)


def load_toml(path: Path, model: type[ModelT], environ: Mapping[str, str] | None = None) -> ModelT:
    """A TOML file as `model`; STREAMGAUGE_SECTION__KEY variables override its values.

    Raises ConfigError that lists every problem with its place and remedy.
    """
    text = _read(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: its syntax, or a number of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for table in tables(values, model):
        _refuse_secrets(path, table)
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
        fields, is_array = fields_of(section.annotation)
        words = section.description or (section.annotation.__doc__ or "").strip()
        lines += ["", f"#[[{name}]]  # {words}" if is_array else f"[{name}]  # {words}"]
        for key, field in fields.items():
            if key in _SECRETS:
                continue
            words = f"  # {field.description}" if field.description else _choices(field.annotation)
            value = _EXAMPLES.get((name, key)) or _toml(key, field.default)
            # What may be there many times is commented out as a whole.
            mark = "#" if is_array else "" if (name, key) in _EXAMPLES else "# "
            lines.append(f"{mark}{key} = {value}{words}")
    return "\n".join(lines) + "\n"


def _refuse_secrets(path: Path, table: Table) -> None:
    key = next((key for key in table.values if key in _SECRETS and key in table.fields), None)
    if key is None and table.section == "notify" and NotifySection.has_secret_url(table.values):
        key = "url"
    if key is not None:
        raise ConfigError(
            f"{path}: {table.shown} {key}: secrets do not belong in this file; set"
            f" {table.variables}{key.upper()} or name a file in {key}_file"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; write an example with `streamgauge config init {path}`"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8: {error}") from error


def _problem(path: Path, text: str, error: Any, model: type[BaseModel], overridden: dict[Where, str]) -> str:
    where: Where = error["loc"]
    section = str(where[0]) if where else ""
    number = where[1] + 1 if len(where) > 1 and isinstance(where[1], int) else None
    start = 1 if number is None else 2
    key = ".".join(map(str, where[start:]))
    table = shown_as(section, number) if section else ""
    named = f"{table} {key}".strip()
    variable = overridden.get(where[: start + 1])
    if variable is not None:
        place = variable
    else:
        line = line_of(text, section, number, str(where[start]) if key else None)
        place = f"{path}:{line}" if line else str(path)
    said = _explain(error, [str(part) for part in where], model)
    return f"{place}: {named}: {said}" if named else f"{place}: {said}"


def _explain(error: Any, where: list[str], model: type[BaseModel]) -> str:
    if error["type"] == "missing":
        return "missing; this value has no default"
    if error["type"] == "extra_forbidden":
        known = list(model.model_fields)
        if len(where) > 1:
            known = list(fields_of(model.model_fields[where[0]].annotation)[0])
        nearest = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join(known)}"
        return f"unknown {'key' if len(where) > 1 else 'section'} `{where[-1]}`; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], dict):
        return message
    return f"{message}, found {'***' if _UNSHOWN & set(where) else shown(error['input'])}"


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
