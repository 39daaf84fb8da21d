"""Secrets of a configuration: from the environment or from files, never from the configuration itself.

A secret is a key of type SecretStr. The key with `_file` behind its name, where there is one, names the file
that holds it. Urls of notifiers are secrets that a file may hold as long as no token is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from detector.config.error_location import heading
from detector.config.schema import NotifySection
from detector.config.tables import fields_of, tables
from detector.config.types import Section
from detector.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)
SectionT = TypeVar("SectionT", bound=Section)

_MAY_BE_SECRET = frozenset({"headers"})
"""Keys of free text whose values no error repeats either."""


def secrets_of(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """(section, key) of every secret."""
    for section, field in model.model_fields.items():
        for key, inner in fields_of(field.annotation)[0].items():
            if _holds_secret(inner):
                yield section, key


def is_secret(section: type[BaseModel] | None, key: str) -> bool:
    """Whether errors may not repeat the value of a section's key."""
    field = section.model_fields.get(key) if section is not None else None
    return field is not None and (_holds_secret(field) or key in _MAY_BE_SECRET)


def refused_in(section: str, key: str, field: FieldInfo) -> bool:
    """Whether no file may have the key, whatever its value."""
    return _holds_secret(field) and (section, key) != ("notify", "url")


def refuse_secrets(path: Path, values: dict[str, Any], model: type[BaseModel]) -> None:
    """Raises ConfigError where what `path` holds has a secret in it, without repeating it."""
    for table in tables(values, model):
        refused = [
            key
            for key in table.values.keys() & table.fields
            if refused_in(table.section, key, table.fields[key])
        ]
        if table.section == "notify" and NotifySection.has_secret_url(table.values):
            refused.append("url")
        if refused:
            key = min(refused)
            raise ConfigError(
                f"{path}: {table.shown} {key}: secrets do not belong in this file; set"
                f" {table.variables}{key.upper()} or name a file in {key}_file"
            )


def read_secrets(path: Path, config: ModelT) -> ModelT:
    """The configuration with the secrets of its `_file` keys. Raises ConfigError that names the file."""
    update: dict[str, Any] = {}
    for name in type(config).model_fields:
        found = getattr(config, name)
        if isinstance(found, Section):
            update[name] = _filled(found, f"{path}: {heading((name,))}")
        elif isinstance(found, tuple):
            update[name] = tuple(
                _filled(one, f"{path}: {heading((name, number))}") for number, one in enumerate(found)
            )
    return config.model_copy(update=update)


def _filled(section: SectionT, place: str) -> SectionT:
    update = {}
    for key, field in type(section).model_fields.items():
        file = getattr(section, f"{key}_file", None)
        if _holds_secret(field) and file is not None:
            update[key] = SecretStr(_read(file, f"{place} {key}_file"))
    return section.model_copy(update=update) if update else section


def _holds_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _read(file: str, place: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{place}: {file}: {error.strerror}") from error
    except ValueError:  # no path, or no UTF-8: its words would show the secret
        raise ConfigError(f"{place}: {file}: not a text file in UTF-8") from None
    if not text:
        raise ConfigError(f"{place}: {file}: empty; it must hold the secret and nothing else")
    return text
