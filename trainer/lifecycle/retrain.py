"""Refit a model from recorded history, and publish a candidate only if it is better than the current one.

    1. wait while an incident of the model is open
    2. end at once if nothing has changed since the last time
    3. hold back the newest rows, and leave out incidents, mutes and what people rejected
    4. train with the options of the current version
    5. ask the gate, and compare with the current version on the rows that neither has learnt

What was published, and why nothing was, is in the journal of the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.reader import read_chunks
from detector.artifact.description.place import CURRENT
from detector.artifact.registry import open_artifact, propose
from detector.artifact.spec import Artifact
from detector.calibration.feedback import read_feedback
from detector.config.models.section import ModelSection, ModelsSection
from detector.engine.engine import EngineOptions
from detector.journal import Note, read_journal
from detector.lifecycle.moves import record
from trainer.config import TrainConfig, config_of
from trainer.data.stretches import read_incidents
from trainer.errors import TrainerError
from trainer.fitting.usual_end import TimeSpan
from trainer.lifecycle.asking import Bar, configured, end_of
from trainer.lifecycle.evidence import between, gather
from trainer.lifecycle.gate import Judgement, Rivals, is_better, judge, linear_rival
from trainer.lifecycle.own_series import OwnSeries
from trainer.lifecycle.past import (
    FOREVER,
    Past,
    Stretch,
    faults_of_feedback,
    faults_of_labels,
    past_of,
    read_stretches,
    time_of,
    write_stretches,
)
from trainer.model_card import figures_of
from trainer.pipeline import TrainingData, fit_source
from trainer.progress import ProgressReport
from trainer.report.findings import check_accepted
from trainer.report.report import checked_table
from trainer.report.tables import table_of_dataset

LEFT_OUT = "left_out.json"
CLAIM = ".retrain.lock"
MARK = "mark"
_STATED = "stated"
_MOST_HELD_BACK_SECONDS = 7 * 86_400.0
_SHARE = 0.2
"""Without a wish, so much of the time of the history is held back, and at most a week."""
Kind = Literal["first", "candidate", "not better", "unchanged", "incident open", "no new rows", "busy"]


@dataclass(frozen=True, slots=True)
class Wish:
    """Hold what a retraining is given.

    history    recorded rows: a file or a directory
    entry      the model in the registry
    config     options of the training; None: those of the current version
    incidents  source of incidents and decisions (`trainer.lifecycle.past`); None: none was given
    held_back  seconds of the newest rows to compare on; None: a fifth of the time, and at most a week
    options    options of the engine
    who        who asks for it
    own        the series that the model judges; others of the history are left out
    daemon     section of the model in the daemon's configuration; None: none was given
    """

    history: Path
    entry: Path
    config: TrainConfig | None
    incidents: str | None
    held_back: float | None
    options: EngineOptions
    who: str
    own: OwnSeries
    daemon: ModelSection | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold how a retraining ended.

    kind       first, candidate: a version was published; the others: none was
    why        the reason, in words
    version    the version that was published, else empty
    judgement  what the gate found; None where it was not asked
    """

    kind: Kind
    why: str
    version: str = ""
    judgement: Judgement | None = None


