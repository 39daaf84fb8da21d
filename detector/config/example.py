"""Write the example configuration: every key with its default and a comment."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from detector.config.incident_schema import CHANNEL_EXAMPLE, DRIFT_EXAMPLE, MAINTENANCE_EXAMPLE, UNITS_EXAMPLE
from detector.config.input.topics import INPUTS_EXAMPLE
from detector.config.models.entries import MODELS_EXAMPLE
from detector.config.schema import Config
from detector.config.secrets import refused_in
from detector.config.tables import PREFIX, fields_of
from detector.config.types import duration_text, is_duration

_EXAMPLES = {
    ("model", "path"): '"models/pump"',
    ("kafka", "topic"): '"readings"',
    ("notify", "name"): '"on-call"',
    ("notify", "kind"): '"alertmanager"',
    ("notify", "url"): '"http://localhost:9093"',
}
_TABLES = {
    "models": MODELS_EXAMPLE,
    "inputs": INPUTS_EXAMPLE,
    "drift": DRIFT_EXAMPLE,
    "channels": CHANNEL_EXAMPLE,
    "units": UNITS_EXAMPLE,
    "maintenance": MAINTENANCE_EXAMPLE,
}
"""Sections that may have any number of tables, each with its hand-written example."""


def example(model: type[BaseModel] = Config) -> str:
    """Return a commented file of every key with its default; required keys get an example value."""
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
            if not refused_in(name, key, field):
                lines.append(_line(name, key, field, is_array))
    return "\n".join(lines) + "\n"


def _line(section: str, key: str, field: FieldInfo, is_array: bool) -> str:
    words = " ".join(part for part in (field.description, _choices(field.annotation)) if part)
    value = _EXAMPLES.get((section, key)) or _toml(field)
    # An array of tables is commented out as a whole.
    mark = "#" if is_array else "" if (section, key) in _EXAMPLES else "# "
    return f"{mark}{key} = {value}" + (f"  # {words}" if words else "")


def _choices(annotation: Any) -> str:
    choices = [one for one in get_args(annotation) if isinstance(one, str)]
    nested = [one for part in get_args(annotation) for one in get_args(part) if isinstance(one, str)]
    return f"({' | '.join(choices or nested)})" if choices or nested else ""


def _toml(field: FieldInfo) -> str:
    default: Any = field.default
    if default is None:
        return '""'
    if isinstance(default, dict):
        return "{}"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{one}"' for one in default) + "]"
    if is_duration(field):
        return f'"{duration_text(default)}"'
    return f'"{default}"' if isinstance(default, str) else f"{default:g}"
