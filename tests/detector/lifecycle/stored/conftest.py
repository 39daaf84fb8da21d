"""Places for a model: a share that is mounted, and a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest

from tests.detector.explore.storage.object_store import ENVIRONMENT, ObjectStore


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server, and the credentials for it in the environment."""
    store = ObjectStore(tmp_path_factory.mktemp("s3"))
    with mock.patch.dict(os.environ, ENVIRONMENT):
        store.start()
        yield store
        store.kill()


@pytest.fixture(params=["share", pytest.param("s3", marks=pytest.mark.objects)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an entry that does not exist yet; its name is `pump`."""
    if request.param == "share":
        return f"file://{tmp_path}/shared/models/pump"
    return str(request.getfixturevalue("s3").uri(f"{uuid4().hex}/pump"))
