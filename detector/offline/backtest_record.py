"""The record of a backtest: what was run, with which model, and what people had decided.

`scores.parquet` and `incidents.json` hold what was found. This file holds what a reader needs to show it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from connectors.objects.names import without_secrets
from detector.artifact.description.described import Described
from detector.artifact.spec import Artifact
from detector.delivery.messages import applied_json, decision_json
from detector.engine.values import EngineOptions
from detector.errors import DetectorError
from detector.incidents.decision import Applied, Decision
from detector.offline.measuring.events import Event

RECORD = "backtest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """Hold what a backtest was made of, so that it can be repeated with other settings.

    artifact       where the model was: a path or a URI
    config         file of the daemon's configuration; None: the default rules
    config_digest  SHA-256 of its content
    lateness_ns    how long a row waited for late readings
    without        kinds of evidence that said nothing
    events         those that labels mark; None: the data had no labels
    """

    artifact: str
    config: str | None = None
    config_digest: str | None = None
    lateness_ns: int = 0
    without: tuple[str, ...] = ()
    events: tuple[Event, ...] | None = None

    @classmethod
    def of(cls, artifact: str, config: str | None, options: EngineOptions) -> Inputs:
        """Return the inputs with full paths, so that they are found from any directory; no events."""
        # A record is passed on; the credentials of its author are not for its readers.
        place = without_secrets(artifact) if "://" in artifact else str(Path(artifact).absolute())
        file = None if config is None else Path(config).absolute()
        digest = None if file is None else digest_of(file)
        path = None if file is None else str(file)
        return cls(place, path, digest, options.lateness_ns, options.rules.without)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inputs_from(record: Mapping[str, Any]) -> Inputs | None:
    """Return the inputs of a record; None where it has none, as older releases wrote it."""
    found = record.get("inputs")
    return None if found is None else inputs_of(found)


def inputs_of(values: Mapping[str, Any]) -> Inputs:
    """Return inputs from their JSON values."""
    events = values["events"]
    marked = None if events is None else tuple(Event(**one) for one in events)
    return Inputs(**{**values, "without": tuple(values["without"]), "events": marked})


def write_record(
    out: Path,
    artifact: Artifact,
    command: str,
    decisions: Sequence[Decision] = (),
    applied: Sequence[Applied] = (),
    inputs: Inputs | None = None,
) -> None:
    """Write `backtest.json` into the directory of a backtest.

    Promise: the file is whole, or is not there.

    Args:
        out: the directory that `backtest_parquet` wrote.
        artifact: the model.
        command: the command line, or how else the backtest was made.
        decisions: what people decided, as it was given to the backtest.
        applied: what of it took effect, or was ignored.
        inputs: what it was made of; None: it cannot be repeated.

    Raises:
        DetectorError: the directory cannot be written.
    """
    record = record_of(artifact, command, decisions, applied)
    record["inputs"] = None if inputs is None else asdict(inputs)
    scratch = out / f".{RECORD}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        scratch.replace(out / RECORD)
    except OSError as error:
        raise DetectorError(f"{out / RECORD}: cannot be written: {error.strerror}") from error


def record_of(
    artifact: Artifact | Described,
    command: str,
    decisions: Sequence[Decision],
    applied: Sequence[Applied] = (),
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
