"""`streamgauge verify`: prove on a running system that what was backtested is what runs."""

from __future__ import annotations

import argparse

from detector.commands.arguments import add_examples, add_json


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge verify`."""
    add_examples(
        parser,
        "streamgauge verify streamgauge.toml --from 2026-03-01 --to 2026-03-02",
        "streamgauge verify streamgauge.toml --recorded history/ --from 2026-03-01T06:00:00Z",
        "streamgauge verify streamgauge.toml --json",
    )
    parser.add_argument("config", metavar="CONFIG", help="configuration file of the daemon")
    parser.add_argument("--from", dest="since", metavar="T", help="first row, ISO 8601; default: the oldest")
    parser.add_argument("--to", dest="until", metavar="T", help="last row, ISO 8601; default: now")
    parser.add_argument(
        "--recorded",
        metavar="DIR",
        help="input that `streamgauge record` wrote; default: the topic, as far as it is retained",
    )
    add_json(parser)


def verify(args: argparse.Namespace) -> int:
    """Score a stretch again and compare every verdict; print a receipt.

    Returns the exit code: 0 all equal, 1 something is wrong, 2 nothing could be compared.
    """
    import json
    import time
    from contextlib import closing
    from importlib.metadata import version
    from pathlib import Path

    from detector.commands.progress_line import ProgressLine
    from detector.config.load import load_config
    from detector.verify.verify import Request
    from detector.verify.verify import verify as receipt_of

    path = Path(args.config)
    since, until = _time_ms(args.since, "--from"), _time_ms(args.until, "--to")
    with closing(ProgressLine()) as progress:
        request = Request(
            config=load_config(path),
            config_path=path,
            from_ms=0 if since is None else since,
            to_ms=time.time_ns() // 1_000_000 if until is None else until,
            recorded=Path(args.recorded) if args.recorded else None,
            software=version("streamgauge"),
            report=progress.show,
        )
        receipt = receipt_of(request)
    print(json.dumps(receipt.as_json(), indent=2) if args.json else receipt.text())
    return receipt.exit_code


def _time_ms(text: str | None, flag: str) -> int | None:
    """Return the time of a flag, epoch milliseconds, None where it was not given. Raises ConfigError."""
    from connectors.times import INVALID_NS, times_of
    from detector.errors import ConfigError

    if text is None:
        return None
    found = int(times_of([text])[0])
    if found == INVALID_NS:
        raise ConfigError(f"{flag} {text}: expected a time in ISO 8601, such as 2026-03-01T06:00:00Z")
    return found // 1_000_000
