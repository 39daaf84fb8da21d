"""`streamgauge accept`, `reject`, `mute` and `feedback --config`: a person decides about an incident."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from detector.commands.arguments import add_examples, add_json, add_note
from detector.errors import ConfigError, DetectorError

if TYPE_CHECKING:
    from connectors.kafka.connection import Connection
    from detector.delivery.decisions.deciding import Subject
    from detector.delivery.messages import Topics
    from detector.incidents.decision import Decision
    from detector.notify.notice import Notice

DONE = 0
_CONNECT_SECONDS = 10.0
_CLOCK_SECONDS = 3600
_MOST_SHOWN = 10


class UnknownError(DetectorError):
    """The incident or series does not exist, or cannot be decided; the message names what does."""


def accept_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge accept`."""
    add_examples(
        parser,
        "streamgauge accept 5d41402abc4b2a76 --config streamgauge.toml --why 'new pump, more flow'",
        "streamgauge accept 5d41402abc4b2a76 --config streamgauge.toml --channel flow --dry-run",
    )
    parser.add_argument("incident", metavar="INCIDENT", help="id of the incident, or its first characters")
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="NAME",
        help="accept the level of this channel; may be repeated; default: those that the incident blames",
    )
    _add_common(parser)


def accept(args: argparse.Namespace) -> int:
    """Write that the level of an incident is normal from now on. Returns the exit code."""
    from detector.delivery.decisions.deciding import about

    connection, topics = _place(args)
    notice = _incident(connection, topics, args.incident)
    with _named_by_flags():
        decision = about("accept", _subject(notice), args.channel)
        _check_channels(args, notice)
    return _decide(args, connection, topics, decision)


def reject_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge reject`."""
    add_examples(
        parser, "streamgauge reject 5d41402abc4b2a76 --config streamgauge.toml --why 'bearing is worn'"
    )
    parser.add_argument("incident", metavar="INCIDENT", help="id of the incident, or its first characters")
    _add_common(parser)


def reject(args: argparse.Namespace) -> int:
    """Write that an incident is a fault: it is never learnt nor offered again. Returns the exit code."""
    from detector.delivery.decisions.deciding import about

    connection, topics = _place(args)
    decision = about("reject", _subject(_incident(connection, topics, args.incident)))
    return _decide(args, connection, topics, decision)


def say(args: argparse.Namespace) -> int:
    """Write whether an incident was real or a false alarm, be it open or over. Returns the exit code."""
    from detector.delivery.decisions.deciding import about

    connection, topics = _place(args)
    notice = _incident(connection, topics, args.incident, may_be_over=True)
    return _decide(args, connection, topics, about(args.opinion, _subject(notice)))


def mute_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge mute`."""
    add_examples(
        parser,
        "streamgauge mute pump-1 --for 2h --config streamgauge.toml --why 'filter is changed'",
        "streamgauge mute pump-1 --for 0s --config streamgauge.toml     # end a mute",
    )
    parser.add_argument("series", metavar="SERIES", help="name of the series")
    parser.add_argument(
        "--for", dest="duration", required=True, metavar="TIME", help="how long, such as 2h; 0s ends a mute"
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="event time from which it applies, ISO 8601; default: now, by the clock of this host",
    )
    parser.add_argument(
        "--unseen", action="store_true", help="also if no state of such a series has been saved yet"
    )
    _add_common(parser)


def mute(args: argparse.Namespace) -> int:
    """Write that a series opens no incident for some time. Returns the exit code."""
    from detector.delivery.decisions import deciding
    from detector.delivery.decisions.known_incidents import known_series

    at_ns = _time_of(args.at) if args.at else time.time_ns()
    with _named_by_flags():
        decision = deciding.mute(args.series, args.duration, at_ns)
    connection, topics = _place(args)
    if not args.unseen:
        known = known_series(connection, topics)
        if args.series not in known:
            raise _no_series(args.series, list(known))
        _note_clock(args, known[args.series], at_ns)
    return _decide(args, connection, topics, decision)


_FLAGS = {"for": "--for", "at": "--at", "channels": "--channel", "who": "--who", "why": "--why"}


@contextmanager
def _named_by_flags() -> Iterator[None]:
    """Name the flag in the error where something cannot be decided."""
    from detector.delivery.decisions.deciding import UndecidableError

    try:
        yield
    except UndecidableError as error:
        if error.field not in _FLAGS:
            raise
        raise ConfigError(f"{_FLAGS[error.field]}: {error}") from error


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="the daemon's configuration")
    add_signature(parser)
    add_json(parser)


def add_signature(parser: argparse.ArgumentParser) -> None:
    """Add the flags of who decides and why."""
    add_note(parser)
    parser.add_argument("--dry-run", action="store_true", help="check and print the record; write nothing")


def _place(args: argparse.Namespace) -> tuple[Connection, Topics]:
    return place_of(args.config)


def place_of(file: str) -> tuple[Connection, Topics]:
    """Return how to reach the cluster of a configuration, once it answers, and the daemon's topics."""
    from connectors.kafka.cluster import wait_for_broker
    from detector.config.cluster import connection_of
    from detector.config.load import load_config
    from detector.delivery.messages import Topics

    config = load_config(Path(file))
    connection = connection_of(config.kafka)
    wait_for_broker(connection, timeout_seconds=min(_CONNECT_SECONDS, config.kafka.startup_timeout))
    return connection, Topics.of(config.output.prefix)


