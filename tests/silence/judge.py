"""Train on a history, stream what follows, and say whether the fault was found, or told of before it.

Only public entrances are used: `fit`, Parquet files, `Engine`. What counts as telling: an error, a note in
the training record, a warning in the log, an incident, a state of the series, or a counter of trouble.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import streamgauge as sg
from connectors.errors import ConnectorError
from connectors.records import Readings
from detector import Engine, EngineOptions, IncidentRules
from detector.artifact.spec import Artifact
from detector.errors import DetectorError
from detector.incidents.rules import WatchdogRules
from detector.scoring.verdicts import State
from tests.silence.corruptions import CORRUPTIONS
from tests.silence.plant import FAULT_AT, FAULT_ROWS, Case, plant, with_fault
from trainer.errors import TrainerError

WINDOW = 20
_BOUND_ROWS = 30
"""Rows after the begin of the fault within which an alarm is right."""
_BATCH_ROWS = 10
_PLAIN = {
    *(
        "rows",
        "num_series",
        "from",
        "until",
        "fingerprint",
        "train",
        "validation",
        "calibration",
        "epochs",
        "best_epoch",
    ),
    *(
        "left_out",
        "stopped",
        "train_loss",
        "validation_loss",
        "train_losses",
        "validation_losses",
        "seed",
        "config",
        "season",
    ),
}
"""What every training records. Any other entry that is not empty tells something."""
_QUIET_COUNTERS = {
    *("readings", "rows", "gap_rows", "windows", "cells", "nan_cells", "states", "suppressed"),
    *("late", "duplicate", "overwritten", "out_of_order", "judged", "masked", "unjudged"),
}
"""Counters that no alert watches. Any other one tells something when it is not 0."""
_QUIET_STATES = {State.OK, State.ANOMALOUS, State.WARMING}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of a seed; `told` says by what means, in the order of time."""

    seed: int
    corruption: str
    found: bool
    told: tuple[str, ...]

    @property
    def is_silent(self) -> bool:
        return not self.found and not self.told

    @property
    def command(self) -> str:
        return f"python -m tests.silence.run --seed {self.seed} --only {self.corruption}"


def judge(seed: int, corruption: str) -> Judgement:
    """Return the judgement of one seed and one corruption."""
    case = plant(seed)
    CORRUPTIONS[corruption](case)
    with _Log() as log, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            artifact = _train(case)
        except (TrainerError, DetectorError, ConnectorError) as error:
            return Judgement(seed, corruption, False, (f"error: {error}",))
        told = [f"training: {name}" for name in _notes(artifact)]
        found, later = _stream(case, artifact)
    told += [f"warning: {one.message}" for one in warned if "streamgauge" in str(one.filename)]
    told += [f"log: {words}" for words in log.messages]
    return Judgement(seed, corruption, found, (*told, *later))


def _train(case: Case) -> Artifact:
    if case.as_files is None:
        frames = [frame.assign(series=name) for name, frame in case.history.items()]
        return sg.fit(pd.concat(frames), model="linear", window=WINDOW)
    with tempfile.TemporaryDirectory(prefix="silence-") as scratch:
        for name, frame in case.as_files.items():
            path = Path(scratch, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pandas(frame.reset_index(), preserve_index=False), path)
        return sg.fit(scratch, model="linear", window=WINDOW)


def _notes(artifact: Artifact) -> list[str]:
    """Return what the training recorded beside the usual facts."""
    facts = artifact.spec.training.items()
    told = [f"{name}={value}" for name, value in facts if name not in _PLAIN and value]
    return told + list(artifact.spec.training["left_out"]["lines"])


def _stream(case: Case, artifact: Artifact) -> tuple[bool, list[str]]:
    """Return whether the fault raised an alarm, and what was told before it."""
    rules = IncidentRules(watchdog=WatchdogRules(series_after_ns=40 * case.interval_ns))
    engine = Engine(artifact, EngineOptions(stale_after_ns=40 * case.interval_ns, rules=rules))
    name, channel = case.fault
    lacking = [one for one in case.channels if one not in artifact.spec.channel_names]
    told = [f"model: lacks {one}" for one in lacking if one == channel]
    start, end = _fault_times(case, with_fault(case)[name])
    begun = False
    for number, (readings, now_ns) in enumerate(_batches(case, artifact)):
        if not begun and (number + 1) * _BATCH_ROWS > FAULT_AT:
            told += _told_by(engine, name)
            begun = True
        result = engine.step(readings, now_ns)
        if begun and _alarms(result, name, start, end + _BOUND_ROWS * case.interval_ns):
            return True, told
        told += [] if begun else _incidents(result, name)
    return _alarms(engine.flush(), name, start, end + _BOUND_ROWS * case.interval_ns), told


def _fault_times(case: Case, frame: pd.DataFrame) -> tuple[int, int]:
    """Return the first and last time of the faulty rows, by their own clock, rounded to the grid."""
    times = frame.index.as_unit("ns").asi8[FAULT_AT : FAULT_AT + FAULT_ROWS]
    return int(times.min()) - case.interval_ns, int(times.max())


def _batches(case: Case, artifact: Artifact) -> list[tuple[Readings, int]]:
    """Return the stream of all series in order of arrival, some rows of each series a batch."""
    frames = with_fault(case)
    names = tuple(frames)
    found = []
    length = max(map(len, frames.values()))
    for at in range(0, length, _BATCH_ROWS):
        parts = [(number, frame.iloc[at : at + _BATCH_ROWS]) for number, frame in enumerate(frames.values())]
        columns = artifact.spec.channel_names
        values = [part.reindex(columns=columns).to_numpy(np.float64) for _, part in parts]
        times = np.concatenate([part.index.as_unit("ns").asi8 for _, part in parts])
        series = np.concatenate([np.full(len(part), number, np.int32) for number, part in parts])
        zeros = np.zeros(len(times), np.int32)
        found.append(
            (
                Readings(names, series, times, np.concatenate(values), zeros, np.arange(len(times))),
                int(np.median(times)),
            )
        )
    return found


def _alarms(result: Any, name: str, start: int, end: int) -> bool:
    """Return whether a row of the series between two times is anomalous."""
    verdicts = result.verdicts
    if name not in verdicts.names:
        return False
    mine = verdicts.series == verdicts.names.index(name)
    within = (verdicts.timestamp_ns >= start) & (verdicts.timestamp_ns <= end)
    bad = np.isin(verdicts.state, [int(State.ANOMALOUS), int(State.OUT_OF_RANGE)])
    return bool((mine & within & bad).any())


def _incidents(result: Any, name: str) -> list[str]:
    """Return the incidents of missing data. One of a score does not say that later faults are hidden."""
    mine = [event.incident for event in result.incidents if event.incident.series == name]
    return [f"incident: {one.reason}" for one in mine if one.reason != "score"]


def _told_by(engine: Engine, name: str) -> list[str]:
    """Return what state and counters say at the begin of the fault."""
    latest = engine.latest
    told = []
    if name in latest.names:
        state = State(int(latest.state[latest.names.index(name)]))
        told += [f"state: {state.label}"] if state not in _QUIET_STATES else []
    counters: Mapping[str, Any] = asdict(engine.counters)
    flat = {**counters, **counters["grid"]}
    told += [
        f"metric: {one}={value}"
        for one, value in flat.items()
        if one not in _QUIET_COUNTERS and isinstance(value, int) and value
    ]
    return told


class _Log(logging.Handler):
    """Collects warnings and errors that are logged while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> _Log:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger().removeHandler(self)
