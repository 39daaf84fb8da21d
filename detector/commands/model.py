"""What `streamgauge calibrate` and `streamgauge feedback` do with their flags."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from detector.errors import ArtifactError, DetectorError


def calibrate(args: argparse.Namespace) -> int:
    """`streamgauge calibrate`: another alarm budget, without training; publishes a version."""
    from detector.artifact.registry import open_artifact, publish
    from detector.artifact.storage import MANIFEST
    from detector.calibration.feedback import read_feedback
    from detector.calibration.recalibrate import recalibrated

    entry = Path(args.artifact)
    if (entry / MANIFEST).exists():
        raise ArtifactError(
            f"{entry}: is one version; give the registry entry it belongs to, {entry.parent}: a new version"
            " becomes the current one there"
        )
    before = open_artifact(entry)
    feedback = () if args.no_feedback else read_feedback(entry)
    try:
        changed = recalibrated(before, args.alarm_budget, feedback)
    except ValueError as error:
        raise DetectorError(f"--alarm-budget: {error}") from error
    saved = publish(
        replace(changed, card=_card_line(before.card, changed.spec.threshold.alarm_budget)), entry
    )
    counts = Counter(one.opinion for one in feedback)
    summary = {
        "path": str(entry),
        "version": saved.version,
        "version_before": before.version,
        "alarm_budget": saved.spec.threshold.alarm_budget,
        "threshold": saved.spec.threshold.value,
        "threshold_before": before.spec.threshold.value,
        "feedback": dict(counts),
    }
    if args.json:
        print(json.dumps(summary))
        return 0
    said = ", ".join(f"{num} {opinion}" for opinion, num in sorted(counts.items())) or "none"
    print(
        f"threshold {before.spec.threshold.value:.4g} -> {saved.spec.threshold.value:.4g} for"
        f" {saved.spec.threshold.alarm_budget} a series; feedback used: {said}\n"
        f"published: {entry} version {saved.version} (was {before.version})"
    )
    return 0


def feedback(args: argparse.Namespace) -> int:
    """`streamgauge feedback`: keep a person's verdict on an incident with the model."""
    from detector.artifact.registry import open_artifact
    from detector.calibration.feedback import add_feedback, feedback_on, find_incident

    entry = Path(args.artifact)
    incident = find_incident(Path(args.incidents), args.incident)
    model = open_artifact(entry / str(incident.get("version", "")))
    added = feedback_on(incident, args.opinion, model.spec.threshold)
    add_feedback(entry, added)
    if args.json:
        print(json.dumps({"incident": added.incident, "opinion": added.opinion, "series": added.series}))
        return 0
    print(
        f"incident {added.incident} of {added.series} at {added.start}: {added.opinion}\n"
        f"use it: streamgauge calibrate {entry}"
    )
    return 0


def _card_line(card: str, budget: str) -> str:
    """The card with a line on the change; the rest of it still holds."""
    marker = "\n## Calibrated again\n"
    first = card.split(marker, maxsplit=1)[0].rstrip()
    return f"{first}\n{marker}\nThe threshold was learnt anew for {budget} a series.\n"
