"""The parser of the command line, and the flags that several verbs share.

Light: `streamgauge --help` imports this file.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from detector.journal import Note

MISUSED = 2


class Parser(argparse.ArgumentParser):
    """Parse arguments; an error is one line that names the nearest valid word and the page of help."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        self.exit(MISUSED, f"streamgauge: error: {message} (see `{self.prog} --help`)\n")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse arguments; refuse unknown ones here, where the flags of the verb are known."""
        arguments, extra = super().parse_known_args(args, namespace)
        if extra:
            hint = nearest(extra[0].partition("=")[0], tuple(self._option_string_actions))
            self.error(f"unknown argument `{extra[0]}`{hint}")
        return arguments, extra


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a question that names the nearest known word, or "" if none is similar.

    >>> nearest("trian", ["train", "run"])
    '; did you mean `train`?'
    """
    found = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


def add_examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """End the verb's help with these command lines."""
    parser.epilog = "\n".join(("examples:", *(f"  {line}" for line in lines)))


def add_artifact(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the positional ARTIFACT and the flag --json."""
    parser.add_argument(
        "artifact",
        metavar="ARTIFACT",
        nargs="?" if optional else None,
        help="registry entry (its current version) or a version's directory",
    )
    add_json(parser)


def add_without(parser: argparse.ArgumentParser) -> None:
    """Add --without: kinds of evidence that say nothing."""
    parser.add_argument(
        "--without",
        metavar="KINDS",
        help="evidence that does not count, such as season,drift (docs/context.md)",
    )


def switches_of_flag(text: str | None) -> tuple[str, ...] | None:
    """Return the kinds that --without names, None where it was not given. Raises ConfigError."""
    from detector.errors import ConfigError
    from detector.scoring.kinds import switches_of

    try:
        return None if text is None else switches_of(text)
    except ValueError as error:
        raise ConfigError(f"--without: {error}") from error


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the positional DATA: Parquet to read."""
    parser.add_argument("data", metavar="DATA", help="Parquet file, or directory of Parquet files")


def add_note(parser: argparse.ArgumentParser) -> None:
    """Add the flags of who does it and why."""
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, which is kept")
    parser.add_argument("--who", metavar="NAME", help="who decides; default: user@host")


def note_of(args: argparse.Namespace, figures: Mapping[str, Any]) -> Note:
    """Return what the journal of a model keeps: who and why by the flags, and the figures."""
    from detector.delivery.decisions.deciding import user_at_host
    from detector.journal import Note

    return Note(args.who or user_at_host(), args.why, figures)


def add_promote(parser: argparse.ArgumentParser) -> None:
    """Add --promote and the flags of who and why."""
    parser.add_argument(
        "--promote",
        action="store_true",
        help="use the new version at once, unchecked; default: it is a candidate until `models promote`",
    )
    add_note(parser)


def add_on(parser: argparse._ActionsContainer, what: str) -> None:
    """Add --on: which cluster does the work."""
    parser.add_argument(
        "--on",
        metavar="CLUSTER",
        help=f"{what} on a cluster: dask (of this machine), or dask://HOST:PORT (docs/cluster.md)",
    )


def add_jobs(parser: argparse._ActionsContainer, items: str, what: str) -> None:
    """Add --jobs and --on: how many items are worked on at a time, and where."""
    parser.add_argument(
        "--jobs", type=int, metavar="N", help=f"{items} at the same time; default: one per core"
    )
    add_on(parser, what)


def place_of(path: str, args: argparse.Namespace) -> Path:
    """Return a path of the command line; the full one with --on, as workers run in other directories."""
    return Path(path).absolute() if args.on else Path(path)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the flag --json."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
