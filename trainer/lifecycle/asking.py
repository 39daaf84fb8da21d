"""Ask the gate about a candidate: gather the rows, the known incidents and the rivals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.parquet.dataset import Dataset, discover
from connectors.times import INVALID_NS, times_of
from detector.artifact.spec import Artifact, Spec
from detector.calibration.feedback import Feedback
from detector.config.models.budget import with_budget
from detector.config.models.section import ModelSection
from detector.engine.engine import EngineOptions
from detector.offline.history_files import column_names_of
from trainer.lifecycle.evidence import between, gather
from trainer.lifecycle.gate import NO_ROWS, Judgement, OnRows, Rivals, judge, linear_rival
from trainer.lifecycle.own_series import OwnSeries
from trainer.lifecycle.past import FOREVER, Past, faults_of_feedback, faults_of_labels, past_of

Bar = Callable[[int], AbstractContextManager[OnRows]]
"""Makes a progress bar for a number of readings."""


@dataclass(frozen=True, slots=True)
class Question:
    """Hold what a person asks the gate.

    candidate, current  the versions; current is None where none is in use
    history             rows to compare on; None: none were given
    incidents           source of known incidents (`trainer.lifecycle.past`); None: none was given
    feedback            opinions that are kept beside the model
    options             options of the engine
    own                 the series that the model judges; others of the history are left out
    daemon              section of the model in the daemon's configuration; None: none was given
    """

    candidate: Artifact
    current: Artifact | None
    history: Path | None
    incidents: str | None
    feedback: Sequence[Feedback]
    options: EngineOptions
    own: OwnSeries
    daemon: ModelSection | None = None


def configured(artifact: Artifact, daemon: ModelSection | None) -> Artifact:
    """Return a model as a daemon uses it: with the alarm budget of its section. Raises ArtifactError."""
    return artifact if daemon is None else with_budget(artifact, daemon)


def ask(question: Question, scratch: Path, bar: Bar) -> Judgement:
    """Ask the gate.

    Args:
        question: What is asked.
        scratch: Directory of the caller for rows to replay.
        bar: Shows the progress.

    Raises:
        DetectorError, TrainerError, ConnectorError: A source cannot be read.
    """
    candidate, current = configured(question.candidate, question.daemon), question.current
    current = None if current is None else configured(current, question.daemon)
    name = question.own.model or candidate.spec.name
    past = past_of(question.incidents, name) if question.incidents else Past()
    if question.history is None:
        return judge(candidate, Rivals(current, "no rows: give --history"), None, lambda rows: None)
    specs = [one.spec for one in (candidate, current) if one is not None]
    dataset = question.own.of(_dataset(specs, question.history))
    lasting_ns = max(spec.window * spec.interval_ns for spec in specs)
    said = faults_of_feedback(question.feedback, lasting_ns)
    known = {one.name for one in past.faults}
    faults = (
        *past.faults,
        *(one for one in said if one.name not in known),
        *faults_of_labels(dataset),
    )
    since_ns = end_of_training(candidate, current)
    linear = _linear(candidate, dataset, since_ns, question.daemon)
    models = [one for one in (candidate, current, linear) if isinstance(one, Artifact)]
    evidence = gather(
        dataset,
        replace(past, faults=faults),
        since_ns,
        [one.spec for one in models],
        scratch,
        question.options,
    )
    with bar(evidence.num_rows * len(models)) as advance:
        return judge(candidate, Rivals(current, linear), evidence, advance)


def _linear(
    candidate: Artifact, dataset: Dataset, since_ns: int, daemon: ModelSection | None
) -> Artifact | str:
    """Return the linear rival, or in words why there is none."""
    if since_ns == FOREVER:
        return "the candidate does not state the end of its training"
    if next(between(dataset, since_ns)(), None) is None:
        return NO_ROWS
    found = linear_rival(candidate, dataset, since_ns)
    return configured(found, daemon) if isinstance(found, Artifact) else found


def end_of_training(candidate: Artifact, current: Artifact | None) -> int:
    """Return the time after which no row trained either model; `FOREVER` if the candidate does not state it.

    A current version of an older release does not state it. It may know rows that the candidate does not.
    """
    ends = [end_of(one.spec) for one in (candidate, current) if one is not None]
    return FOREVER if ends[0] is None else max(end for end in ends if end is not None)


def end_of(spec: Spec) -> int | None:
    """Return the end of the rows that a model learnt, nanoseconds; None if it does not state it."""
    found = int(times_of([str(spec.training.get("until", ""))])[0])
    return None if found == INVALID_NS else found


def _dataset(specs: Sequence[Spec], history: Path) -> Dataset:
    """Return the history with the channels of all models. Raises ParquetError."""
    channels = tuple(dict.fromkeys(name for spec in specs for name in spec.channel_names))
    return discover(history, channels, column_names_of(specs[0]))
