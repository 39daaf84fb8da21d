"""The answer to a question: the exact engine on the rows of the store, with the present and other settings.

It runs in a process of its own (`detector.explore.background`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connectors.objects.names import below, is_remote, without_secrets
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget, shared_by
from detector.calibration.recalibrate import recalibrated
from detector.calibration.stored_feedback import feedback_at
from detector.config.engine_options import changed_section, default_threads, engine_options, with_section
from detector.config.incident_schema import IncidentsSection
from detector.config.models.budget import with_budget
from detector.config.models.entries import has_several_models, load_for
from detector.delivery.decision_records import decode_decision
from detector.delivery.messages import incident_json
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.errors import ArtifactError, ConfigError
from detector.explore.archive.live_store import LiveStore
from detector.explore.background.child import Report
from detector.explore.storage.place import Place
from detector.explore.store.database import Database, open_store
from detector.explore.store.layout import is_archive
from detector.explore.whatif.comparison import Opening, compared, summary
from detector.explore.whatif.question import Question, plain_rule
from detector.explore.whatif.stretch import Stretch, readings_of, stretch_of
from detector.explore.whatif.toml_lines import toml_difference
from detector.incidents.decision import Decision
from detector.incidents.incident import Incident
from detector.incidents.shapes.sentence import Wording, sentence
from detector.offline.backtest_record import Inputs, digest_of, inputs_of
from detector.offline.measuring.events import Event

_WEEK_SECONDS = 604_800
_MOST_LISTED = 500
_SILENT = ("silent", "stream_silent")


@dataclass(frozen=True, slots=True)
class Setting:
    """Hold a model with its alarm budget, and the options of the engine."""

    artifact: Artifact
    options: EngineOptions


def answer(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Return what the proposed settings find in the stretch, beside what the present ones find.

    Raises:
        DetectorError: the model or the configuration is no longer there, or the stretch is too long.
        ValueError: the alarm budget cannot be used with this model.
    """
    question = Question(**task["question"])
    inputs = inputs_of(task["inputs"])
    section, present, wording = present_setting(inputs, task["version"])
    settings = (present, _proposed(present, section, question, inputs))
    decisions = [decode_decision(json.dumps(one).encode()) for one in task["decisions"] or ()]
    with closing(database_at(Place(**task["place"]))) as database:
        stretch = _stretch(database, question, present)
        found = _replayed(database, question, stretch, settings, [one for one in decisions if one], report)
        stored = _stored(database, question)
    openings = [_openings(incidents, question, wording) for incidents in found]
    events = None if inputs.events is None else _inside(inputs.events, question)
    figures = _figures(openings, settings, stretch, events)
    rules = question.incidents or {}
    before = {name: plain_rule(section, name) for name in rules}
    budgets = (figures[0]["alarm_budget"], figures[1]["alarm_budget"])
    difference = compared(*openings)
    listed = difference.pop("incidents")
    return {
        "present": figures[0],
        "proposed": figures[1],
        **difference,
        "incidents": listed[:_MOST_LISTED],
        "series_weeks": _seconds(stretch, present.artifact) / _WEEK_SECONDS,
        "rows": stretch.rows,
        "read_from": stretch.begin_ns / 1e6,
        "is_whole": stretch.is_whole,
        "repeats": {_key(one) for one in openings[0]} == stored,
        "toml": toml_difference(budgets, before, rules, inputs.artifact, has_several_models(inputs.config)),
    }


def database_at(place: Place) -> Database:
    """Return the store of a backtest or a running group as it is now. Raises ExploreError or ObjectsError."""
    if is_remote(place.address) or is_archive(Path(place.address)):
        return LiveStore(place.storage(), time.time_ns()).database
    return open_store(Path(place.address))


def _figures(
    openings: Sequence[Sequence[Opening]],
    settings: Sequence[Setting],
    stretch: Stretch,
    events: Sequence[Event] | None,
) -> list[dict[str, Any]]:
    """Return the figures of each setting, with its budget, what that allows in the stretch, and threshold."""
    found = []
    for one, setting in zip(openings, settings, strict=True):
        threshold = setting.artifact.spec.threshold
        allowed = _seconds(stretch, settings[0].artifact) * parse_budget(threshold.alarm_budget)
        stated = {"alarm_budget": threshold.alarm_budget, "allowed": allowed, "threshold": threshold.value}
        found.append(summary(one, events) | stated)
    return found


def present_setting(inputs: Inputs, version: str) -> tuple[IncidentsSection, Setting, Wording]:
    """Return the rules, the setting and the wording of a backtest as it was made.

    Args:
        inputs: what it was made of.
        version: of its model.

    Raises:
        DetectorError: the model or the configuration is no longer there, or has changed.
    """
    artifact = model_of(inputs.artifact, version)
    section, options, units = IncidentsSection(), EngineOptions(threads=default_threads()), None
    if inputs.config is not None:
        _check_config(inputs)
        config = load_for(Path(inputs.config), inputs.artifact, artifact.spec.channel_names)
        artifact = with_budget(artifact, config.model)
        section, units = config.incidents, config.units
        options = engine_options(config, artifact.spec.channel_names)
    rules = replace(options.rules, without=tuple(inputs.without))
    options = replace(options, lateness_ns=inputs.lateness_ns, rules=rules)
    return section, Setting(artifact, options), Wording.of(artifact.spec, units)


