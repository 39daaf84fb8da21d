"""The record of a backtest: what was run, with which model, and what people had decided.

`scores.parquet` and `incidents.json` hold what was found. This file holds what a reader needs to show it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.artifact.spec import Artifact
from detector.delivery.messages import applied_json, decision_json
from detector.errors import DetectorError
from detector.incidents.decision import Applied, Decision

RECORD = "backtest.json"
FORMAT = 1


def write_record(
    out: Path,
    artifact: Artifact,
    command: str,
    decisions: Sequence[Decision] = (),
    applied: Sequence[Applied] = (),
) -> None:
    """Write `backtest.json` into the directory of a backtest.

    Promise: the file is whole, or is not there.

    Args:
        out: the directory that `backtest_parquet` wrote.
        artifact: the model.
        command: the command line, or how else the backtest was made.
        decisions: what people decided, as it was given to the backtest.
        applied: what of it took effect, or was ignored.

    Raises:
        DetectorError: the directory cannot be written.
    """
    record = record_of(artifact, command, decisions, applied)
    scratch = out / f".{RECORD}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        scratch.replace(out / RECORD)
    except OSError as error:
        raise DetectorError(f"{out / RECORD}: cannot be written: {error.strerror}") from error


def record_of(
    artifact: Artifact, command: str, decisions: Sequence[Decision], applied: Sequence[Applied] = ()
) -> dict[str, Any]:
    """Return the content of `backtest.json` (docs/explorer.md is the contract)."""
    effects = {one.decision.id: applied_json(one) for one in applied}
    spec = artifact.spec
    return {
        "format": FORMAT,
        "command": command,
        "model": spec.name,
        "version": artifact.version,
        "family": spec.family,
        "window": spec.window,
        "interval_ns": spec.interval_ns,
        "sharpness": spec.threshold.sharpness,
        "alarm_budget": spec.threshold.alarm_budget,
        "channels": [{"name": channel.name, "band": channel.band} for channel in spec.channels],
        "own_bands": {name: spec.band_of(name).tolist() for name in spec.own_scales},
        "decisions": [effects.get(one.id, decision_json(one)) for one in decisions],
        "card": artifact.card,
    }
