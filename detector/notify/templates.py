"""Bodies of webhooks: JSON whose strings may name values as $summary or ${series}.

Values are inserted into the strings of a parsed document. No value can break out of its string, and nothing
is executed. A string that is a single name becomes the value itself: a number, null, a list.
"""

from __future__ import annotations

import difflib
import json
import string
from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any

DEFAULT: Json = {
    name: f"${name}"
    for name in (
        *("event", "state", "id", "key", "series", "channel", "severity", "reason", "model", "version"),
        *("start", "at", "end", "peak_score", "channels", "labels", "link"),
        *("summary", "sentence", "description"),
    )
}

SLACK: Json = {
    "text": "[$status] $summary",
    "attachments": [
        {
            "color": "$color",
            "fallback": "[$status] $summary",
            "text": "$description",
            "footer": "Streamgauge incident $id $link",
        }
    ],
}

PAGERDUTY: Json = {
    "routing_key": "$routing_key",
    "event_action": "$action",
    "dedup_key": "$id",
    "client": "Streamgauge",
    "client_url": "$link",
    "payload": {
        "summary": "$summary",
        "source": "$series",
        "severity": "$severity",
        "timestamp": "$start",
        "component": "$channel",
        "group": "$model",
        "class": "$reason",
        "custom_details": {
            "peak_score": "$peak_score",
            "actual": "$actual",
            "expected": "$expected",
            "channels": "$channels",
            "labels": "$labels",
            "description": "$description",
        },
    },
}


def parse_template(text: str, known: Mapping[str, object]) -> Json:
    """Parse a template.

    Args:
        text: The content of the template file.
        known: The names that the template may use.

    Raises:
        ValueError: The text is not JSON (with the line), or it uses an unknown name.
    """
    try:
        template = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not JSON: {error.msg}") from None
    for part in _texts(template):
        if not string.Template(part).is_valid():
            raise ValueError(f"{part!r}: write $$ for a dollar sign")
        for name in string.Template(part).get_identifiers():
            if name not in known:
                nearest = difflib.get_close_matches(name, list(known), n=1)
                hint = f"did you mean ${nearest[0]}?" if nearest else f"known: {', '.join(known)}"
                raise ValueError(f"{part!r}: unknown ${name}; {hint}")
    return template


def render(template: Json, values: Mapping[str, object]) -> Json:
    """Return the template with its values filled in. Inside a longer string, null becomes empty.

    >>> render({"title": "$series!", "score": "$score"}, {"series": "pump-1", "score": 1.5})
    {'title': 'pump-1!', 'score': 1.5}
    """
    if isinstance(template, dict):
        return {key: render(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [render(value, values) for value in template]
    if not isinstance(template, str):
        return template
    name = template.removeprefix("$").strip("{}")
    if template in {f"${name}", f"${{{name}}}"} and name in values:
        return values[name]
    shown = {key: "" if value is None else value for key, value in values.items()}
    return string.Template(template).substitute(shown)


def _texts(template: Json) -> list[str]:
    if isinstance(template, dict):
        return [text for value in template.values() for text in _texts(value)]
    if isinstance(template, list):
        return [text for value in template for text in _texts(value)]
    return [template] if isinstance(template, str) else []
