"""Whether a storage is the archive of a group, and the description of the model that the group has now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from detector.artifact.description.described import described_artifact
from detector.calibration.alarm_budget import shared_by
from detector.config.models.section import ModelSection, ModelsSection
from detector.explore.archive.manifest import Manifest
from detector.explore.source import Group
from detector.explore.storage.storage import Storage
from detector.explore.store.layout import MANIFEST, Description, ExploreError, description_of, together
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
    """Return the description of the group's present models, with the range and number of rows from before.

    Raises:
        ArtifactError: a model cannot be read.
        ExploreError: two models have one name.
    """
    made = f"live: the verdicts of group {group.name}, topics {group.topics.scores} and {group.topics.alerts}"
    models = [_description(one, made) for one in group.models]
    if twice := [name for name, num in Counter(one.model for one in models).items() if num > 1]:
        raise ExploreError(
            f"[[models]]: two of them are called {twice[0]!r}; give one of them a `name` of its own"
        )
    about = together(models) if group.config.models else models[0]
    if before is None:
        return about
    return replace(
        about, first_ns=before.first_ns, last_ns=before.last_ns, rows=before.rows, series=before.series
    )


def entry_of(group: Group, model: str) -> ModelSection:
    """Return the section of one of the group's models. Raises ArtifactError or ExploreError."""
    if not group.config.models:
        return group.config.model
    for entry in group.config.models:
        if (entry.name or described_artifact(entry.path).spec.name) == model:
            return entry
    raise ExploreError(f"no [[models]] is called {model!r} any more: start the explorer again")


def _description(entry: ModelSection, made: str) -> Description:
    artifact = described_artifact(entry.path)
    found = description_of(record_of(artifact, made, ()))
    if not isinstance(entry, ModelsSection):
        return found
    budget = entry.alarm_budget and shared_by(entry.alarm_budget, artifact.spec.num_series)
    return replace(found, model=entry.name or found.model, alarm_budget=budget or found.alarm_budget)
