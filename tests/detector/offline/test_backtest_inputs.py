"""What a record of a backtest says of its inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.engine.values import EngineOptions
from detector.offline.backtest_record import Inputs


def test_a_record_names_a_model_at_a_uri_without_its_credentials() -> None:
    found = Inputs.of("s3://key:secret@bucket/models/pump?region=eu", None, EngineOptions())
    assert found.artifact == "s3://bucket/models/pump?region=eu"


def test_a_record_names_a_model_on_the_disk_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Inputs.of("models/pump", None, EngineOptions()).artifact == str(tmp_path / "models" / "pump")
