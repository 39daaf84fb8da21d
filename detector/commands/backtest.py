"""`streamgauge backtest`: a replay of Parquet files through the engine."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.objects.names import below, is_remote, without_secrets
from detector.commands.arguments import (
    add_artifact,
    add_data,
    add_examples,
    add_on,
    add_without,
    switches_of_flag,
)
from detector.commands.backtest_report import (
    Replayed,
    add_report,
    check_flags,
    directory_for,
    following,
    slider_for,
    write_reports,
)
from detector.commands.models.backtest_cluster import ReplayOf, check_cluster_flags, judged
from detector.commands.models.backtest_fallback import check_model_flags, fallback_of
from detector.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from detector.config.schema import Config
    from detector.engine.engine import EngineOptions
    from detector.incidents.incident import ChannelEvidence, Incident
    from detector.offline.backtest import BacktestOutcome, Given

DONE, FAILED, FOUND = 0, 1, 3
_MOST_SENTENCES = 40
_COLUMNS = ("series", "start", "end", "severity", "reason", "peak score", "channels", "id")
_BUDGET = ("budgeted_alarms", "realised_to_budgeted")


def backtest_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge backtest`."""
    add_examples(
        parser,
        "streamgauge backtest models/pump history/may.parquet",
        "streamgauge backtest models/pump history/ --out report/ --fail-on-incident",
        "streamgauge backtest models/pump history/ --report may.html",
        "streamgauge backtest models/pump history/ --report both.html --compare models/pump/0123456789ab",
        "streamgauge backtest models/pump plant/ --series 'pump-*'    # of several kinds of machines",
        "streamgauge backtest --fallback plant/ --series 'fan-*'      # as a daemon without a model of them",
        "streamgauge backtest models/pump s3://bucket/history --out s3://bucket/may --on dask://scheduler:8786",
    )
    add_artifact(parser, optional=True)
    add_data(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="write scores.parquet, incidents.json and backtest.json there"
    )
    add_report(parser)
    add_on(parser, "judge the series")
    parser.add_argument(
        "--config", metavar="FILE", help="the daemon's configuration: use its incident rules and lateness"
    )
    parser.add_argument(
        "--lateness", metavar="TIME", help="time to wait for late readings, such as 30s; default: 0s"
    )
    parser.add_argument(
        "--decisions",
        metavar="FILE",
        help="repeat what people decided: records of the decisions or alerts topic, JSON lines or Parquet",
    )
    parser.add_argument(
        "--series",
        metavar="A,B",
        help="patterns of the series to judge, such as pump-*; default: those of [model] series, or all",
    )
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="judge without a model, as [fallback] of a daemon (docs/plant.md)",
    )
    add_without(parser)
    parser.add_argument("--fail-on-incident", action="store_true", help="exit with 3 if there is an incident")


def backtest(args: argparse.Namespace) -> int:
    """Print the incidents of a replay; write everything to --out.

    Returns the exit code: 3 if there is an incident and --fail-on-incident was given.
    """
    from detector.artifact.registry import open_artifact
    from detector.config.models.budget import with_budget
    from detector.incidents.shapes.sentence import Wording
    from detector.offline.backtest_record import Inputs, write_record
    from detector.offline.decisions_file import read_decisions

    check_model_flags(args)
    check_flags(args)
    check_cluster_flags(args)
    if args.fallback:
        return _without_model(args)
    artifact = open_artifact(args.artifact)
    config = _config_of(args, artifact.spec.channel_names)
    artifact = artifact if config is None else with_budget(artifact, config.model)
    options = _engine_options(args, config, artifact.spec.channel_names)
    decisions = read_decisions(Path(args.decisions)) if args.decisions else []
    wording = Wording.of(artifact.spec, None if config is None else config.units)
    slider = slider_for(args, artifact, options)
    with directory_for(args) as kept:
        with following(args, slider) as follow:
            given = replace(_own_series(args, config), decisions=decisions, wording=wording, follow=follow)
            outcome = judged(args, ReplayOf(slider.artifact, options, given), kept)
        if kept is not None:
            command = shlex.join(["streamgauge", *map(without_secrets, sys.argv[1:])])
            inputs = replace(Inputs.of(args.artifact, args.config or None, options), events=outcome.events)
            write_record(kept, artifact, command, decisions, outcome.applied, inputs)
            write_reports(args, Replayed(artifact, outcome, kept, options, given, slider))
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_outcome(outcome, artifact.spec.threshold.alarm_budget, args.out)
    return _exit_code(args, outcome)


