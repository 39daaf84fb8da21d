"""What happened to the series of a model: its incidents, what people said of them, and mutes.

A source is the configuration of a daemon (its topics of alerts and decisions), the directory of a backtest,
or a file of incidents: `incidents.json`, or JSON lines as in the topics of alerts and decisions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from connectors.parquet.dataset import Dataset
from connectors.times import INVALID_NS, times_of
from detector.calibration.feedback import Feedback, incidents_of
from detector.errors import ArtifactError, ConfigError
from detector.incidents.decision import Decision
from detector.incidents.incident import MODEL_REASONS
from detector.offline.backtest import labels_of_dataset
from detector.offline.measuring.events import events_of

_REAL, _NOT = ("real", "reject"), ("false-alarm", "accept")
_STATES = ("firing", "resolved")
FOREVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Hold a stretch of time of one series, nanoseconds since the epoch.

    name    id of the incident or mute, or what it is
    series  its name; empty for every series
    end_ns  its last moment; `FOREVER` while it lasts
    """

    name: str
    series: str
    start_ns: int
    end_ns: int

    def overlaps(self, series: str, start_ns: int, end_ns: int) -> bool:
        """Return whether a stretch of a series touches this one."""
        return self.is_about(series) and start_ns <= self.end_ns and end_ns >= self.start_ns

    def is_about(self, series: str) -> bool:
        """Return whether this is a stretch of a series."""
        return self.series in ("", series)


@dataclass(frozen=True, slots=True)
class Past:
    """Hold what is known of the past of a model.

    incidents  all that were not called false alarms or accepted as normal
    faults     those that are known faults: the gate asks whether they are still found
    open       those that block a training: the model still raises them, and nobody called them normal
    mutes      stretches in which a person wanted no incidents
    normal     ids of the incidents that somebody called a false alarm or accepted
    """

    incidents: tuple[Stretch, ...] = ()
    faults: tuple[Stretch, ...] = ()
    open: tuple[Stretch, ...] = ()
    mutes: tuple[Stretch, ...] = ()
    normal: frozenset[str] = frozenset()


def time_outside(stretches: Iterable[Stretch], series: str, start_ns: int, end_ns: int) -> int:
    """Return for how many nanoseconds a series was in none of the stretches, between two times."""
    inside, done_ns = 0, start_ns
    for one in sorted(stretches, key=lambda one: one.start_ns):
        if one.is_about(series):
            first_ns, last_ns = max(one.start_ns, done_ns), min(one.end_ns, end_ns)
            inside += max(0, last_ns - first_ns)
            done_ns = max(done_ns, last_ns)
    return max(0, end_ns - start_ns - inside)


