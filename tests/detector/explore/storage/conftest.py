"""An object storage for the tests of a module, and archives in each kind of storage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest

from detector.explore.storage.directory import DirectoryStorage
from detector.explore.storage.object_storage import ObjectStorage
from detector.explore.storage.storage import Storage
from tests.detector.explore.storage.object_store import ENVIRONMENT, GcsStore, ObjectStore

Opener = Callable[[], Storage]
"""Opens the storage of one archive, as a process of its own would."""


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server, and the credentials for it in the environment."""
    store = ObjectStore(tmp_path_factory.mktemp("s3"))
    with mock.patch.dict(os.environ, ENVIRONMENT):
        store.start()
        yield store
        store.kill()


@pytest.fixture(scope="module")
def gcs_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsStore]:
    """A server that speaks the protocol of Google Cloud Storage."""
    store = GcsStore(tmp_path_factory.mktemp("gcs"))
    yield store
    store.kill()


@pytest.fixture(
    params=[
        "directory",
        pytest.param("object_store", marks=pytest.mark.objects),
        pytest.param("gcs_store", marks=pytest.mark.objects),
    ]
)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """A new, empty place for an archive; each call opens it as another machine would."""
    if request.param == "directory":
        return lambda: DirectoryStorage(tmp_path / "archive")
    uri = request.getfixturevalue(request.param).uri(uuid4().hex)
    return lambda: ObjectStorage(uri, tmp_path / uuid4().hex, 10**9, patience_seconds=1.5)
