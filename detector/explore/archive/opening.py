"""Opens the archive of a running group, and makes an empty one where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from msgspec.structs import replace as replaced

from detector.explore.archive.manifest import Manifest, as_values, read_archive, write_archive
from detector.explore.source import Group
from detector.explore.store.layout import MANIFEST, Description, ExploreError, description_of
from detector.offline.backtest_record import record_of


def open_archive(store: Path, group: Group) -> Manifest:
    """Return what the archive holds, with the description of the model that the group has now.

    Raises:
        ArtifactError: the model cannot be read.
        ExploreError: the directory is the store of something else, or cannot be written.
    """
    if (store / MANIFEST).exists():
        raise ExploreError(f"{store}: is the store of a backtest; name another place with --store")
    found = read_archive(store)
    prefix = group.config.output.prefix
    if found is not None and found.group != prefix:
        raise ExploreError(
            f"{store}: holds what {found.group!r} wrote, and [output] prefix is {prefix!r}: name another"
            " place with --store"
        )
    if found is None and store.exists() and any(store.iterdir()):
        raise ExploreError(f"{store}: holds other files; name another place with --store")
    about = described(group, None if found is None else found.description)
    manifest = (
        Manifest(as_values(about), prefix) if found is None else replaced(found, about=as_values(about))
    )
    if found is None:
        try:
            store.mkdir(parents=True, exist_ok=True)
            write_archive(store, manifest)
        except OSError as error:
            raise ExploreError(
                f"{store}: cannot be written: {error.strerror}; name another place with --store"
            ) from error
    return manifest


def described(group: Group, before: Description | None) -> Description:
    """Return the description of the group's present model, with the range and number of rows from before.

    Raises:
        ArtifactError: the model cannot be read.
    """
    from detector.artifact.registry import open_artifact  # it loads torch, which a backtest does not need

    made = f"live: the verdicts of group {group.name}, topics {group.topics.scores} and {group.topics.alerts}"
    about = description_of(record_of(open_artifact(group.config.model.path), made, ()))
    if before is None:
        return about
    return replace(
        about, first_ns=before.first_ns, last_ns=before.last_ns, rows=before.rows, series=before.series
    )