def retrain(wish: Wish, scratch: Path, report: ProgressReport, bar: Bar) -> Outcome:
    """Retrain a model. The caller holds the claim (`detector.journal.claimed`).

    Args:
        wish: What to train on.
        scratch: Directory of the caller, for rows to replay.
        report: Receives the progress of the training.
        bar: Shows the progress of the comparison.

    Raises:
        TrainerError, DetectorError, ConnectorError: Something that was given cannot be used.
    """
    if not (wish.entry / CURRENT).exists():
        return _first(wish, report)
    current = open_artifact(wish.entry)
    past = past_of(wish.incidents, wish.own.model or current.spec.name) if wish.incidents else Past()
    if past.open:
        one = past.open[0]
        why = f"incident {one.name} of {one.series} is open since {time_of(one.start_ns)}"
        return _nothing(wish, Outcome("incident open", why), "")
    config = _config_of(wish, current, report)
    dataset = wish.own.of(discover(wish.history, current.spec.channel_names, config.data.names()))
    left_out = _left_out(wish, config, past)
    mark = _mark(wish, config, dataset, (left_out, past.faults), current.version)
    before = next((one for one in read_journal(wish.entry).events if one.figures.get(MARK) == mark), None)
    if before is not None:
        return Outcome("unchanged", f"nothing has changed since {before.at}: {before.why}")
    cut_ns = _cut(dataset, wish.held_back, end_of(current.spec))
    if cut_ns is None:
        why = "the history has no rows from after the training of the current version"
        return _nothing(wish, Outcome("no new rows", why), mark)
    _check(dataset, config, report)
    write_stretches(left_out, wish.entry / LEFT_OUT)
    own = _with_left_out(config, current.spec.name, wish.entry if left_out else None)
    source = TrainingData(between(dataset, 0, cut_ns), dataset.channels, dataset.interval_ns)
    trial = _stating(config.data.incidents, fit_source(source, own, report))
    judgement = _judged(_Trial(trial, current, cut_ns, past), wish, dataset, scratch, bar)
    return _ended(wish, trial, judgement, mark)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A new model of the rows before a time, and the current one."""

    artifact: Artifact
    current: Artifact
    cut_ns: int
    past: Past


def _judged(trial: _Trial, wish: Wish, dataset: Dataset, scratch: Path, bar: Bar) -> Judgement:
    artifact, current = (configured(one, wish.daemon) for one in (trial.artifact, trial.current))
    lasting_ns = max(one.spec.window * one.spec.interval_ns for one in (artifact, current))
    said = faults_of_feedback(read_feedback(wish.entry), lasting_ns)
    faults = (*trial.past.faults, *said, *faults_of_labels(dataset))
    linear = linear_rival(artifact, dataset, trial.cut_ns)
    linear = configured(linear, wish.daemon) if isinstance(linear, Artifact) else linear
    models = [one for one in (artifact, current, linear) if isinstance(one, Artifact)]
    specs = [one.spec for one in models]
    evidence = gather(dataset, replace(trial.past, faults=faults), trial.cut_ns, specs, scratch, wish.options)
    with bar(evidence.num_rows * len(models)) as advance:
        return judge(artifact, Rivals(current, linear), evidence, advance)


def _ended(wish: Wish, trial: Artifact, judgement: Judgement, mark: str) -> Outcome:
    """Publish the trial if the gate passes it and it is better, else write down why not."""
    figures = {MARK: mark, "gate": judgement.as_json()}
    if judgement.failed:
        why = "; ".join(f"{one.name}: {one.detail}" for one in judgement.failed)
        return _nothing(wish, Outcome("not better", why, judgement=judgement), mark, figures)
    better, why = is_better(judgement.figures) if judgement.figures else (False, "nothing could be compared")
    if not better:
        return _nothing(wish, Outcome("not better", why, judgement=judgement), mark, figures)
    note = Note(wish.who, f"retrained: {why}", {**figures_of(trial.spec), **figures})
    saved = propose(trial, wish.entry, note)
    if all(one.figures.get(MARK) != mark for one in read_journal(wish.entry).events):
        same = f"the result is {saved.version}, which was published before"
        record(wish.entry, "not retrained", "", Note(wish.who, same, figures))
    return Outcome("candidate", why, saved.version, judgement)


def _first(wish: Wish, report: ProgressReport) -> Outcome:
    """Train the first version of a name on the whole history. It is in use at once."""
    config = wish.config or TrainConfig()
    dataset = wish.own.of(discover(wish.history, config.data.channels, config.data.names()))
    _check(dataset, config, report)
    name = config.name or wish.entry.resolve().name
    source = TrainingData(between(dataset, 0), dataset.channels, dataset.interval_ns)
    artifact = fit_source(source, config.model_copy(update={"name": name}), report)
    saved = propose(artifact, wish.entry, Note(wish.who, "retrained", figures_of(artifact.spec)))
    return Outcome("first", "it is the first version of this name", saved.version)


def _nothing(wish: Wish, outcome: Outcome, mark: str, figures: dict[str, Any] | None = None) -> Outcome:
    """Write into the journal why nothing was published, unless its last line has that reason and mark."""
    kept = figures or ({MARK: mark} if mark else {})
    last = read_journal(wish.entry).events[-1:]
    told = [(one.action, one.why, one.figures.get(MARK, "")) for one in last]
    if told != [("not retrained", outcome.why, mark)]:
        record(wish.entry, "not retrained", "", Note(wish.who, outcome.why, kept))
    return outcome


def _left_out(wish: Wish, config: TrainConfig, past: Past) -> tuple[Stretch, ...]:
    """Return what must not be learnt: incidents, mutes, what feedback calls real, what the options name."""
    own = wish.entry / LEFT_OUT
    stated = config.data.incidents
    named = read_incidents(Path(stated)).found if stated and Path(stated) != own else ()
    lasting_ns = round((config.data.interval_seconds or 60.0) * (config.model.window or 64) * 1e9)
    said = faults_of_feedback(read_feedback(wish.entry), lasting_ns)
    listed = (Stretch(_STATED, series or "", start_ns, end_ns) for series, start_ns, end_ns in named)
    return _with_earlier((*past.incidents, *past.mutes, *said, *listed), wish.entry, past)


def _with_earlier(found: Sequence[Stretch], entry: Path, past: Past) -> tuple[Stretch, ...]:
    """Return the stretches with those of the last time that the source has no more, in order of time.

    Topics forget. What was left out once stays so, unless somebody called it a false alarm or accepted it.
    """
    said = {one.incident for one in read_feedback(entry) if one.opinion == "false-alarm"}
    known = {one.name for one in found} | past.normal | said | {_STATED}
    earlier = (one for one in read_stretches(entry / LEFT_OUT) if one.name not in known)
    every = dict.fromkeys((*found, *earlier))
    return tuple(sorted(every, key=lambda one: (one.start_ns, one.end_ns, one.series, one.name)))


def _config_of(wish: Wish, current: Artifact, report: ProgressReport) -> TrainConfig:
    """Return the options to train with. The file of incidents of an earlier training may be gone."""
    if wish.config is not None:
        return wish.config
    config = config_of(current.spec.training)
    stated = config.data.incidents
    is_own = stated is not None and Path(stated).resolve() == (wish.entry / LEFT_OUT).resolve()
    if stated is None or (Path(stated).exists() and not is_own):
        return config
    if not is_own:
        words = f"{stated}, which an earlier training used as data.incidents, does not exist: not used"
        report(0.0, words, notable=True)
    return config.model_copy(update={"data": config.data.model_copy(update={"incidents": None})})


def _stating(incidents: str | None, artifact: Artifact) -> Artifact:
    """Return the artifact whose record has the file of incidents that was given, in place of `LEFT_OUT`.

    The path of `LEFT_OUT` may be relative to a working directory, and its content changes.
    """
    options = artifact.spec.training["config"]
    stated = options | {"data": options["data"] | {"incidents": incidents}}
    training = {**artifact.spec.training, "config": stated}
    return replace(artifact, spec=replace(artifact.spec, training=training))


def _with_left_out(config: TrainConfig, name: str, entry: Path | None) -> TrainConfig:
    incidents = str(entry / LEFT_OUT) if entry is not None else None
    data = config.data.model_copy(update={"incidents": incidents})
    return config.model_copy(update={"name": name, "data": data})


def _mark(
    wish: Wish, config: TrainConfig, dataset: Dataset, known: Sequence[Sequence[Stretch]], current: str
) -> str:
    """Return a digest of all that the outcome depends on.

    Args:
        wish, config, dataset: What is trained on, and the rules by which models are compared.
        known: The stretches that are left out, and the known faults.
        current: The current version.
    """
    files = [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in dataset.files]
    own: list[object] = [wish.own.patterns, wish.own.least_channels]
    if isinstance(wish.daemon, ModelsSection) and wish.daemon.alarm_budget is not None:
        own.append(wish.daemon.alarm_budget)
    options = config.model_dump_json(exclude={"data": {"incidents"}})
    rules = repr(replace(wish.options, device="", threads=1))  # these two change no result
    stretches = [[(one.series, one.start_ns, one.end_ns) for one in some] for some in known]
    parts = json.dumps([files, options, stretches, own, wish.held_back, current, rules])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _check(dataset: Dataset, config: TrainConfig, report: ProgressReport) -> None:
    """Raise TrainerError if the rows would make a bad model."""
    check_accepted(config.data.accept)
    checked_table(table_of_dataset(dataset), config.data.accept, report)


def _cut(dataset: Dataset, held_back: float | None, known_ns: int | None) -> int | None:
    """Return the time from which rows are held back; None if the current version knows all rows.

    Of the rows that the current version does not know, at least half are learnt.

    Raises:
        TrainerError: The history is shorter than what is to be held back.
    """
    bare = replace(dataset, channels=(), has_label=False, has_split=False)
    span = TimeSpan()
    for chunk in read_chunks(bare):
        span.add(chunk.timestamp_ns)
    first_ns, last_ns = span.first_ns, span.end_ns
    wanted = held_back
    if wanted is None:
        wanted = min(_MOST_HELD_BACK_SECONDS, _SHARE * (last_ns - first_ns) / 1e9)
    held_back_ns = round(wanted * 1e9)
    if known_ns is not None:
        if known_ns > last_ns:
            return None
        held_back_ns = min(held_back_ns, (last_ns - known_ns) // 2)
    cut_ns = last_ns - held_back_ns
    if cut_ns <= first_ns:
        raise TrainerError(f"the history is shorter than the {wanted:g} s that --held-back keeps: give less")
    return min(cut_ns, FOREVER)