def model_of(location: str, version: str) -> Artifact:
    """Return one version of a model, also if another one is now the current one. Raises ArtifactError."""
    try:
        found = open_artifact(location)
        if found.version == version:
            return found
        return open_artifact(below(location, version))
    except ArtifactError as error:
        raise ArtifactError(
            f"the model {without_secrets(location)} is no longer there in version {version}: {error}; put it"
            " back, or run the backtest again"
        ) from error


def _check_config(inputs: Inputs) -> None:
    path = Path(inputs.config or "")
    try:
        has_changed = digest_of(path) != inputs.config_digest
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; put it back, or run the backtest again") from error
    if has_changed:
        raise ConfigError(f"{path}: has changed since the backtest; run the backtest again")


def _proposed(present: Setting, section: IncidentsSection, question: Question, inputs: Inputs) -> Setting:
    artifact, options = present.artifact, present.options
    spec = artifact.spec
    if question.alarm_budget:
        budget = shared_by(question.alarm_budget, spec.num_series)
        if budget != spec.threshold.alarm_budget:
            artifact = recalibrated(artifact, budget, feedback_at(inputs.artifact))
    if question.incidents:
        after = changed_section(section, question.incidents)
        options = replace(options, rules=with_section(options.rules, after))
    return Setting(artifact, options)


def _stretch(database: Database, question: Question, present: Setting) -> Stretch:
    spec = present.artifact.spec
    longest = max([spec.interval_ns, *spec.intervals.values()])
    after_ns = (spec.scoring.delay + 2) * longest + present.options.lateness_ns
    return stretch_of(database, question, spec.window, after_ns, len(spec.channels))


def _without_holds(artifact: Artifact) -> Artifact:
    """Return the model as one of rows that have the held values already."""
    return replace(artifact, spec=replace(artifact.spec, holds={}))


def _replayed(
    database: Database,
    question: Question,
    stretch: Stretch,
    settings: Sequence[Setting],
    decisions: Sequence[Decision],
    report: Report,
) -> list[list[Incident]]:
    """Return the incidents that each setting finds, from one pass over the rows."""
    engines = [Engine(_without_holds(one.artifact), one.options) for one in settings]
    found: list[dict[str, Incident]] = [{} for _ in settings]

    def keep(at: int, result: StepResult) -> None:
        found[at] |= {event.incident.id: event.incident for event in result.incidents}

    for engine in engines:
        engine.decide(list(enumerate(decisions)))
    done = 0
    report(0, stretch.rows)
    channels = settings[0].artifact.spec.channel_names
    for readings in readings_of(database, question, stretch, channels):
        for at, engine in enumerate(engines):
            keep(at, engine.step(readings))
        done += len(readings)
        report(min(done, stretch.rows), stretch.rows)
    for at, engine in enumerate(engines):
        keep(at, engine.flush())
        found[at] |= {one.id: one for one in engine.open_incidents if one.id in found[at]}
    return [list(one.values()) for one in found]


def _openings(incidents: Sequence[Incident], question: Question, wording: Wording) -> list[Opening]:
    """Return the incidents that touch the stretch and opened before its end."""
    found = []
    for one in incidents:
        end_ns = one.end_ns if one.end_ns is not None and one.end_ns < question.to_ns else None
        if one.opened_ns < question.to_ns and (end_ns is None or end_ns >= question.from_ns):
            said = incident_json(one)
            shown = {name: said[name] for name in ("id", "series", "reason", "severity", "peak_score")}
            shown |= {"start": one.start_ns / 1e6, "opened": one.opened_ns / 1e6}
            shown |= {"end": None if end_ns is None else end_ns / 1e6}
            shown |= {"sentence": sentence(one, min(question.to_ns, end_ns or question.to_ns), wording)}
            found.append(
                Opening(one.series, one.start_ns, one.opened_ns, end_ns, one.reason, one.severity, shown)
            )
    return sorted(found, key=lambda one: (one.opened_ns, one.series))


def _key(one: Opening) -> tuple[str, int, int, int | None, str]:
    """Return what makes an incident the same as a stored one, to the millisecond."""
    end = None if one.end_ns is None else one.end_ns // 1_000_000
    return one.series, one.start_ns // 1_000_000, one.opened_ns // 1_000_000, end, one.reason


def _stored(database: Database, question: Question) -> set[tuple[str, int, int, int | None, str]]:
    """Return the stored incidents of the stretch, without those that a clock opened."""
    rows = database.execute(
        "SELECT series, epoch_ns(start) // 1000000, epoch_ns(opened) // 1000000, epoch_ns(ended) // 1000000,"
        " reason FROM incidents"
    )
    begin, end = question.from_ns // 1_000_000, question.to_ns // 1_000_000
    found = set()
    for series, start, opened, ended, reason in rows:
        until = ended if ended is not None and ended < end else None
        inside = opened < end and (until is None or until >= begin)
        if inside and reason not in _SILENT and question.series in ("", series):
            found.add((series, start, opened, until, reason))
    return found


def _inside(events: Sequence[Event], question: Question) -> list[Event]:
    """Return the events that touch the stretch."""
    return [
        one
        for one in events
        if question.series in ("", one.series)
        and one.start_ns < question.to_ns
        and one.end_ns >= question.from_ns
    ]


def _seconds(stretch: Stretch, artifact: Artifact) -> float:
    return sum(num * artifact.spec.interval_of(series) for series, num in stretch.judged.items()) / 1e9
