"""`streamgauge calibrate --preview`: what each of several alarm budgets would have raised."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.commands.autoencoder import progress_bar
from detector.commands.models.opinions import feedback_for
from detector.errors import DetectorError

if TYPE_CHECKING:
    from rich.table import Table

    from detector.artifact.spec import Artifact
    from detector.engine.engine import EngineOptions
    from detector.offline.previews.preview import Preview

DONE = 0
_BUDGETS = ("alarm budget", "threshold", "alarms", "a week and series", "")
_INCIDENTS = ("from budget", "series", "start", "end", "reason", "peak score", "channel", "id")


def preview_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a preview."""
    parser.add_argument(
        "--preview", metavar="HISTORY", help="list what five budgets would have raised there; change nothing"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="with --preview: the daemon's configuration, for its incident rules"
    )


def print_preview(args: argparse.Namespace) -> int:
    """Print what budgets would have raised on --preview. Nothing is published. Returns the exit code."""
    from detector.artifact.registry import open_artifact
    from detector.calibration.alarm_budget import shared_by
    from detector.offline.history_files import history_for
    from detector.offline.previews.preview import Followers, budgets_like, preview

    artifact, history = open_artifact(args.artifact), Path(args.preview)
    spec = artifact.spec
    feedback = feedback_for(args, Path(args.artifact), keep=False)
    try:
        budgets = budgets_like(shared_by(args.alarm_budget or spec.threshold.alarm_budget, spec.num_series))
    except ValueError as error:
        raise DetectorError(f"--alarm-budget: {error}") from error
    followers = Followers(artifact, budgets, feedback, _options(args, artifact))
    with progress_bar("preview", history_for(spec, history).num_rows) as advance:
        found = preview(followers, history, advance)
    if args.json:
        print(json.dumps(found.as_json()))
    else:
        _print_tables(found, spec.threshold.alarm_budget)
    return DONE


def _options(args: argparse.Namespace, artifact: Artifact) -> EngineOptions:
    from detector.config.engine_options import default_threads, engine_options
    from detector.config.models.entries import load_for
    from detector.engine.engine import EngineOptions

    if args.config:
        channels = artifact.spec.channel_names
        return engine_options(load_for(Path(args.config), args.artifact, channels), channels)
    return EngineOptions(threads=default_threads())


def _print_tables(found: Preview, in_force: str) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 150
    console = Console(width=width, markup=False, emoji=False)  # names of channels may have brackets
    console.print(_budget_table(found, in_force))
    console.print(_incident_table(found))
    console.print(
        "Each incident is as the strictest budget has it; looser budgets raise it too.", highlight=False
    )


def _budget_table(found: Preview, in_force: str) -> Table:
    from rich.table import Table

    table = Table(title=f"alarms in {found.series_weeks:,.3g} weeks of all series together")
    for name in _BUDGETS:
        table.add_column(name, no_wrap=True)
    for one in found.raised:
        rate = f"{one.alarms / found.series_weeks:.3g}" if found.series_weeks else "unknown"
        note = "in force" if one.budget == in_force else ""
        table.add_row(one.budget, f"{one.threshold:.4g}", f"{one.alarms:,}", rate, note)
    return table


def _incident_table(found: Preview) -> Table:
    from rich.table import Table

    from detector.delivery.messages import iso

    table = Table(title="incidents, and the strictest budget that raises each")
    for name in _INCIDENTS:
        table.add_column(name, no_wrap=name != "channel")
    for incident, budget in found.incidents:
        table.add_row(
            budget,
            incident.series,
            iso(incident.start_ns),
            iso(incident.end_ns) if incident.end_ns is not None else "open",
            incident.reason.replace("_", " "),
            f"{incident.peak_score:.2f}" if incident.peak_score else "unknown",
            incident.channels[0].name if incident.channels else "-",
            incident.id,
        )
    return table
