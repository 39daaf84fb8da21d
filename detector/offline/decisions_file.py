"""Read the decisions that a replay repeats: JSON lines or Parquet, with the records of docs/messages.md."""

from __future__ import annotations

from pathlib import Path

from connectors.parquet.records import read_records
from detector.delivery.decision_records import DecisionError, decode_columns, decode_decision
from detector.errors import ConfigError
from detector.incidents.decision import Decision


def read_decisions(path: Path) -> list[Decision]:
    """Return the decisions of a file, in its order; one that occurs twice counts once.

    A line of JSON is a record, or a message of the alerts topic. Of these the applied decisions count.

    Raises:
        ConfigError: the file cannot be read, or has something else; it names the line.
    """
    try:
        found = decode_columns(read_records(path)) if path.suffix == ".parquet" else _read_lines(path)
    except (OSError, DecisionError) as error:
        raise ConfigError(f"--decisions {path}: {error}") from error
    return list({one.id: one for one in reversed(found)}.values())[::-1]


def _read_lines(path: Path) -> list[Decision]:
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            decision = decode_decision(line)
        except DecisionError as error:
            raise DecisionError(f"line {number}: {error}") from error
        if decision is not None:
            found.append(decision)
    return found
