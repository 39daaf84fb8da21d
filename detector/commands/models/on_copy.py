"""Run a command on a model at a URI: on a copy of its entry, written back before it prints."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.objects.names import below, is_remote, local_path, name_of, without_secrets

if TYPE_CHECKING:
    from detector.lifecycle.working_copy import Pushed

Command = Callable[[argparse.Namespace], int]
Needed = Callable[[argparse.Namespace, Path], Iterable[str]]
"""Returns the versions whose files a command needs, of its arguments and the entry."""


def on_copy(args: argparse.Namespace, flag: str, command: Command, needed: Needed) -> int:
    """Run a command; where the entry is a URI, on a copy of it. Returns the exit code.

    What the command prints has the URI in place of the copy. It is printed once the store has what it says.

    Args:
        args: of the command line. `args.place` becomes what the user wrote.
        flag: the name of the argument with the entry.
        command: the command.
        needed: the versions whose files it needs; the descriptions of all versions are there.

    Raises:
        ArtifactError, ObjectsError: the store cannot be used, or another process changed it meanwhile.
    """
    args.place = getattr(args, flag)
    if not is_remote(args.place):
        setattr(args, flag, local_path(args.place))
        return command(args)
    while True:
        code, pushed = _once(args, flag, command, needed)
        if pushed.was_first:
            break
    for one in pushed.replaced:
        who = one.who or "somebody"
        print(f"{who} made {one.version} current at the same moment; what you did counts", file=sys.stderr)
    return code


def _once(args: argparse.Namespace, flag: str, command: Command, needed: Needed) -> tuple[int, Pushed]:
    """Run the command on a new copy; print what it said, unless another first version came before."""
    from connectors.objects.objects import Objects
    from detector.lifecycle.working_copy import WorkingCopy

    said, shown = io.StringIO(), without_secrets(args.place)
    with tempfile.TemporaryDirectory(prefix="streamgauge-models-") as scratch:
        entry = Path(scratch, name_of(args.place))
        try:
            copy = WorkingCopy(Objects(args.place), entry)
            copy.fetch(needed(args, entry))
            setattr(args, flag, str(entry))
            with redirect_stdout(said):
                code = command(args)
            pushed = copy.push()
        except Exception as error:
            error.args = tuple(_shown(one, entry, shown) for one in error.args)
            raise
        if pushed.was_first:
            print(said.getvalue().replace(str(entry), shown), end="")
    return code, pushed


def on_registry(args: argparse.Namespace, flag: str, command: Command) -> int:
    """Run a command that only reads on all models of a registry at a URI. Returns the exit code."""
    from connectors.objects.objects import Objects
    from detector.lifecycle.working_copy import WorkingCopy

    place, said = getattr(args, flag), io.StringIO()
    with tempfile.TemporaryDirectory(prefix="streamgauge-models-") as scratch:
        root = Path(scratch, name_of(place))
        root.mkdir()
        names = Objects(place).top()
        for name in names:
            WorkingCopy(Objects(below(place, name)), root / name)
        setattr(args, flag, str(root))
        with redirect_stdout(said):
            code = command(args)
        text = said.getvalue()
        for name in sorted(names, key=len, reverse=True):  # a name may begin with another one
            text = text.replace(str(root / name), below(without_secrets(place), name))
        print(text.replace(str(root), without_secrets(place)), end="")
    return code


def is_registry(uri: str) -> bool:
    """Return whether a URI is a place of several models, and not an entry or one version."""
    from connectors.objects.objects import Objects
    from detector.artifact.description.manifest import MANIFEST
    from detector.artifact.stored.event_names import FOLDER
    from detector.artifact.stored.stored import POINTER
    from detector.journal import FILE

    found = Objects(uri).top()
    return bool(found) and not {MANIFEST, FOLDER, POINTER, FILE} & set(found)


def the_current(args: argparse.Namespace, entry: Path) -> tuple[str, ...]:
    """Return the version in use, for `on_copy`."""
    from detector.artifact.description.place import current_of

    return tuple(one for one in (current_of(entry),) if one is not None)


def all_versions(args: argparse.Namespace, entry: Path) -> tuple[str, ...]:
    """Return all versions, for `on_copy`."""
    return tuple(path.name for path in entry.iterdir() if path.is_dir())


def _shown(one: object, entry: Path, shown: str) -> object:
    return one.replace(str(entry), shown) if isinstance(one, str) else one