def past_of(source: str, model: str) -> Past:
    """Return the past that a source has of a model.

    Of a group, the faults are the incidents that somebody called real or rejected. Of a file or a backtest
    they are all incidents but those that somebody called a false alarm or accepted.

    Args:
        source: A configuration of a daemon, a directory of a backtest, or a file of incidents.
        model: Name of the model; incidents of other models are left out.

    Raises:
        DetectorError, ConnectorError: The source cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        return past_from(*_of_backtest(path), model, is_group=False, is_live=False)
    if not path.is_file():
        raise ConfigError(
            f"--incidents: {source} does not exist; give the configuration of a daemon, a directory that"
            " backtest --out wrote, or a file of incidents"
        )
    if path.suffix == ".toml":
        return past_from(*_of_group(source), model, is_group=True)
    return past_from(
        incidents_of(path), _decisions_of(path), model, is_group=False, is_live=not _is_report(path)
    )


def past_from(
    incidents: Iterable[Mapping[str, Any]],
    decisions: Iterable[Decision],
    model: str,
    is_group: bool,
    is_live: bool = True,
) -> Past:
    """Return the past of incidents as `incident_json` writes them, and of decisions.

    Args:
        incidents, decisions: In the order in which they were written.
        model: Name of the model; incidents of other models are left out.
        is_group: Whether only incidents that somebody called real or rejected are faults.
        is_live: Whether an incident without an end goes on; else its data ended first.

    Raises:
        ConfigError: An incident has no series or no times.
    """
    said = list(decisions)
    decided = {one.incident: one.action for one in said if one.action != "mute"}
    newest = {str(one.get("id")): one for one in incidents if _is_about(one, model)}
    found = {name: _stretch(name, one) for name, one in newest.items() if decided.get(name) not in _NOT}
    return Past(
        tuple(found.values()),
        tuple(one for one in found.values() if not is_group or decided.get(one.name) in _REAL),
        tuple(found[name] for name, one in newest.items() if is_live and name in found and _is_open(one)),
        _mutes(one for one in said if one.action == "mute"),
        frozenset(name for name, action in decided.items() if action in _NOT),
    )


def faults_of_feedback(feedback: Sequence[Feedback], lasting_ns: int) -> tuple[Stretch, ...]:
    """Return the incidents that feedback beside the model calls real; each is taken to last `lasting_ns`."""
    return tuple(
        Stretch(one.incident, one.series, _ns(one.start), _ns(one.start) + lasting_ns)
        for one in feedback
        if one.opinion == "real"
    )


def faults_of_labels(dataset: Dataset) -> tuple[Stretch, ...]:
    """Return the runs of rows that the column `label` marks; none without that column."""
    labels = labels_of_dataset(dataset)
    found = [] if labels is None else events_of(labels)
    return tuple(Stretch("label", one.series, one.start_ns, one.end_ns) for one in found)


def write_stretches(stretches: Iterable[Stretch], path: Path) -> None:
    """Write stretches as a file that the option `data.incidents` of a training reads.

    Raises:
        ArtifactError: The file cannot be written.
    """
    lines = [
        {
            "id": f"{number}:{one.name}",
            "series": one.series or None,
            "start": time_of(one.start_ns),
            "end": None if one.end_ns == FOREVER else time_of(one.end_ns),
        }
        for number, one in enumerate(stretches)
    ]
    try:
        path.write_text(json.dumps({"incidents": lines}) + "\n")
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_stretches(path: Path) -> tuple[Stretch, ...]:
    """Return what `write_stretches` wrote; nothing where there is no file.

    Raises:
        DetectorError: The file has something else.
    """
    if not path.exists():
        return ()
    found = (_stretch(str(one.get("id", "")).partition(":")[2], one) for one in incidents_of(path))
    return tuple(found)


def _mutes(decisions: Iterable[Decision]) -> tuple[Stretch, ...]:
    """Return the mutes; a new one of a series ends the running one, and one of no length ends it alone."""
    over, newest = list[Stretch](), dict[str, Stretch]()
    for one in decisions:
        before = newest.pop(one.series, None)
        if before is not None:
            over.append(replace(before, end_ns=min(before.end_ns, one.at_ns)))
        if one.until_ns is not None and one.until_ns > one.at_ns:
            newest[one.series] = Stretch(one.id, one.series, one.at_ns, one.until_ns)
    return (*over, *newest.values())


def _is_open(incident: Mapping[str, Any]) -> bool:
    """Return whether the model itself still raises an incident."""
    reason = incident.get("reason", MODEL_REASONS[0])
    return incident.get("end") is None and reason in MODEL_REASONS


def _is_report(path: Path) -> bool:
    """Return whether a file is the report of a backtest, and not lines of the topics."""
    try:
        whole = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(whole, dict) and "incidents" in whole


def _is_about(incident: Mapping[str, Any], model: str) -> bool:
    """Return whether this is an incident of the model, and not a decision or a note on one."""
    is_incident = "start" in incident and incident.get("state", "resolved") in _STATES
    return is_incident and incident.get("model", model) == model


def _stretch(name: str, incident: Mapping[str, Any]) -> Stretch:
    try:
        end = incident.get("end")
        end_ns = FOREVER if end is None else _ns(end)
        return Stretch(name, str(incident["series"] or ""), _ns(incident["start"]), end_ns)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"--incidents: incident {name} needs a series and times: {error}") from error


def _of_backtest(directory: Path) -> tuple[list[Mapping[str, Any]], list[Decision]]:
    from detector.explore.deciding.backtest_ledger import BacktestLedger
    from detector.explore.deciding.ledger import LedgerError

    try:
        said = [one.decision for one in BacktestLedger(directory).entries()]
    except LedgerError as error:
        raise ConfigError(f"--incidents {directory}: {error}; give what backtest --out wrote") from error
    return incidents_of(directory / "incidents.json"), said


def _of_group(config: str) -> tuple[list[Mapping[str, Any]], list[Decision]]:
    from detector.commands.decide import place_of
    from detector.delivery.decisions.known_incidents import read_alerts, read_decisions

    connection, topics = place_of(config)
    incidents: list[Mapping[str, Any]] = []
    for value in read_alerts(connection, topics):
        try:
            body = json.loads(value)
        except ValueError:
            continue
        if isinstance(body, dict) and "id" in body:
            incidents.append(body)
    return incidents, list(read_decisions(connection, topics))


def _decisions_of(path: Path) -> list[Decision]:
    """Return the decisions among the lines of a file; none in a file of another form."""
    from detector.delivery.decision_records import DecisionError, decode_decision

    found = []
    for line in path.read_bytes().splitlines():
        try:
            decision = decode_decision(line)
        except DecisionError:
            continue
        found += [decision] if decision is not None else []
    return found


def _ns(text: str) -> int:
    """Return an ISO 8601 time as nanoseconds. Raises ValueError."""
    found = int(times_of([str(text)])[0])
    if found == INVALID_NS:
        raise ValueError(f"{text!r} is no time in ISO 8601")
    return found


def time_of(ns: int) -> str:
    """Return a time in ISO 8601, UTC."""
    return f"{np.datetime64(ns, 'ns').astype('M8[us]')}Z"