def _incident(connection: Connection, topics: Topics, name: str, may_be_over: bool = False) -> Notice:
    """Return the newest notice of the open incident whose id begins with `name`. Raises UnknownError.

    With `may_be_over` all incidents of the topic count.
    """
    from detector.delivery.decisions.known_incidents import read_alerts
    from detector.notify.notice import parse, time_text

    newest: dict[str, Notice] = {}
    for value in read_alerts(connection, topics):
        try:
            notice = parse(value)
        except ValueError:
            continue
        if notice.state in ("firing", "resolved"):
            newest[notice.id] = notice
    found = [newest[name]] if name in newest else [one for one in newest.values() if one.id.startswith(name)]
    firing = [one for one in found if may_be_over or one.state == "firing"]
    if len(firing) == 1:
        return firing[0]
    if len(firing) > 1:
        raise UnknownError(f"{name} begins the ids of several incidents: {_ids(firing)}")
    if found:
        one = found[-1]
        ended = "" if one.end is None else f" at {time_text(one.end)}"
        raise UnknownError(
            f"incident {one.id} of {one.series} was resolved{ended}: there is nothing to decide"
        )
    still = [one for one in newest.values() if one.state == "firing"]
    raise UnknownError(f"no incident {name} in topic {topics.alerts}; open ones: {_ids(still) or 'none'}")


def _ids(notices: list[Notice]) -> str:
    shown = ", ".join(f"{one.id} ({one.series})" for one in notices[-_MOST_SHOWN:])
    return shown + (f" and {len(notices) - _MOST_SHOWN} more" if len(notices) > _MOST_SHOWN else "")


def _no_series(name: str, known: list[str]) -> UnknownError:
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; {len(known):,} series have one"
    return UnknownError(f"no series {name} has a saved state{hint} (--unseen mutes it nevertheless)")


def _note_clock(args: argparse.Namespace, newest_ns: int, at_ns: int) -> None:
    """Tell on standard error where the clock of the series is far from the time of the mute."""
    from detector.delivery.messages import iso

    if abs(at_ns - newest_ns) > _CLOCK_SECONDS * 10**9:
        print(
            f"note: the newest row of {args.series} that was saved is of {iso(newest_ns)}. The mute applies"
            f" to rows from {iso(at_ns)} on; --at sets another time",
            file=sys.stderr,
        )


def _check_channels(args: argparse.Namespace, notice: Notice) -> None:
    """Raise UndecidableError where --channel names one that neither the incident nor the model knows."""
    from detector.delivery.decisions.deciding import check_channels

    named = {one.name for one in (*notice.channels, *notice.newest)}
    if set(args.channel) <= named:
        return
    from detector.artifact.registry import open_artifact
    from detector.config.load import load_config
    from detector.config.models.entries import places_of

    try:
        places = places_of(load_config(Path(args.config)))
        names = (name for place in places for name in open_artifact(place).spec.channel_names)
        known = tuple(dict.fromkeys(names))
        of = "the model"
    except DetectorError as error:
        known, of = tuple(sorted(named)), f"the incident (and the model cannot be read: {error})"
    check_channels([one for one in args.channel if one not in named], known, of)


def _subject(notice: Notice) -> Subject:
    """Return what is known of an incident. The next row is later than its newest event."""
    from detector.delivery.decisions.deciding import Subject

    at_ns = round(notice.at.timestamp() * 1000) * 1_000_000
    shares = tuple((one.name, one.contribution or 0.0) for one in notice.channels)
    return Subject(notice.id, notice.series, notice.reason, at_ns, shares)


def _decide(args: argparse.Namespace, connection: Connection, topics: Topics, decision: Decision) -> int:
    """Write the decision, unless this is a dry run, and say what follows. Returns the exit code."""
    from detector.delivery.decisions.deciding import signed, user_at_host
    from detector.delivery.decisions.decision_topic import write_decision
    from detector.delivery.messages import decision_json, iso
    from detector.incidents.decision import OPINIONS

    with _named_by_flags():
        decision = signed(decision, args.who or user_at_host(), args.why)
    if not args.dry_run:
        write_decision(connection, topics.decisions, decision)
    if args.json:
        print(json.dumps(decision_json(decision)))
        return DONE
    until = "" if decision.until_ns is None else f" until {iso(decision.until_ns)}"
    what = f"incident {decision.incident} of {decision.series}" if decision.incident else decision.series
    channels = f", channels {', '.join(decision.channels)}" if decision.channels else ""
    print(f"{decision.action} {what}{channels}{until}, by {decision.who}")
    effect = f"It takes effect with the next row of {decision.series}; {topics.alerts} then says at which"
    if decision.action in OPINIONS:
        effect = "It is kept and counted, and changes no score"
    print(
        f"dry run: nothing was written to {topics.decisions}"
        if args.dry_run
        else f"written to {topics.decisions}. {effect}"
    )
    return DONE


def _time_of(text: str) -> int:
    """Return an event time in nanoseconds. Raises ConfigError."""
    from connectors.times import INVALID_NS, times_of

    found = int(times_of([text])[0])
    if found == INVALID_NS:
        raise ConfigError(f"--at: {text!r} is no time; write it as 2026-10-01T12:00:00Z")
    return found
