"""`streamgauge record` without a Kafka topic."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgauge import main


def test_a_configuration_without_kafka_is_refused_by_the_name_of_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "streamgauge.toml"
    config.write_text('[model]\npath = "models/pump"\n[source]\nkind = "files"\npath = "*.jsonl"\n')
    assert main(["record", "--config", str(config), "--out", str(tmp_path / "history")]) == 2
    told = capsys.readouterr().err
    assert f'{config}: [source] kind = "files": there is no Kafka topic in it' in told
    assert "--topic" in told
    assert not (tmp_path / "history").exists()
