"""The daemon's configuration: TOML, checked as a whole, every value overridable from the environment.

An error says where (file, line, [section] key), what was found, what was expected and the nearest valid
name. Secrets come from the environment or from files only, and are never shown.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from detector.errors import ConfigError

PREFIX = "STREAMGAUGE_"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*")
_LONGEST_SECONDS = 100 * 365.25 * 86400.0
"""Times and their sums with this fit into int64 nanoseconds."""
_SECTION = re.compile(r"^\s*\[\s*([\w.\-]+)\s*\]")

_MOST_SHOWN = 200

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse_duration(value: object) -> float:
    """Seconds of "30s", "5m", "1.5h", "1d", "250ms", or of a plain number; at most a century.

    Raises ValueError.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds: int | float = value
    else:
        match = _DURATION.fullmatch(str(value))
        if match is None:
            raise ValueError(f"{_shown(value)} is not a duration such as 30s, 5m, 1h or 1d")
        seconds = float(match.group(1)) * _UNITS[match.group(2)]
    if not seconds <= _LONGEST_SECONDS:  # so also where it is not a number
        raise ValueError(f"{_shown(value)} is no duration of at most 100 years")
    return float(seconds)


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]


class Section(BaseModel):
    """A table of the file: immutable, and no key is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(Section):
    """Which model judges the stream."""

    path: str = Field(description="registry entry (models/pump), one version of it, or the URI of either")


_DURATIONS = frozenset(
    {
        *("startup_timeout", "max_future", "lateness", "stale_after"),
        *("transaction_timeout", "session_timeout", "max_poll_interval"),
    }
)


class KafkaSection(Section):
    """Where readings come from and verdicts go to."""

    bootstrap_servers: tuple[str, ...] = Field(
        default=("localhost:9092",), min_length=1, description="some brokers"
    )
    topic: str = Field(description="topic of the readings, keyed by series")
    group_id: str = Field(
        default="streamgauge", description="consumer group; its members share the partitions"
    )
    group_instance_id: str | None = Field(
        default=None, description="static membership; unique to each member"
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        default="earliest", description="where a group without committed offsets begins"
    )
    session_timeout: Duration = Field(
        default=45.0, gt=0, description="silence after which the group gives our partitions to others"
    )
    max_poll_interval: Duration = Field(
        default=300.0, gt=0, description="the same for a member that lives but does not get on"
    )
    startup_timeout: Duration = Field(
        default=60.0, description="how long to wait for the cluster and the topic"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_KAFKA__SASL_PASSWORD, or use sasl_password_file"
    )
    sasl_password_file: str | None = Field(default=None, description="file that holds the password")
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        default="none", description="of outputs"
    )
    check_crcs: bool = Field(default=True, description="verify checksums of what is read")


class InputSection(Section):
    """What messages look like and what is refused."""

    series_field: str = "series"
    timestamp_field: str = "timestamp"
    values_field: str = "values"
    unknown_channels: Literal["ignore", "reject"] = Field(
        default="ignore", description="drop and count such values, or refuse the message"
    )
    max_future: Duration = Field(
        default=86400.0, description="refuse readings further ahead of their message's time"
    )


class GridSection(Section):
    """How readings become rows."""

    lateness: Duration = Field(
        default=0.0, description="how long a row waits for readings that come out of order"
    )


class IncidentsSection(Section):
    """When an incident opens and when it is over (rows whose state is known)."""

    for_rows: int = Field(default=1, ge=1, le=10_000, description="rows that must be bad ...")
    of_rows: int = Field(
        default=1, ge=1, le=10_000, description="... of the last so many, to open an incident"
    )
    close_score: float = Field(default=0.8, gt=0, le=1, description="rows up to this score are quiet")
    quiet_rows: int = Field(default=8, ge=1, le=1_000_000, description="quiet rows in a row that resolve it")
    critical_score: float = Field(default=2.0, ge=1, description="peak score from which it is critical")

    @model_validator(mode="after")
    def _m_of_n(self) -> IncidentsSection:
        if self.for_rows > self.of_rows:
            raise ValueError(f"for_rows {self.for_rows} must be at most of_rows {self.of_rows}")
        return self


class OutputSection(Section):
    """What is written, and where: PREFIX.scores, PREFIX.alerts, PREFIX.dead-letters."""

    prefix: str = Field(default="streamgauge", min_length=1, description="of the output topics")
    scores: Literal["all", "anomalous", "none"] = Field(
        default="all", description="rows that go to PREFIX.scores"
    )
    detail: Literal["scores", "full"] = Field(
        default="scores", description="full adds expected values and contributions a channel"
    )
    create_topics: bool = Field(default=True, description="create output topics that are missing")


class DeliverySection(Section):
    """How outputs are written: each once, or at least once."""

    mode: Literal["auto", "exactly_once", "at_least_once"] = Field(
        default="auto", description="auto: exactly once where the cluster has transactions"
    )
    transactional_id: str | None = Field(
        default=None, description="unique to each member; default: of group_instance_id or host and port"
    )
    transaction_timeout: Duration = Field(
        default=10.0, gt=0, description="after which the cluster ends what a killed member left open"
    )


class RecoverySection(Section):
    """State in PREFIX.state, so that a successor goes on where a member was killed."""

    max_replay_rows: int = Field(
        default=100_000,
        ge=0,
        description="messages of a partition that may have to be read again; 0: no state, windows warm up",
    )


class HttpSection(Section):
    """Metrics, probes and the status page."""

    host: str = Field(default="127.0.0.1", description="address to bind; loopback unless told otherwise")
    port: int = Field(default=9108, ge=0, le=65535, description="0: any free port, named in the log")


class MetricsSection(Section):
    """How much is exported."""

    max_series: int = Field(
        default=2000, ge=0, le=1_000_000, description="series with gauges of their own, the worst first"
    )


class LogSection(Section):
    """How events are logged, on standard error."""

    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text on a terminal, else JSON"
    )
    level: Literal["debug", "info", "warning", "error"] = "info"


class ServiceSection(Section):
    """The process itself."""

    stale_after: Duration | None = Field(
        default=300.0, description="silence, by the service's clock, that makes a series stale"
    )
    max_poll_records: int = Field(
        default=20_000, ge=1, le=10_000_000, description="messages judged at once at most"
    )
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1_024, description="processor threads of the model")


class Config(Section):
    """Everything that `streamgauge run` can be told."""

    model: ModelSection
    kafka: KafkaSection
    input: InputSection = InputSection()
    grid: GridSection = GridSection()
    incidents: IncidentsSection = IncidentsSection()
    output: OutputSection = OutputSection()
    delivery: DeliverySection = DeliverySection()
    recovery: RecoverySection = RecoverySection()
    http: HttpSection = HttpSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    service: ServiceSection = ServiceSection()


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override and check the daemon's configuration. Raises ConfigError listing every problem."""
    config = load_toml(path, Config, environ)
    if config.kafka.sasl_password_file is None:
        return config
    try:
        password = Path(config.kafka.sasl_password_file).read_text(encoding="utf-8").strip()
    except (
        OSError,
        ValueError,
    ) as error:  # ValueError: no UTF-8 (its words would show the secret), or no path
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise ConfigError(
            f"{path}: [kafka] sasl_password_file: {config.kafka.sasl_password_file}: {reason}"
        ) from (error if isinstance(error, OSError) else None)
    return config.model_copy(
        update={"kafka": config.kafka.model_copy(update={"sasl_password": SecretStr(password)})}
    )


