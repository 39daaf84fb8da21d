"""Whether a storage is the archive of a group, and the description of the model that the group has now."""

from __future__ import annotations

from dataclasses import replace

from detector.artifact.description.described import described_artifact
from detector.explore.archive.manifest import Manifest
from detector.explore.source import Group
from detector.explore.storage.storage import Storage
from detector.explore.store.layout import MANIFEST, Description, ExploreError, description_of
from detector.offline.backtest_record import record_of


def check_archive(storage: Storage, group: Group) -> Manifest | None:
    """Return what the archive of a group holds; None if there is none.

    Raises:
        ExploreError: the storage is of something else.
    """
    strangers = storage.strangers()
    if MANIFEST in strangers:
        raise ExploreError(f"{storage.name}: is the store of a backtest; name another place with --store")
    if strangers:
        raise ExploreError(f"{storage.name}: holds other files; name another place with --store")
    found, _ = storage.look()
    prefix = group.config.output.prefix
    if found is not None and found.group != prefix:
        raise ExploreError(
            f"{storage.name}: holds what {found.group!r} wrote, and [output] prefix is {prefix!r}: name"
            " another place with --store"
        )
    return found


def described(group: Group, before: Description | None) -> Description:
    """Return the description of the group's present model, with the range and number of rows from before.

    Raises:
        ArtifactError: the model cannot be read.
    """
    made = f"live: the verdicts of group {group.name}, topics {group.topics.scores} and {group.topics.alerts}"
    about = description_of(record_of(described_artifact(group.config.model.path), made, ()))
    if before is None:
        return about
    return replace(
        about, first_ns=before.first_ns, last_ns=before.last_ns, rows=before.rows, series=before.series
    )
