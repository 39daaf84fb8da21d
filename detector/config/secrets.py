"""Read the secrets of a configuration: from the environment or from files of their own.

A secret is a key of type SecretStr. A key of the same name with `_file` at the end names the file that holds
it. The configuration itself may hold no secret. The one exception is the URL of a notifier without a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from detector.config.error_location import heading
from detector.config.notify_schema import NotifySection
from detector.config.tables import tables
from detector.config.types import Section
from detector.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)
SectionT = TypeVar("SectionT", bound=Section)

_MAY_BE_SECRET = frozenset({"headers"})
"""Keys of free text that may hold a secret; errors do not repeat their values."""


def is_secret(section: type[BaseModel] | None, key: str) -> bool:
    """Return whether errors must not repeat the value of a key."""
    field = section.model_fields.get(key) if section is not None else None
    return field is not None and (_holds_secret(field) or key in _MAY_BE_SECRET)


def refused_in(section: str, key: str, field: FieldInfo) -> bool:
    """Return whether the configuration must not have the key, whatever its value."""
    return _holds_secret(field) and (section, key) != ("notify", "url")


def refuse_secrets(label: str, values: dict[str, Any], model: type[BaseModel]) -> None:
    """Refuse a configuration that holds a secret; `label` names it in the error.

    Raises:
        ConfigError: it names the key and never repeats the value.
    """
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
                f"{label}: {table.shown} {key}: secrets do not belong in this file; set"
                f" {table.variables}{key.upper()} or name a file in {key}_file"
            )


def read_secrets(label: str, config: ModelT) -> ModelT:
    """Return the configuration with the secrets that its `_file` keys name.

    Raises:
        ConfigError: a file cannot be read or is empty; `label` names the configuration.
    """
    update: dict[str, Any] = {}
    for name in type(config).model_fields:
        found = getattr(config, name)
        if isinstance(found, Section):
            update[name] = _filled(found, f"{label}: {heading((name,))}")
        elif isinstance(found, tuple):
            update[name] = tuple(
                _filled(one, f"{label}: {heading((name, number))}") for number, one in enumerate(found)
            )
    return config.model_copy(update=update)


def revealed(secret: SecretStr | None) -> str | None:
    """Return the text of a secret, for the client that needs it."""
    return secret.get_secret_value() if secret else None


def _filled(section: SectionT, place: str) -> SectionT:
    update = {}
    for key, field in type(section).model_fields.items():
        file = getattr(section, f"{key}_file", None)
        if _holds_secret(field) and file is not None:
            update[key] = SecretStr(read_secret(file, f"{place} {key}_file"))
    return section.model_copy(update=update) if update else section


def _holds_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def read_secret(file: str, place: str) -> str:
    """Return the secret in a file.

    Raises:
        ConfigError: the file cannot be read or is empty; `place` names the setting, and no error the secret.
    """
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{place}: {file}: {error.strerror}") from error
    except ValueError:  # no path, or no UTF-8: the text of the error would show the secret
        raise ConfigError(f"{place}: {file}: not a text file in UTF-8") from None
    if not text:
        raise ConfigError(f"{place}: {file}: empty; it must hold the secret and nothing else")
    return text
