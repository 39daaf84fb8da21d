"""What `streamgauge models` prints: versions, the life of one, what the gate said."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from detector.journal import Event
    from detector.lifecycle.versions import Registered, Version
    from trainer.lifecycle.gate import Judgement

_COLUMNS = ("version", "", "published", "by", "why", "model", "budget", "trained on", "gate")
_MOST_WHY = 40


def print_versions(found: Registered) -> None:
    """Print the versions of a model, the newest first, as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=190)
    table = Table(title=str(found.entry))
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name in ("version", "published", "trained on"))
    for version in found.versions:
        _add(table, version)
    console.print(table)
    if found.journal.num_damaged:
        console.print(f"{found.journal.num_damaged} lines of the journal are damaged and were left out")


def versions_json(found: Registered) -> dict[str, Any]:
    """Return the versions of a model as plain JSON values."""
    return {
        "path": str(found.entry),
        "current": found.current.name if found.current is not None else None,
        "damaged_lines": found.journal.num_damaged,
        "versions": [
            {
                "version": one.name,
                "standing": one.standing,
                "published": _when(one.at),
                "events": [event_json(event) for event in one.events],
            }
            for one in found.versions
        ],
    }


def event_json(event: Event) -> dict[str, Any]:
    """Return an event as plain JSON values."""
    return {
        "action": event.action,
        "version": event.version,
        "before": event.before or None,
        "at": event.at,
        "who": event.who,
        "why": event.why,
        "forced": event.forced,
        "figures": dict(event.figures),
    }


def event_lines(events: Iterable[Event]) -> list[str]:
    """Return events as lines for people."""
    lines = []
    for one in events:
        words = [one.at, one.action, *([f"by {one.who}"] if one.who else [])]
        words += ["(forced)"] if one.forced else []
        lines.append(" ".join(words) + (f": {one.why}" if one.why else ""))
        lines += [f"  {name}: {value}" for name, value in _flat(one.figures)]
    return lines


def print_judgement(found: Judgement) -> None:
    """Print the answer to each question of the gate."""
    width = max(len(one.name) for one in found.checks)
    for one in found.checks:
        print(f"{one.name:<{width}}  {one.answer:<9}  {one.detail}")


def _add(table: Table, version: Version) -> None:
    published = version.published
    figures = published.figures if published is not None else {}
    since, until = (str(figures.get(key, ""))[:10] for key in ("from", "until"))
    refused = [one for one in version.events if one.action == "refused"]
    why = published.why if published is not None else "published before there was a journal"
    table.add_row(
        version.name,
        version.standing,
        _when(version.at)[:16].replace("T", " "),
        published.who if published is not None else "",
        why if len(why) <= _MOST_WHY else why[: _MOST_WHY - 1] + "…",
        str(figures.get("model") or _calibrated(figures)),
        str(figures.get("alarm_budget", "")),
        f"{since} to {until}" if since else "",
        "refused" if refused else "forced" if any(one.forced for one in version.events) else "",
    )


def _calibrated(figures: Mapping[str, Any]) -> str:
    before = figures.get("calibrated_from")
    return f"calibrated {before}" if before else ""


def _flat(figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return figures by name; those of the gate by check."""
    found = [(name, value) for name, value in figures.items() if not isinstance(value, dict | list)]
    gate = figures.get("gate")
    checks = gate.get("checks", []) if isinstance(gate, dict) else []
    named = [one for one in checks if isinstance(one, dict)]
    return found + [
        (f"gate, {one.get('name')}", f"{one.get('answer')}: {one.get('detail')}") for one in named
    ]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