def load_toml(path: Path, model: type[ModelT], environ: Mapping[str, str] | None = None) -> ModelT:
    """A TOML file as `model`; STREAMGAUGE_SECTION__KEY variables override its values.

    Raises ConfigError that lists every problem with its place and remedy.
    """
    text = _read(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: its syntax, or a number of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    if isinstance(values.get("kafka"), dict) and "sasl_password" in values["kafka"]:
        raise ConfigError(
            f"{path}: [kafka] sasl_password: secrets do not belong in this file; set"
            f" {PREFIX}KAFKA__SASL_PASSWORD or name a file in sasl_password_file"
        )
    overridden = _override(values, model, os.environ if environ is None else environ)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(path, text, one, model, overridden) for one in error.errors()]
        raise ConfigError("\n".join(problems)) from error


def example(model: type[BaseModel] = Config) -> str:
    """A commented file of every key with its default; required ones have an example's value."""
    required = {("model", "path"): '"models/pump"', ("kafka", "topic"): '"readings"'}
    lines = [
        "# Streamgauge: configuration of the daemon. Every value can be overridden by an environment",
        f"# variable {PREFIX}SECTION__KEY, as {PREFIX}KAFKA__TOPIC. Commented values are the defaults.",
    ]
    for name, section in model.model_fields.items():
        lines += ["", f"[{name}]  # {(section.annotation.__doc__ or '').strip()}"]
        for key, field in section.annotation.model_fields.items():  # type: ignore[union-attr]  # a Section
            if key == "sasl_password":
                continue
            words = f"  # {field.description}" if field.description else _choices(field.annotation)
            if (name, key) in required:
                lines.append(f"{key} = {required[name, key]}{words}")
            else:
                lines.append(f"# {key} = {_toml(key, field.default)}{words}")
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


