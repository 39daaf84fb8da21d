"""`streamgauge models`: the versions of a model, which one is in use, and the gate before it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.objects.names import is_remote
from detector.commands.arguments import add_examples, add_json, add_note, note_of
from detector.commands.models.on_copy import is_registry, on_copy, on_registry
from detector.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from detector.config.models.section import ModelSection
    from detector.engine.engine import EngineOptions
    from detector.lifecycle.versions import Registered
    from trainer.lifecycle.gate import Judgement

DONE, REFUSED = 0, 4
_ACTIONS = "list|show|diff|promote|rollback|remove"
_ENTRY = "registry entry of the model, such as models/pump or s3://bucket/models/pump"


def models_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `streamgauge models` and their flags."""
    add_examples(
        parser,
        "streamgauge models list models/pump",
        "streamgauge models list models                  # all models of a registry",
        "streamgauge models show models/pump 8546cced512f",
        "streamgauge models show models/pump --daemon http://localhost:9464    # its shadow",
        "streamgauge models diff models/pump             # the newest candidate beside the current version",
        "streamgauge models promote models/pump --history history/ --incidents streamgauge.toml",
        "streamgauge models promote models/pump 8546 --force --why 'new bearings, approved by ann'",
        "streamgauge models rollback models/pump --why 'too many alarms'",
        "streamgauge models remove models/pump 8546cced512f",
        "streamgauge models rollback 's3://bucket/models/pump?region=eu-central-1'",
    )
    actions = parser.add_subparsers(dest="action", metavar=_ACTIONS, required=True)
    listed = actions.add_parser("list", help="list the versions, with dates, who, why and figures")
    listed.add_argument("entry", metavar="NAME", help=f"{_ENTRY}, or a directory of such entries")
    show = actions.add_parser(
        "show", help="show the life of a version: who published and promoted it, and why"
    )
    _add_version(show, "default: the current one; with --daemon, the candidate in shadow")
    show.add_argument("--daemon", metavar="URL", help="show what a running daemon counted of its shadow")
    diff = actions.add_parser("diff", help="list where the descriptions of two versions differ")
    _add_version(diff, "default: the newest candidate")
    diff.add_argument("other", metavar="OTHER", nargs="?", help="default: the current one")
    _add_promote(actions.add_parser("promote", help="ask the gate, and use a version from now on"))
    back = actions.add_parser("rollback", help="use the version again that was in use before")
    _add_version(back, "default: the one before the current one")
    add_note(back)
    gone = actions.add_parser("remove", help="delete a version that is not in use")
    gone.add_argument("entry", metavar="NAME", help=_ENTRY)
    gone.add_argument("version", metavar="VERSION", help="the version, or its first digits")
    add_note(gone)
    for action in (listed, show, diff, back, gone):
        add_json(action)


def models(args: argparse.Namespace) -> int:
    """Run one action of `streamgauge models`. Returns the exit code: 4 if the gate refuses a version."""
    actions = {"list": _list, "show": _show, "diff": _diff, "promote": _promote, "rollback": _rollback}
    if args.action == "list" and is_remote(args.entry) and is_registry(args.entry):
        return on_registry(args, "entry", _list)
    return on_copy(args, "entry", {**actions, "remove": _remove}[args.action], _needed)


def _needed(args: argparse.Namespace, entry: Path) -> tuple[str, ...]:
    """Return the versions whose files an action reads."""
    from detector.lifecycle.versions import registered

    if args.action not in ("promote", "rollback"):
        return ()
    found = registered(entry)
    if args.action == "rollback":
        target = found.find(args.version).name if args.version else found.before()
        return () if target is None else (target,)
    return (_wanted(found, args.version), *(() if found.pointer is None else (found.pointer,)))


