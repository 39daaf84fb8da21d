"""Read the daemon's configuration: TOML, checked as a whole; the environment can override every value.

An error names the place (file, line, [section] key), what was found, what was expected and the nearest valid
name. Secrets come from the environment or from files of their own. No error and no log shows them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from detector.config.error_location import Place
from detector.config.problems import Checked
from detector.config.schema import Config, ConnectionConfig
from detector.config.secrets import read_secrets, refuse_secrets
from detector.config.tables import PREFIX, override
from detector.config.tls_files import TlsFiles, check_files
from detector.config.types import parse_duration
from detector.errors import ConfigError

__all__ = ["Config", "ConnectionConfig", "load_config", "load_connection", "load_toml", "parse_duration"]

_WITHOUT_FILE = "environment"
"""The place that an error names where there is no configuration file."""

ModelT = TypeVar("ModelT", bound=BaseModel)


def load_config(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check the daemon's configuration, with its secrets and its TLS files.

    Args:
        path: the TOML file; None: the environment alone.
        environ: variables STREAMGAUGE_SECTION__KEY that override it; by default those of the process.

    Raises:
        ConfigError: it lists every problem, each with place and remedy.
    """
    label, text = (_WITHOUT_FILE, "") if path is None else (str(path), _read(path))
    found = _parse(Checked(label, text, Config), Config, os.environ if environ is None else environ)
    config = read_secrets(label, found)
    files = (TlsFiles.of_kafka(config.kafka), TlsFiles.of_http(config.http), TlsFiles.of_mqtt(config.mqtt))
    check_files(label, *files)
    return config


def load_connection(
    path: Path | None,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str] | None = None,
    registry_url: str | None = None,
) -> ConnectionConfig:
    """Read only where the readings are: [kafka], [input] and [schema_registry] of the configuration.

    The other sections may be incomplete or absent. Keys, errors, environment variables and secrets are those
    of the daemon.

    Args:
        path: the TOML file of the daemon; None to do without one.
        flags: command-line values for keys of [kafka], by key; None and "" count as not given. A flag
            overrides the environment, which overrides the file.
        environ: variables STREAMGAUGE_SECTION__KEY; by default those of the process.
        registry_url: a flag for url of [schema_registry]; None counts as not given.

    Raises:
        ConfigError: it lists every problem, each with place and remedy.
    """
    given = {key: value for key, value in flags.items() if value}
    variables = {f"{PREFIX}KAFKA__{key.upper()}": value for key, value in given.items()}
    if registry_url:
        variables[f"{PREFIX}SCHEMA_REGISTRY__URL"] = registry_url
    environ = {**(os.environ if environ is None else environ), **variables}
    if path is None:
        _check_named(environ)
    label = _WITHOUT_FILE if path is None else str(path)
    text = "" if path is None else _read(path)
    named: dict[Place, str] = {("kafka", key): f"--{key.replace('_', '-')}" for key in given}
    others = [name for name in Config.model_fields if name not in ConnectionConfig.model_fields]
    config = _parse(Checked(label, text, ConnectionConfig, named), ConnectionConfig, environ, others)
    config = read_secrets(label, config)
    check_files(label, TlsFiles.of_kafka(config.kafka))
    return config


def load_toml(path: Path, model: type[ModelT], environ: Mapping[str, str] | None = None) -> ModelT:
    """Read a TOML file as `model`; STREAMGAUGE_SECTION__KEY variables override its values.

    Raises:
        ConfigError: it lists every problem, each with place and remedy.
    """
    return _parse(Checked(str(path), _read(path), model), model, os.environ if environ is None else environ)


def _parse(
    checked: Checked, model: type[ModelT], environ: Mapping[str, str], others: Collection[str] = ()
) -> ModelT:
    """Parse the text as `model`; `others` are valid sections that are left out."""
    try:
        values = tomllib.loads(checked.text)
    except (ValueError, RecursionError) as error:  # ValueError: its syntax, or a number of too many digits
        raise ConfigError(f"{checked.label}: not valid TOML: {error}") from error
    values = {name: value for name, value in values.items() if name not in others}
    refuse_secrets(checked.label, values, model)
    variables = override(values, model, environ)
    _replace_topics(values, variables)
    checked = checked.overridden(variables, others)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(checked.problem(one) for one in error.errors())) from error


def _replace_topics(values: dict[str, Any], variables: Collection[Place]) -> None:
    """Let a variable or flag of `topic` replace `topics` of the file, and the other way round."""
    for key, other in (("topic", "topics"), ("topics", "topic")):
        if ("kafka", key) in variables and ("kafka", other) not in variables:
            values["kafka"].pop(other, None)


def _check_named(environ: Mapping[str, str]) -> None:
    """Raise ConfigError where neither flag nor environment names the cluster or the topic."""
    for what, key in (("cluster", "bootstrap_servers"), ("topic", "topic")):
        if not environ.get(f"{PREFIX}KAFKA__{key.upper()}"):
            flag = f"--{key.replace('_', '-')}"
            raise ConfigError(f"no {what} given: use {flag}, or --config with the daemon's configuration")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; write an example with `streamgauge config init {path}`"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8: {error}") from error
