"""Sources without Kafka: what their configuration cannot promise is refused at the start, with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.config.load import Config, load_config
from detector.errors import ConfigError


def loaded(directory: Path, source: str, more: str = "") -> Config:
    path = directory / "streamgauge.toml"
    path.write_text(f'[model]\npath = "models/pump"\n[source]\n{source}\n{more}')
    return load_config(path, {})


def files(directory: Path, path: str, output: str, state: str = "kept/state") -> Config:
    source = f'kind = "files"\npath = "{path}"\nstate = "{state}"'
    return loaded(directory, source, f'[output]\nto = "files"\ndirectory = "{output}"\n')


@pytest.mark.parametrize(
    ("path", "output", "state"),
    [
        ("*.jsonl", ".", "state"),
        (".", ".", "state"),
        ("out/", "./out", "state"),
        ("**/*.jsonl", "data/out", "state"),
        ("data/*/streamgauge.*", "data/out", "state"),
        ("link/*.jsonl", "data", "state"),
        ("out/streamgauge.alerts.jsonl", "out", "state"),
        ("data/*", "out", "data"),
    ],
)
def test_a_source_that_finds_our_own_files_is_refused(
    path: str, output: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(ConfigError, match=r"streamgauge.toml: \[source\] path: .* would read its own output"):
        files(tmp_path, path, output, state)


@pytest.mark.parametrize(
    ("path", "output"),
    [
        ("data/*.jsonl", "out"),
        ("data", "data/out"),
        ("*.jsonl", "out"),
        ("in-*.jsonl", "."),
        ("**/*.csv", "."),
    ],
)
def test_a_source_beside_our_own_files_is_accepted(
    path: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert files(tmp_path, path, output).output.directory == output


@pytest.mark.parametrize("form", ["arrow", "avro", "long_avro"])
@pytest.mark.parametrize("source", ['kind = "stdin"', 'kind = "files"\npath = "in/*"'])
def test_binary_formats_are_no_lines(form: str, source: str, tmp_path: Path) -> None:
    registry = '[schema_registry]\nurl = "http://localhost:8081"\n'
    with pytest.raises(ConfigError, match=rf"\[input\] format: {form} is binary.*Kafka or MQTT"):
        loaded(tmp_path, source, f'[input]\nformat = "{form}"\n{registry}')
    mqtt = loaded(tmp_path, 'kind = "mqtt"\ntopics = ["t"]', f'[input]\nformat = "{form}"\n{registry}')
    assert mqtt.input.format == form


@pytest.mark.parametrize(
    "source",
    [
        'kind = "stdin"\nstate = "state"',
        'kind = "mqtt"\ntopics = ["t"]\nstate = "state"',
        'kind = "files"\npath = "in"',
        'kind = "files"\npath = "in"\nstate = "state"',
    ],
)
def test_exactly_once_is_refused_where_it_is_not_kept(source: str, tmp_path: Path) -> None:
    output = '[output]\nto = "files"\ndirectory = "out"\n' if "state" not in source else ""
    with pytest.raises(
        ConfigError, match=r"\[delivery\] mode: .*exactly_once needs .* state, and \[output\] to"
    ):
        loaded(tmp_path, source, f'{output}[delivery]\nmode = "exactly_once"\n')


def test_exactly_once_is_accepted_between_files_with_a_state(tmp_path: Path) -> None:
    output = '[output]\nto = "files"\ndirectory = "out"\n[delivery]\nmode = "exactly_once"\n'
    config = loaded(tmp_path, 'kind = "files"\npath = "in"\nstate = "state"', output)
    assert (config.delivery.mode, config.commits_outputs) == ("exactly_once", True)
