"""The owner of an archive at work: one thread reads the topics and appends, another gives signs."""

from __future__ import annotations

import threading

from msgspec.structs import replace as replaced

from connectors.errors import ConnectorError
from detector.explore.archive.archive import Archive, Limits
from detector.explore.archive.archiver import Archiver
from detector.explore.archive.manifest import Manifest
from detector.explore.archive.opening import check_archive, described
from detector.explore.source import Group
from detector.explore.storage.storage import BEAT_SECONDS, OwnershipLostError, Sign, Storage
from detector.explore.store.layout import ExploreError, as_values


class Archiving:
    """Archives a group until it is closed, or until another process owns the archive. Any thread may ask it.

    Args:
        storage: where the archive is; this process owns it.
        manifest: what it holds.
        group: the group.
        limits: how much the archive keeps.

    Raises:
        ExploreError, ObjectsError, OSError: the archive cannot be read or written.
    """

    def __init__(self, storage: Storage, manifest: Manifest, group: Group, limits: Limits) -> None:
        self._storage = storage
        self._archive = Archive(storage, manifest, limits)
        self._archiver = Archiver(group, self._archive, storage.append_seconds)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=one, args=(self._stop,), daemon=True)
            for one in (self._archiver.run, self._beat)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def problem(self) -> str:
        """Why it cannot go on for now; "" if it can."""
        return self._archiver.problem

    @property
    def lost(self) -> str:
        """Which other process owns the archive; "" if this one does."""
        return self._archiver.lost

    @property
    def num_rows(self) -> int:
        """How many rows the archive holds."""
        return self._archive.manifest.description.rows

    def close(self) -> None:
        """Stop, and give the ownership back."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10.0)
        if not any(one.is_alive() for one in self._threads):
            self._archive.close()
            if not self.lost:
                self._storage.release()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_SECONDS):
            try:
                self._storage.beat(self.problem)
            except OwnershipLostError as error:
                self._archiver.lose(str(error))
                return
            except (ConnectorError, OSError):
                continue  # readers see that the sign is missing; the other thread says why


def start_archiving(storage: Storage, group: Group, limits: Limits) -> Archiving | Sign:
    """Archive the group from now on, or return the sign of the process that does so already.

    Raises:
        ArtifactError: the model of the group cannot be read.
        ExploreError: the storage is of something else, or cannot be written.
        ObjectsError: the object storage cannot be used.
    """
    check_archive(storage, group)
    described(group, None)  # before the claim: without a model there is nothing to archive
    try:
        working = storage.claim()
        if working is not None:
            return working
        found = check_archive(storage, group)
        about = described(group, None if found is None else found.description)
        manifest = Manifest(as_values(about), group.config.output.prefix) if found is None else found
        manifest = replaced(manifest, about=as_values(about))
        storage.write(manifest)
        return Archiving(storage, manifest, group, limits)
    except OSError as error:
        storage.release()
        raise ExploreError(
            f"{storage.name}: cannot be written: {error.strerror}; name another place with --store"
        ) from error
    except BaseException:
        storage.release()  # which does nothing where this process owns nothing
        raise