def _exit_code(args: argparse.Namespace, outcome: BacktestOutcome) -> int:
    if outcome.failed:
        return FAILED
    return FOUND if args.fail_on_incident and outcome.incidents else DONE


def _without_model(args: argparse.Namespace) -> int:
    """Replay by a fallback; see `backtest`."""
    from detector.config.load import load_config
    from detector.config.models.entries import config_of
    from detector.config.models.section import ModelsSection
    from detector.offline.decisions_file import read_decisions

    config = load_config(Path(args.config)) if args.config else None
    own = None if config is None else config_of(config, ModelsSection(path=""), ())
    artifact, options = fallback_of(args, _engine_options(args, own, None), config)
    decisions = read_decisions(Path(args.decisions)) if args.decisions else []
    given = replace(_own_series(args, None), decisions=decisions)
    with directory_for(args) as kept:
        outcome = judged(args, ReplayOf(artifact, options, given), kept)
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_outcome(outcome, artifact.spec.threshold.alarm_budget, None)
    return _exit_code(args, outcome)


def _config_of(args: argparse.Namespace, channels: tuple[str, ...]) -> Config | None:
    """Return the daemon's configuration of this model; None where none is given."""
    from detector.config.models.entries import load_for

    return load_for(Path(args.config), args.artifact, channels) if args.config else None


def _own_series(args: argparse.Namespace, config: Config | None) -> Given:
    """Return which series are judged: as the daemon of --config judges them, or by --series."""
    from detector.offline.backtest import Given

    given = Given()
    if config is not None:
        given = Given(series=config.model.own_series, least_channels=config.model.least_channels)
    if args.series is None:
        return given
    patterns = tuple(pattern for pattern in args.series.split(",") if pattern)
    if not patterns:
        raise ConfigError("--series: no pattern, such as pump-*")
    return replace(given, series=patterns)


def _engine_options(
    args: argparse.Namespace, config: Config | None, channels: tuple[str, ...] | None
) -> EngineOptions:
    """Return the options of the daemon's configuration, if one is given; --lateness overrides its value."""
    from detector.config.engine_options import default_threads, engine_options
    from detector.config.load import parse_duration
    from detector.engine.engine import EngineOptions

    options = EngineOptions(threads=default_threads())
    if config is not None:
        options = engine_options(config, channels)
    try:
        lateness = parse_duration(args.lateness) if args.lateness else None
    except ValueError as error:
        raise ConfigError(f"--lateness: {error}") from error
    if lateness is not None:
        options = replace(options, lateness_ns=round(lateness * 1e9))
    without = switches_of_flag(args.without)
    return options if without is None else replace(options, rules=replace(options.rules, without=without))


def _print_outcome(outcome: BacktestOutcome, budget: str, out: str | None) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 150
    console = Console(width=width, markup=False, emoji=False)  # names of channels may have brackets
    console.print(_table(outcome))
    for line in (*_lines(outcome), _budget_line(outcome, budget)):
        console.print(line, highlight=False)
    for failed in outcome.failed:
        console.print(f"not judged: {', '.join(failed.series)}: {failed.reason}", highlight=False)
    if out:
        place = without_secrets(out)
        names = ("scores.parquet", "incidents.json") if outcome.rows else ("incidents.json",)
        written = ", ".join(below(place, name) for name in names)
        console.print(f"written: {written}", highlight=False)
        if not is_remote(out):
            console.print(f"look at it: streamgauge explore {out}", highlight=False)


