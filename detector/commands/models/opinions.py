"""`streamgauge calibrate --opinions`: what people said of incidents, from a group or a backtest."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from detector.artifact.spec import Threshold
    from detector.calibration.feedback import Feedback, Opinion
    from detector.calibration.gathered_opinions import Gathered

_STATES = ("firing", "resolved")
_Found = tuple[dict[str, "Opinion"], list[Mapping[str, Any]]]
"""The newest opinion on each incident, and the incidents."""


def opinions_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of opinions."""
    parser.add_argument(
        "--opinions",
        metavar="SOURCE",
        help="also use what people said of incidents: the configuration of a daemon (its topic of decisions),"
        " or the output of a backtest; it is kept beside the model",
    )
    parser.add_argument("--no-feedback", action="store_true", help="ignore the feedback on incidents")


def feedback_for(args: argparse.Namespace, entry: Path, keep: bool) -> tuple[Feedback, ...]:
    """Return the feedback that is to be used, and tell on standard error what --opinions gave.

    Args:
        args: of the command line.
        entry: the model in the registry.
        keep: whether to write new opinions beside the model.

    Raises:
        DetectorError, ConnectorError: the source cannot be read, or the file beside the model not written.
    """
    from detector.calibration.feedback import add_feedback, read_feedback
    from detector.calibration.gathered_opinions import with_newer

    if args.no_feedback:
        if args.opinions:
            raise ConfigError("--opinions and --no-feedback contradict each other: give one of them")
        return ()
    kept = read_feedback(entry)
    if not args.opinions:
        return kept
    found = _gathered(args.opinions, entry)
    new = [one for one in found.feedback if one not in kept]
    if keep:
        for one in new:
            add_feedback(entry, one)
    _tell(args.opinions, found, len(new))
    return with_newer(kept, found.feedback)


def _gathered(source: str, entry: Path) -> Gathered:
    from detector.artifact.registry import open_artifact
    from detector.calibration.gathered_opinions import gathered

    @cache
    def threshold_of(version: str) -> Threshold | None:
        if not version.isalnum():
            return None
        try:
            return open_artifact(entry / version).spec.threshold
        except ArtifactError:
            return None

    path = Path(source)
    if path.is_dir():
        opinions, incidents = _of_backtest(path)
    elif path.is_file():
        opinions, incidents = _of_group(source)
    else:
        raise ConfigError(
            f"--opinions: {source} does not exist; give the configuration of a daemon, or a directory that"
            " backtest --out wrote"
        )
    return gathered(opinions, incidents, threshold_of)


def _of_backtest(directory: Path) -> _Found:
    from detector.calibration.feedback import incidents_of
    from detector.explore.deciding.backtest_ledger import BacktestLedger
    from detector.explore.deciding.ledger import LedgerError

    try:
        said = [one.decision for one in BacktestLedger(directory).entries()]
    except LedgerError as error:
        raise ConfigError(
            f"--opinions {directory}: {error}; give a directory that backtest --out wrote"
        ) from error
    return _newest((one.incident, one.action) for one in said), incidents_of(directory / "incidents.json")


def _of_group(config: str) -> _Found:
    from detector.commands.decide import place_of
    from detector.delivery.decisions.known_incidents import read_alerts, read_decisions

    connection, topics = place_of(config)
    opinions = _newest((one.incident, one.action) for one in read_decisions(connection, topics))
    incidents: list[Mapping[str, Any]] = []
    for value in read_alerts(connection, topics) if opinions else ():
        try:
            body = json.loads(value)
        except ValueError:
            continue
        if isinstance(body, dict) and body.get("id") in opinions and body.get("state") in _STATES:
            incidents.append(body)
    return opinions, incidents


def _newest(said: Iterable[tuple[str, str]]) -> dict[str, Opinion]:
    from detector.calibration.feedback import OPINIONS

    names: dict[str, Opinion] = {one: one for one in OPINIONS}
    return {incident: names[action] for incident, action in said if action in names}


def _tell(source: str, found: Gathered, num_new: int) -> None:
    why = "; ".join(f"{num:,} not used: {reason}" for reason, num in found.unused.items())
    known = len(found.feedback) - num_new
    print(
        f"opinions of {source}: {num_new:,} new, {known:,} known{'; ' + why if why else ''}", file=sys.stderr
    )