def _override(values: dict[str, Any], model: type[BaseModel], environ: Mapping[str, str]) -> set[str]:
    """Put the environment's values in place; returns the dotted keys that came from there."""
    found = set()
    for name, section in model.model_fields.items():
        fields = getattr(section.annotation, "model_fields", {})
        for key, field in fields.items():
            text = environ.get(f"{PREFIX}{name}__{key}".upper())
            if text is not None:
                table = values.setdefault(name, {})
                if not isinstance(table, dict):
                    continue  # what the file has in the place of a section is told as its error
                table[key] = text.split(",") if "tuple" in str(field.annotation) else text
                found.add(f"{name}.{key}")
    return found


def _problem(path: Path, text: str, error: Any, model: type[BaseModel], overridden: set[str]) -> str:
    where = [str(part) for part in error["loc"]]
    section, key = where[0] if where else "", ".".join(where[1:])
    named = f"[{section}] {key}".strip() if key else f"[{section}]"
    if ".".join(where[:2]) in overridden:
        place = f"{PREFIX}{section}__{key}".upper()
    else:
        line = _line_of(text, section, where[1] if len(where) > 1 else None)
        place = f"{path}:{line}" if line else str(path)
    return f"{place}: {named}: {_explain(error, where, model)}"


def _explain(error: Any, where: list[str], model: type[BaseModel]) -> str:
    if error["type"] == "missing":
        return "missing; this value has no default"
    if error["type"] == "extra_forbidden":
        fields = model.model_fields
        known = list(fields)
        if len(where) > 1:
            known = list(getattr(fields[where[0]].annotation, "model_fields", {}))
        nearest = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join(known)}"
        return f"unknown {'key' if len(where) > 1 else 'section'} `{where[-1]}`; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], dict):
        return message
    return f"{message}, found {'***' if 'password' in where[-1] else _shown(error['input'])}"


def _shown(value: object) -> str:
    """A value in an error, in a length for people."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits, and what is nested as deeply
        return "a value too long to show"
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."


def _line_of(text: str, section: str, key: str | None) -> int | None:
    """The line of a key (or of its section), counted from 1; None where it is not in the file."""
    current, section_line = "", None
    for number, line in enumerate(text.splitlines(), 1):
        if match := _SECTION.match(line):
            current = match.group(1)
            if current == section:
                section_line = number
        elif current == section and key is not None and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            return number
    return section_line


def _choices(annotation: Any) -> str:
    choices = [one for one in get_args(annotation) if isinstance(one, str)]
    nested = [one for part in get_args(annotation) for one in get_args(part) if isinstance(one, str)]
    return f"  # {' | '.join(choices or nested)}" if choices or nested else ""


def _toml(key: str, default: Any) -> str:
    if default is None:
        return '""'
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{one}"' for one in default) + "]"
    if isinstance(default, float) and key in _DURATIONS:
        return f'"{default:g}s"'
    return f'"{default}"' if isinstance(default, str) else f"{default:g}"
