"""The report of a backtest: its answers, and what its first page says beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from detector.explore.deciding.writing import Writing
from detector.explore.source import source_of
from detector.explore.storage.place import Place
from detector.explore.store.database import Database
from detector.explore.store.layout import Description
from detector.explore.web.serve import opened
from detector.offline.backtest import labels_of_dataset
from detector.offline.history_files import history_for
from detector.offline.measuring.labelled_events import LabelledEvent, labelled_events
from detector.reports.answers import held_of
from detector.reports.comparison import compared
from detector.reports.page import write_page
from detector.reports.reported import Reported
from detector.reports.scores import distribution, unusual_rows
from detector.reports.words import apart_rows, quality_rows, summary_words

_MOST_EVENTS = 200


def write_report(out: Path, shown: Reported, command: str, other: Reported | None = None) -> int:
    """Write the report of a backtest as one HTML file and return its size in bytes.

    Args:
        out: the file to write.
        shown: the backtest.
        command: the command line.
        other: a backtest of another model on the same data, to compare with; None: no comparison.

    Raises:
        DetectorError: a file cannot be read or written.
    """
    with tempfile.TemporaryDirectory(prefix="streamgauge-report-") as scratch:
        store = Path(scratch) / "store"
        described = opened(
            source_of(str(shown.directory), Place(str(store))),
            Writing("", refused="a report takes no decisions"),
        )
        database, description = described.database, described.description
        try:
            held = held_of(described)
            report = report_of(shown, database, description, command) | {
                "budgets": shown.slider.as_json(shown.outcome.incidents),
                "held": {"series": held.series, "incidents": held.incidents},
                "left_out": held.left_out,
            }
            if other is not None:
                report["comparison"] = compared(shown, other, database, held.series)
        finally:
            described.close()
    return write_page(out, report["title"], "backtest", held.answers | {"report": report})


def report_of(shown: Reported, database: Database, description: Description, command: str) -> dict[str, Any]:
    """Return what the first page says beside the answers of the API."""
    labels = _labels(shown, database)
    return {
        "title": f"Backtest of {description.model}",
        "words": summary_words(shown.outcome, description),
        "labels": labels,
        "scores": distribution(database),
        "apart": apart_rows(shown.outcome),
        "quality": quality_rows(shown.outcome),
        "made": _made(shown, description, command),
    }


def _made(shown: Reported, description: Description, command: str) -> list[tuple[str, str]]:
    first, last = (_utc(one) for one in (description.first_ns, description.last_ns))
    channels = ", ".join(description.channels[:12]) + (" and more" if len(description.channels) > 12 else "")
    return [
        ("Command", command),
        ("Data", str(shown.data)),
        ("From, to", f"{first} to {last} (UTC)"),
        ("Rows and series", f"{description.rows:,} rows of {description.series:,} series"),
        ("Channels", channels),
        ("Model", f"{description.model}, version {description.version}, {description.family}"),
        ("Alarm budget", description.alarm_budget),
        ("Streamgauge", version("streamgauge")),
    ]


def _labels(shown: Reported, database: Database) -> dict[str, Any] | None:
    """Return the labelled events and how many were found; None where the data has no labels."""
    spec = shown.artifact.spec
    labels = labels_of_dataset(history_for(spec, shown.data))
    if labels is None:
        return None
    unusual = {name: unusual_rows(database, name) for name in labels}
    events = labelled_events(labels, unusual, shown.outcome.incidents, spec)
    return {
        "words": _label_words(events, shown.outcome.measures),
        "events": [*map(_event, events[:_MOST_EVENTS])],
    }


def _label_words(events: Sequence[LabelledEvent], measures: Mapping[str, float | int]) -> list[str]:
    num = len(events)
    found = sum(one.delay_rows is not None for one in events)
    alarmed = sum(one.incident is not None for one in events)
    false = int(measures["false_alarms"])
    words = [
        f"{found:,} of {num:,} labelled events have a score above 1, and {alarmed:,} an incident.",
        f"{false:,} runs of scores above 1 touch no event.",
    ]
    if measures["vus_pr"] == measures["vus_pr"]:
        words.append(f"VUS-PR is {measures['vus_pr']:.3f}.")
    if num > _MOST_EVENTS:
        words.append(f"The first {_MOST_EVENTS} events are listed.")
    return words


def _event(one: LabelledEvent) -> dict[str, Any]:
    return {
        "series": one.series,
        "start": one.start_ns / 1e6,
        "end": one.end_ns / 1e6,
        "found": one.delay_rows is not None,
        "delay_rows": one.delay_rows,
        "incident": one.incident,
    }


def _utc(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
