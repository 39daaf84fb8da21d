"""The model that the daemons of these tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "pump"
    publish(make_artifact(threshold=0.8), directory)
    return directory