def _add_version(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("entry", metavar="NAME", help=_ENTRY)
    parser.add_argument(
        "version", metavar="VERSION", nargs="?", help=f"the version, or its first digits; {default}"
    )


def _add_promote(parser: argparse.ArgumentParser) -> None:
    _add_version(parser, "default: the newest candidate")
    parser.add_argument(
        "--history",
        metavar="DATA",
        help="Parquet or CSV to compare on; rows after the end of the training are held back",
    )
    parser.add_argument(
        "--incidents",
        metavar="SOURCE",
        help="known incidents: a daemon's configuration, the output of a backtest, or a file of incidents",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the daemon's configuration, for its incident rules and series"
    )
    parser.add_argument(
        "--force", action="store_true", help="use it even if the gate refuses it; is recorded"
    )
    parser.add_argument("--dry-run", action="store_true", help="ask the gate and change nothing")
    add_note(parser)
    add_json(parser)


def _list(args: argparse.Namespace) -> int:
    from detector.lifecycle.versions import registered
    from trainer.lifecycle.listing import print_versions, versions_json

    found = [registered(entry) for entry in _entries(Path(args.entry))]
    if args.json:
        print(json.dumps([versions_json(one) for one in found]))
    else:
        for one in found:
            print_versions(one)
    return DONE


def _show(args: argparse.Namespace) -> int:
    from detector.lifecycle.versions import registered
    from trainer.lifecycle.listing import event_json, event_lines
    from trainer.lifecycle.shadows import shadow_words, shadows_at

    found = registered(Path(args.entry))
    shadows = shadows_at(args.daemon) if args.daemon else ()
    mine = [one for one in shadows if one["version"] in {version.name for version in found.versions}]
    name = args.version or (mine[0]["version"] if mine else None)
    version = found.find(name) if name else found.current
    if version is None:
        raise ArtifactError(f"{args.entry}: no version is in use; name one")
    shadow = next((one for one in mine if one["version"] == version.name), None)
    if args.json:
        events = [event_json(one) for one in version.events]
        told = {"version": version.name, "standing": version.standing, "events": events}
        print(json.dumps(told | ({"shadow": shadow} if args.daemon else {})))
        return DONE
    lines = event_lines(version.events) or [
        "nothing is recorded: it was published before there was a journal"
    ]
    print(f"{version.name}, {version.standing}", *lines, sep="\n")
    if args.daemon:
        print(f"{args.daemon}: {shadow_words(shadow, version.name)}")
    print(f"\nwhat it contains: streamgauge inspect {found.entry / version.name}")
    return DONE


def _diff(args: argparse.Namespace) -> int:
    from detector.lifecycle.differences import differences
    from detector.lifecycle.versions import description, registered

    found = registered(Path(args.entry))
    version = _wanted(found, args.version)
    other = found.find(args.other).name if args.other else (found.current.name if found.current else "")
    if not other:
        raise ArtifactError(f"{args.entry}: no version is in use; name two")
    lines = differences(description(found.entry, other), description(found.entry, version))
    if args.json:
        listed = [{"path": one.path, other: one.one, version: one.other} for one in lines]
        print(json.dumps({"version": version, "other": other, "differences": listed}))
        return DONE
    print(f"{other} -> {version}: {len(lines)} difference{'' if len(lines) == 1 else 's'}")
    for one in lines:
        print(f"  {one.path}: {one.one} -> {one.other}")
    return DONE


def _promote(args: argparse.Namespace) -> int:
    """Ask the gate, then move the pointer unless it refuses. Returns the exit code."""
    from detector.artifact.registry import open_artifact
    from detector.lifecycle.moves import promote, record
    from detector.lifecycle.versions import registered

    found = registered(Path(args.entry))
    version = _wanted(found, args.version)
    before = found.pointer
    if version == before:
        raise ArtifactError(f"{args.entry}: {version} is the current version already")
    current = open_artifact(found.entry / found.current.name) if found.current is not None else None
    judgement = _judged(args, open_artifact(found.entry / version), current)
    note = note_of(args, {"gate": judgement.as_json()})
    is_refused = bool(judgement.failed) and not args.force
    reasons = "; ".join(f"{one.name}: {one.detail}" for one in judgement.failed)
    if not args.dry_run:
        if is_refused:
            record(found.entry, "refused", version, replace(note, why=reasons))
        else:
            promote(found.entry, version, before, replace(note, forced=bool(judgement.failed)))
    outcome = "refused" if is_refused else "would be promoted" if args.dry_run else "promoted"
    _tell(args, judgement, {"version": version, "before": before, "outcome": outcome})
    if is_refused:
        print(f"{version} is refused: {reasons}; to use it all the same, add --force --why", file=sys.stderr)
    return REFUSED if is_refused else DONE


def _judged(args: argparse.Namespace, candidate: Artifact, current: Artifact | None) -> Judgement:
    """Ask the gate with the rows and the known incidents of the command line."""
    from detector.calibration.feedback import read_feedback
    from detector.commands.autoencoder import progress_bar
    from trainer.lifecycle.asking import Question, ask
    from trainer.lifecycle.own_series import own_series

    daemon = _daemon(args)
    question = Question(
        candidate,
        current,
        Path(args.history) if args.history else None,
        args.incidents,
        read_feedback(Path(args.entry)),
        _options(args, candidate),
        own_series(Path(args.entry), daemon),
        daemon,
    )
    with tempfile.TemporaryDirectory(prefix="streamgauge-gate-") as scratch:
        return ask(question, Path(scratch), lambda rows: progress_bar("gate", rows))


def _tell(args: argparse.Namespace, judgement: Judgement, outcome: dict[str, str | None]) -> None:
    from trainer.lifecycle.listing import print_judgement

    if args.json:
        print(json.dumps(outcome | judgement.as_json()))
        return
    print_judgement(judgement)
    was = f" (was {outcome['before']})" if outcome["before"] else ""
    if outcome["outcome"] != "refused":
        print(f"{outcome['version']}: {outcome['outcome']}{was}")


def _rollback(args: argparse.Namespace) -> int:
    from detector.lifecycle.moves import roll_back

    before, now = roll_back(Path(args.entry), args.version, note_of(args, {}))
    if args.json:
        print(json.dumps({"version": now, "before": before}))
    else:
        print(f"{now} is in use again (was {before or 'none'}); a running daemon follows")
    return DONE


def _remove(args: argparse.Namespace) -> int:
    from detector.lifecycle.moves import remove
    from detector.lifecycle.versions import registered

    found = registered(Path(args.entry))
    version = found.find(args.version).name
    remove(found.entry, version, note_of(args, {}))
    print(
        json.dumps({"version": version})
        if args.json
        else f"{version} is deleted; the journal keeps its record"
    )
    return DONE


def _options(args: argparse.Namespace, artifact: Artifact) -> EngineOptions:
    from detector.config.engine_options import default_threads, engine_options
    from detector.config.models.entries import load_for
    from detector.engine.engine import EngineOptions

    if args.config:
        channels = artifact.spec.channel_names
        return engine_options(load_for(Path(args.config), args.place, channels), channels)
    return EngineOptions(threads=default_threads())


def _daemon(args: argparse.Namespace) -> ModelSection | None:
    from detector.config.models.entries import load_for

    return load_for(Path(args.config), args.place).model if args.config else None


def _wanted(found: Registered, name: str | None) -> str:
    """Return the version that the command line names, or the newest candidate."""
    if name:
        return found.find(name).name
    if not found.candidates:
        raise ArtifactError(f"{found.entry}: there is no candidate; train one, or name a version")
    return found.candidates[0].name


def _entries(place: Path) -> list[Path]:
    """Return the entries of a registry, or the one entry that the place is. Raises ConfigError."""
    from detector.artifact.description.place import CURRENT
    from detector.journal import FILE

    def is_entry(path: Path) -> bool:
        return (path / CURRENT).exists() or (path / FILE).exists()

    if is_entry(place) or not place.is_dir():
        return [place]
    found = sorted(path for path in place.iterdir() if path.is_dir() and is_entry(path))
    if not found:
        raise ConfigError(f"{place}: no model there; give a registry entry, such as {place}/pump")
    return found
