"""Secrets of a configuration: from the environment or from files, never from the configuration itself.

A secret is a key of type SecretStr. The key with `_file` behind its name, where there is one, names the file
that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

from detector.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)


def secrets_of(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """(section, key) of every secret."""
    for section, field in model.model_fields.items():
        for key, inner in getattr(field.annotation, "model_fields", {}).items():
            if "SecretStr" in str(inner.annotation):
                yield section, key


def refuse_secrets(path: Path, values: Mapping[str, Any], model: type[BaseModel], prefix: str) -> None:
    """Raises ConfigError where what `path` holds has a secret in it, without repeating it."""
    for section, key in secrets_of(model):
        table = values.get(section)
        if isinstance(table, dict) and key in table:
            raise ConfigError(
                f"{path}: [{section}] {key}: secrets do not belong in this file; set"
                f" {prefix}{section.upper()}__{key.upper()} or name a file in {key}_file"
            )


def read_secrets(path: Path, config: ModelT) -> ModelT:
    """The configuration with the secrets of its `_file` keys. Raises ConfigError that names the file."""
    for section, key in secrets_of(type(config)):
        table = getattr(config, section)
        file = getattr(table, f"{key}_file", None)
        if file is not None:
            secret = SecretStr(_read(file, f"{path}: [{section}] {key}_file"))
            config = config.model_copy(update={section: table.model_copy(update={key: secret})})
    return config


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
