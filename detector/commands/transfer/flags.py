"""`streamgauge record` and `streamgauge replay`: the flags. The work is beside this."""

from __future__ import annotations

import argparse

from detector.commands.arguments import add_data, add_examples


def record_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge record`."""
    add_examples(
        parser,
        "streamgauge record --config streamgauge.toml --out history/",
        "streamgauge record --config streamgauge.toml --out history/ --keep 90d    # as a service, for ever",
        "streamgauge record --bootstrap-servers localhost:9092 --topic readings --out history/ --until-end",
        "streamgauge train history/ --out models/pump      # what was recorded is history",
        "streamgauge backtest models/pump history/ --out report/",
    )
    _add_topic(parser, "only this topic; default: all topics of the configuration")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for the Parquet files")
    parser.add_argument(
        "--channels",
        metavar="A,B",
        help="channels to keep; default: those in the oldest messages of each topic",
    )
    parser.add_argument(
        "--keep", metavar="TIME", help="delete files recorded longer ago, such as 30d; default: keep all"
    )
    parser.add_argument(
        "--file-every",
        metavar="TIME",
        default="5m",
        help="complete a file after this time; small files are merged later; default: 5m",
    )
    parser.add_argument(
        "--until-end", action="store_true", help="stop at the offsets where the topics ended at the start"
    )


def record(args: argparse.Namespace) -> int:
    """Run `streamgauge record`. Returns the exit code."""
    from detector.commands.transfer import recording

    return recording.record(args)


def replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge replay`."""
    add_examples(
        parser,
        "streamgauge replay history/ --bootstrap-servers localhost:9092 --topic readings --speed 60",
    )
    add_data(parser)
    _add_topic(parser, "topic of wide JSON messages")
    parser.add_argument(
        "--speed", default="1", metavar="X|max", help="speed as a multiple of real time, or max; default: 1"
    )


def replay(args: argparse.Namespace) -> int:
    """Run `streamgauge replay`. Returns the exit code."""
    from detector.commands.transfer import replaying

    return replaying.replay(args)


def _add_topic(parser: argparse.ArgumentParser, topic: str) -> None:
    parser.add_argument("--config", metavar="FILE", help="the daemon's configuration: connection and topics")
    parser.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="address of a Kafka broker")
    parser.add_argument("--topic", metavar="TOPIC", help=topic)