def _table(outcome: BacktestOutcome) -> Table:
    from rich.table import Table

    num = len(outcome.incidents)
    table = Table(title=f"{num} incident{'s' if num != 1 else ''} {outcome.coverage.summary}")
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name != "channels")
    for incident in outcome.incidents:
        table.add_row(*_cells(incident))
    return table


def _cells(incident: Incident) -> tuple[str, ...]:
    from detector.delivery.messages import iso

    return (
        incident.series,
        iso(incident.start_ns),
        iso(incident.end_ns) if incident.end_ns is not None else "open",
        incident.severity,
        incident.reason.replace("_", " "),
        "unknown" if incident.known_peak is None else f"{incident.known_peak:.2f}",
        ", ".join(map(_channel, incident.channels)) + _trend(incident),
        incident.id,
    )


def _channel(channel: ChannelEvidence) -> str:
    """Return the value of a channel, and the expected one where the model has one."""
    value = f"{channel.name} {channel.actual:.4g}"
    return value if math.isnan(channel.expected) else f"{value} (expected {channel.expected:.4g})"


def _trend(incident: Incident) -> str:
    """Return which channel drifts now, and how fast; empty where none does."""
    from detector.notify.trend_words import trend_words

    one = incident.drifting
    return "" if one is None else f"; {one.name} {trend_words(one.trend)}"


def _lines(outcome: BacktestOutcome) -> Iterator[str]:
    """Yield the lines below the table."""
    yield from outcome.sentences[:_MOST_SENTENCES]
    if len(outcome.sentences) > _MOST_SENTENCES:
        yield f"and {len(outcome.sentences) - _MOST_SENTENCES:,} more incidents"
    yield from outcome.coverage.lines()
    if foreign := sum(outcome.unassigned.messages.values()):
        names = ", ".join(one.name for one in outcome.unassigned.most)
        yield f"unassigned, and not judged: {foreign:,} rows of other series, such as {names}"
    if outcome.common_scale_rows:
        num = outcome.common_scale_rows
        yield f"{num:,} rows of series that the model does not know were judged by the common scale"
    counting, known = outcome.cumulative_channels
    if counting < known:
        yield (
            f"small departures add up in {counting:,} of {known:,} channels: in the others the reference has"
            " not held for long enough, or the model has none"
        )
    yield from _beside_others(outcome)
    for reason, num in outcome.suppressed.items():
        if num:
            yield f"bad rows suppressed by {reason}: {num:,}"
    for name, value in outcome.measures.items():
        if name not in _BUDGET:
            yield f"{name.replace('_', ' ')}: {_number(value)}"


def _beside_others(outcome: BacktestOutcome) -> Iterator[str]:
    """Yield which series were anomalous together, and which left their peers."""
    from detector.delivery.messages import iso
    from detector.peers.crowd import words

    for group in outcome.folds:
        first, *others = group.series_by_onset
        yield f"at the same time from {iso(group.start_ns)}: {first} first, then {', '.join(others)}"
    for one in outcome.apart:
        ended = f"from {iso(one.start_ns)} to {iso(one.until_ns)}, known at {iso(one.found_ns)}"
        yield f"{words(one)}, {ended}"


def _budget_line(outcome: BacktestOutcome, budget: str) -> str:
    """Return the number of alarms beside what the budget allows; false alarms, if labels exist."""
    from detector.calibration.alarm_budget import read_budget, use_in_words
    from detector.offline.measuring.backtest_measures import num_alarms

    has_labels = "false_alarms" in outcome.measures
    num = int(outcome.measures["false_alarms"]) if has_labels else num_alarms(outcome.incidents)
    alarms = ("false " if has_labels else "") + ("alarm" if num == 1 else "alarms")
    use = use_in_words(num, outcome.measures["budgeted_alarms"], read_budget(budget))
    return f"{num:,} {alarms} {outcome.coverage.summary}; {use}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "unknown" if math.isnan(value) else f"{value:.4g}"
    return str(value)
