"""The series beside their peers, and incidents that began together, for `/api/status` and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detector.incidents.grouping import IncidentGroup, group_all
from detector.incidents.incident import Incident
from detector.incidents.rules import FoldRules
from detector.peers.crowd import CrowdView, words

_NAMED, _MOST = 5, 20
_USUAL_SERIES, _USUAL_WINDOW_NS, _ROWS = 3, 600 * 10**9, 2


def peers_json(view: CrowdView) -> dict[str, Any]:
    """Return how many series are compared with their peers, and those that are away from them."""
    return {
        "known": view.known,
        "compared": view.compared,
        "num_apart": len(view.apart),
        "apart": [
            {
                "series": one.series,
                "channel": one.channel,
                "what": one.what,
                "since_ms": one.start_ns // 1_000_000,
                "strength": round(one.strength, 3),
                "difference": one.difference,
                "words": words(one),
            }
            for one in view.apart[:_MOST]
        ],
    }


def peers_line(found: Mapping[str, Any]) -> str:
    """Return how many series are compared; "" where the model does not compare them."""
    if not found["known"]:
        return ""
    if not found["compared"]:
        return "none compared yet, or fewer than 4 at the same time"
    away = found["num_apart"]
    return f"{found['compared']:,} compared, {f'{away:,} away from the others' if away else 'none is away'}"


def peers_problem(found: Mapping[str, Any]) -> str:
    """Return which series are away from their peers, the farthest first; "" if none is."""
    if not found["apart"]:
        return ""
    said = "; ".join(one["words"] for one in found["apart"][:_NAMED])
    rest = found["num_apart"] - _NAMED
    return f"Away from their peers: {said}{f'; and {rest:,} more' if rest > 0 else ''}."


def together_json(incidents: Sequence[Incident], rules: FoldRules, interval_ns: int) -> list[dict[str, Any]]:
    """Return the open incidents of several series that began together, the newest group first.

    Without `fold_series`, three series within ten minutes, or two rows, are together.

    Args:
        incidents: The open incidents of one model.
        rules: Its rules of folding.
        interval_ns: Length of its rows in nanoseconds.
    """
    if rules.num_series == 0:
        rules = FoldRules(_USUAL_SERIES, max(_USUAL_WINDOW_NS, _ROWS * interval_ns))
    groups = sorted(group_all(rules, incidents), key=lambda one: -one.start_ns)
    return [_group(one) for one in groups]


def together_problems(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which series became anomalous together, a sentence for each group."""
    return [
        f"{one['num_series']:,} series became anomalous together: first {one['first']}"
        f"{f' ({channel})' if (channel := one['channel']) else ''}, then {', '.join(one['series'][1:_NAMED])}"
        f"{f' and {rest:,} more' if (rest := one['num_series'] - _NAMED) > 0 else ''}."
        for one in found
    ]


def _group(group: IncidentGroup) -> dict[str, Any]:
    first = group.first
    return {
        "id": group.id,
        "start_ms": group.start_ns // 1_000_000,
        "severity": group.severity,
        "num_series": len(group.series),
        "first": first.series,
        "first_incident": first.id,
        "channel": first.channels[0].name if first.channels else None,
        "series": list(group.series_by_onset[:_MOST]),
    }
