"""`streamgauge inspect`, `calibrate` and `feedback`: verbs about one model."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.commands.arguments import (
    add_artifact,
    add_examples,
    add_json,
    add_promote,
    note_of,
)
from detector.commands.decide import add_signature, say
from detector.commands.models.on_copy import all_versions, on_copy, the_current
from detector.commands.models.opinions import feedback_for, opinions_arguments
from detector.commands.models.preview import preview_arguments, print_preview
from detector.errors import ArtifactError, ConfigError, DetectorError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact, Spec
    from detector.calibration.feedback import Feedback

_MOST_SERIES = 50
DONE = 0


def inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge inspect`."""
    add_examples(parser, "streamgauge inspect models/pump", "streamgauge inspect models/pump --json")
    add_artifact(parser)


def inspect(args: argparse.Namespace) -> int:
    """Print what an artifact contains; its hashes are checked when it is opened. Returns the exit code."""
    from detector.artifact.registry import open_artifact

    artifact = open_artifact(args.artifact)
    parameters = sum(one.size for one in artifact.module.weights().values())
    if args.json:
        spec = asdict(artifact.spec)
        print(json.dumps({"version": artifact.version, "parameters": parameters, **spec}))
    else:
        _print_artifact(artifact, parameters)
    return DONE


def calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge calibrate`."""
    add_examples(
        parser,
        "streamgauge calibrate models/pump --alarm-budget 1/day              # a candidate",
        "streamgauge calibrate models/pump --alarm-budget 1/day --promote    # in use at once",
        "streamgauge calibrate models/pump --alarm-budget '3/day in all'",
        "streamgauge calibrate models/pump          # use the feedback given since",
        "streamgauge calibrate models/pump --opinions streamgauge.toml    # and opinions of the group",
        "streamgauge calibrate models/pump --preview history/may.parquet    # what five budgets would raise",
    )
    add_artifact(parser)
    parser.add_argument(
        *("--alarm-budget", "--budget"),
        metavar="N/TIME",
        help="false alarms allowed per series, or 'N/TIME in all' for all series; default: as before",
    )
    opinions_arguments(parser)
    preview_arguments(parser)
    add_promote(parser)


def calibrate(args: argparse.Namespace) -> int:
    """Calibrate the threshold to an alarm budget; publish a candidate if it changed. Returns the exit code.

    The version keeps the age of the model, since its weights are as old as before. With
    --preview nothing changes: it prints what five budgets would have raised.
    """
    if args.preview:
        return print_preview(args)
    return on_copy(args, "artifact", _calibrate, all_versions if args.opinions else the_current)


def _calibrate(args: argparse.Namespace) -> int:
    from detector.artifact.registry import open_artifact
    from detector.calibration.recalibrate import recalibrated
    from detector.selfcheck.detectability import measured_again
    from detector.selfcheck.words import with_new_section

    entry = _registry_entry(args.artifact)
    before = open_artifact(entry)
    feedback = feedback_for(args, entry, keep=True)
    try:
        changed = recalibrated(before, args.alarm_budget, feedback)
    except ValueError as error:
        raise DetectorError(f"--alarm-budget: {error}") from error
    if changed.spec == before.spec:
        after = before
    else:
        changed = measured_again(changed)
        card = _card_line(before.card, changed.spec.threshold.alarm_budget)
        card = with_new_section(card, changed.spec)
        after = _published(args, replace(changed, card=card), before, entry)
    if args.json:
        print(json.dumps(_calibration_json(entry, before, after, feedback)))
    else:
        _print_calibration(entry, before, after, feedback)
    return DONE


def _published(args: argparse.Namespace, changed: Artifact, before: Artifact, entry: Path) -> Artifact:
    """Publish a calibrated model with the age of the one before. Returns it with its version."""
    from detector.artifact.registry import propose, publish
    from detector.artifact.storage import TRAINED_AT

    threshold = changed.spec.threshold
    training = changed.spec.training | {TRAINED_AT: int(before.written_at or 0)}
    aged = replace(changed, spec=replace(changed.spec, training=training))
    figures = {
        "calibrated_from": before.version,
        "alarm_budget": threshold.alarm_budget,
        "threshold": threshold.value,
        "threshold_before": before.spec.threshold.value,
    }
    note = note_of(args, figures)
    return publish(aged, entry, note, before.version) if args.promote else propose(aged, entry, note)


def feedback_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge feedback`."""
    add_examples(
        parser,
        "streamgauge feedback 4be1 false-alarm --artifact models/pump --incidents report/incidents.json",
        "streamgauge feedback 4be1 real --config streamgauge.toml --why 'bearing was worn'",
    )
    parser.add_argument("incident", metavar="INCIDENT", help="id of the incident, or its first characters")
    parser.add_argument("opinion", choices=("false-alarm", "real"), help="whether the incident was real")
    parser.add_argument("--artifact", metavar="DIR", help="registry entry of the model, for `calibrate`")
    parser.add_argument(
        "--incidents", metavar="FILE", help="incidents.json of a backtest, or alerts as JSON lines"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the daemon's configuration: write it to the topic of decisions"
    )
    add_signature(parser)
    add_json(parser)


def feedback(args: argparse.Namespace) -> int:
    """Store beside the model, or write to the topic, whether an incident was real. Returns the exit code."""
    beside_the_model = args.artifact is not None and args.incidents is not None
    if beside_the_model == (args.config is not None) or bool(args.artifact) != bool(args.incidents):
        raise ConfigError("give --artifact and --incidents, or --config alone")
    if args.config is not None:
        return say(args)
    if args.dry_run or args.why or args.who:
        raise ConfigError("--why, --who and --dry-run need --config: the file beside the model has no place")
    return on_copy(args, "artifact", _store, all_versions)


def _store(args: argparse.Namespace) -> int:
    """Store an opinion beside the model."""
    from detector.artifact.registry import open_artifact
    from detector.calibration.feedback import add_feedback, feedback_on, find_incident

    entry = Path(args.artifact)
    incident = find_incident(Path(args.incidents), args.incident)
    model = open_artifact(entry / str(incident.get("version", "")))
    added = feedback_on(incident, args.opinion, model.spec.threshold)
    add_feedback(entry, added)
    if args.json:
        print(json.dumps({"incident": added.incident, "opinion": added.opinion, "series": added.series}))
        return DONE
    print(
        f"incident {added.incident} of {added.series} at {added.start}: {added.opinion}\n"
        f"use it: streamgauge calibrate {entry}"
    )
    return DONE


def _print_artifact(artifact: Artifact, parameters: int) -> None:
    print(f"{artifact.card.rstrip() or '# ' + artifact.spec.name}\n")
    print(f"version {artifact.version}, {parameters:,} weights; members of the ensemble:")
    for member in artifact.spec.members:
        print(f"  {member.family}, window {member.window} rows")
        for name, value in member.hyperparameters.items():
            print(f"    {name} = {value}")
    print("\nchannel: center, scale, half width of the normal band, rows of one value until it is stuck")
    for channel in artifact.spec.channels:
        stuck = channel.flatline_rows or "never"
        print(f"  {channel.name}: {channel.center:.6g}, {channel.scale:.6g}, {channel.band:.6g}, {stuck}")
    _print_own_scales(artifact.spec)


def _print_own_scales(spec: Spec) -> None:
    """Print the first series with scales of their own."""
    if spec.own_scales:
        print("\nseries with their own center and scale of a channel:")
    for series, own in list(spec.own_scales.items())[:_MOST_SERIES]:
        for one in own[:_MOST_SERIES]:
            print(f"  {series}, {one.channel}: {one.center:.6g}, {one.scale:.6g}")
    if len(spec.own_scales) > _MOST_SERIES:
        print(f"  and {len(spec.own_scales) - _MOST_SERIES:,} more series")


def _registry_entry(location: str) -> Path:
    from detector.artifact.description.manifest import MANIFEST

    entry = Path(location)
    if (entry / MANIFEST).exists():
        raise ArtifactError(
            f"{entry}: is one version; give its registry entry, {entry.parent}. The new version is published"
            " there"
        )
    return entry


def _calibration_json(
    entry: Path, before: Artifact, after: Artifact, feedback: Sequence[Feedback]
) -> dict[str, Any]:
    from detector.artifact.description.place import current_of

    return {
        "path": str(entry),
        "version": after.version,
        "version_before": before.version,
        "in_use": current_of(entry) == after.version,
        "alarm_budget": after.spec.threshold.alarm_budget,
        "threshold": after.spec.threshold.value,
        "threshold_before": before.spec.threshold.value,
        "feedback": dict(Counter(one.opinion for one in feedback)),
    }


def _print_calibration(entry: Path, before: Artifact, after: Artifact, feedback: Sequence[Feedback]) -> None:
    from detector.calibration.alarm_budget import read_budget
    from detector.lifecycle.versions import standing_line

    counts = Counter(one.opinion for one in feedback)
    used = ", ".join(f"{num} {opinion}" for opinion, num in sorted(counts.items())) or "none"
    threshold, budget = after.spec.threshold.value, read_budget(after.spec.threshold.alarm_budget).words
    if after.version == before.version:
        print(
            f"nothing changed: the threshold is {threshold:.4g} for {budget};"
            f" feedback used: {used}\nnot published: {entry} keeps version {before.version}"
        )
        return
    print(
        f"threshold {before.spec.threshold.value:.4g} -> {threshold:.4g} for {budget};"
        f" feedback used: {used}\n"
        f"{standing_line(entry, after.version)}"
    )


def _card_line(card: str, budget: str) -> str:
    """Return the card with a line on the calibration; the rest of the card still holds."""
    from detector.calibration.alarm_budget import read_budget

    marker = "\n## Calibrated again\n"
    first = card.split(marker, maxsplit=1)[0].rstrip()
    return f"{first}\n{marker}\nThe threshold was calibrated again for {read_budget(budget).words}.\n"
