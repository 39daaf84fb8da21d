"""Where a store is, as a user names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.objects.names import cache_of, is_remote, local_path

if TYPE_CHECKING:
    from detector.explore.storage.storage import Storage

_CACHE_BYTES = 5 * 10**9


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a store.

    address      path of a directory, or a URI
    cache        directory for copies of what is on object storage; empty: one below ~/.cache
    cache_bytes  the most that the copies take
    """

    address: str
    cache: str = ""
    cache_bytes: int = _CACHE_BYTES

    def storage(self) -> Storage:
        """Return the storage of the archive there.

        Raises:
            ObjectsError: the URI cannot be used.
            ExploreError: the directory of copies cannot be written.
        """
        if is_remote(self.address):
            from detector.explore.storage.object_storage import ObjectStorage

            return ObjectStorage(self.address, Path(self.cache or cache_of(self.address)), self.cache_bytes)
        from detector.explore.storage.directory import DirectoryStorage

        return DirectoryStorage(Path(local_path(self.address)))
