"""What is asked: other settings on a stretch of one series or of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detector.calibration.alarm_budget import parse_budget, read_budget
from detector.config.engine_options import changed_section
from detector.config.incident_schema import IncidentsSection
from detector.config.types import duration_text, is_duration
from detector.explore.storage.place import Place
from detector.offline.backtest_record import Inputs

_RATES = ("1/year", "1/quarter", "1/month", "2/month", "1/week", "3/week", "1/day", "3/day", "1/hour")
_TEXT_ABOVE_0 = r"^[1-9][0-9]{0,3}(ms|s|m|h|d)$"
_TEXT_FROM_0 = r"^(0|[1-9][0-9]{0,3})(ms|s|m|h|d)$"
_LONGEST_SECONDS = 36_525 * 86_400
BUDGET_SCHEMA = {
    "type": "string",
    "pattern": r"^([1-9][0-9]{0,8}(\.[0-9]{1,6})?|0\.[0-9]{0,5}[1-9])"
    r"/(minute|hour|day|week|month|quarter|year)"
    r"( (a|per) series| in all( of [1-9][0-9]{0,8} series)?)?$",
}
"""How budgets are written, as JSON Schema."""
RULES = (
    *("for_rows", "of_rows", "quiet_rows", "close_score", "critical_score"),
    *("min_duration", "cooldown", "settle_rows", "flap_incidents", "flap_window", "clean_windows"),
)
"""The keys of [incidents] that change what a replay finds."""


@dataclass(frozen=True, slots=True)
class Question:
    """Hold what is asked.

    series        its name; empty: all series
    from_ns       first time of the stretch
    to_ns         the end of the stretch
    alarm_budget  empty: that of the model
    incidents     values of keys of [incidents] that are other than at present
    """

    series: str
    from_ns: int
    to_ns: int
    alarm_budget: str = ""
    incidents: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """The same for equal questions, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def task_of(question: Question, place: Place, record: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """Return a question with all that `answer` needs, as JSON values.

    Args:
        question: what is asked.
        place: of the store.
        record: of the backtest: its version and decisions.
        inputs: what the backtest was made of.
    """
    return {
        "question": asdict(question),
        "place": asdict(place),
        "inputs": asdict(inputs),
        **{name: record.get(name) for name in ("version", "decisions")},
    }


def checked_rules(present: IncidentsSection, changes: Mapping[str, object]) -> dict[str, Any]:
    """Return the changes that differ from the present rules, durations as text.

    Raises:
        ConfigError: a key is unknown or a value is wrong.
    """
    after = changed_section(present, changes)
    different = [name for name in changes if getattr(after, name) != getattr(present, name)]
    return {name: plain_rule(after, name) for name in sorted(different)}


def rules_schema() -> dict[str, Any]:
    """Return the JSON Schema of `incidents` of a question. That for_rows is at most of_rows is beyond it."""
    described = IncidentsSection.model_json_schema()["properties"]
    fields = {name: _rule_schema(name, described[name]) for name in RULES}
    return {"type": "object", "additionalProperties": False, "properties": fields}


def _rule_schema(name: str, described: dict[str, Any]) -> dict[str, Any]:
    if name == "flap_incidents":
        return {key: value for key, value in described.items() if key != "minimum"} | {
            "anyOf": [{"const": 0}, {"minimum": 2}]
        }
    if not is_duration(IncidentsSection.model_fields[name]):
        return described
    least = "exclusiveMinimum" if "exclusiveMinimum" in described else "minimum"
    number = {"type": "number", least: 0, "maximum": _LONGEST_SECONDS}
    text = {"type": "string", "pattern": _TEXT_ABOVE_0 if least == "exclusiveMinimum" else _TEXT_FROM_0}
    return {"description": described["description"], "anyOf": [number, text]}


def plain_rule(section: IncidentsSection, name: str) -> Any:
    """Return a value of [incidents] as TOML would have it: a duration is a text such as 5m."""
    value = getattr(section, name)
    return duration_text(value) if is_duration(IncidentsSection.model_fields[name]) else value


def budgets_around(budget: str) -> list[str]:
    """Return budgets of the same kind and this one, the strictest first.

    >>> budgets_around("2/day")[-4:]
    ['1/day', '2/day', '3/day', '1/hour']
    """
    asked = read_budget(budget)
    share = str(asked).removeprefix(f"{asked.number:.12g}/{asked.unit}")
    found = {parse_budget(one): one for one in (*(rate + share for rate in _RATES), str(asked))}
    return [found[rate] for rate in sorted(found)]
