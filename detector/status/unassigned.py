"""The series that the model of a daemon does not judge, for `/api/status` and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.delivery.routing.tally import Unassigned

_NAMED = 5


def unassigned_json(found: Unassigned) -> dict[str, Any]:
    """Return how many series and messages are unassigned by reason, and the series with the most messages."""
    return {
        "series": dict(found.series),
        "messages": dict(found.messages),
        "most": [{"series": one.name, "reason": one.reason, "messages": one.messages} for one in found.most],
    }


def unassigned_line(status: Mapping[str, Any]) -> str:
    """Return the number of unassigned series, "" if there is none."""
    series, messages = sum(status["series"].values()), sum(status["messages"].values())
    return f"{series:,} with {messages:,} messages" if series else ""


def unassigned_problem(status: Mapping[str, Any]) -> str:
    """Return which series are unassigned for want of channels, and the remedy; "" if none is.

    A name that matches no pattern is meant to be left out, and is no problem.
    """
    number = status["series"]["channels"]
    if not number:
        return ""
    named = [
        f"{one['series']} ({one['messages']:,} messages)"
        for one in status["most"]
        if one["reason"] == "channels"
    ]
    more = f" and {number - _NAMED:,} more" if number > _NAMED else ""
    return (
        f"Series with too few channels of this model are not judged: {', '.join(named[:_NAMED])}{more}. Train"
        " a model for them, or leave them out with [model] series."
    )
