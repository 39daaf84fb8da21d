"""Another configuration in a running daemon: what is applied, what waits for a restart, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detector.config.load import Config, load_config
from detector.errors import ConfigError
from detector.service.reload.config_reload import ConfigReloader, changes, merged
from detector.service.reload.reload_counts import ReloadCounts

GOOD = '[model]\npath = "models/pump"\n\n[kafka]\ntopic = "readings"\n'
MORE = (
    '[incidents]\nfor_rows = 2\nof_rows = 3\n[input]\nmax_future = "2d"\n[channels.flow]\nmin_absolute = 1\n'
)


def parsed(directory: Path, text: str) -> Config:
    path = directory / "streamgauge.toml"
    path.write_text(text)
    return load_config(path, {})


def reloader(config: Config, read: Callable[[], Config], applied: list[Config]) -> ConfigReloader:
    return ConfigReloader(config, read, applied.append, ReloadCounts())


def test_changes_are_keys_of_sections_and_names_of_maps(tmp_path: Path) -> None:
    old, new = parsed(tmp_path, GOOD), parsed(tmp_path, GOOD + MORE)
    found = changes(old, new)
    assert found == {"incidents.for_rows", "incidents.of_rows", "input.max_future", "channels"}
    assert merged(old, new, found) == new
    assert merged(old, new, set()) == old


def test_a_reload_applies_what_it_can_and_only_when_asked(tmp_path: Path) -> None:
    old, new = parsed(tmp_path, GOOD), parsed(tmp_path, GOOD + MORE)
    applied: list[Config] = []
    made = reloader(old, lambda: new, applied)
    made.on_turn()
    assert applied == []
    made.ask()
    assert made.is_asked
    made.on_turn()
    made.on_turn()
    (found,) = applied
    assert (found.incidents, found.channels) == (new.incidents, new.channels)
    assert found.input == old.input, "needs a restart"


def test_a_configuration_with_an_error_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read() -> Config:
        raise ConfigError("[kafka] topic: missing")

    applied: list[Config] = []
    made = reloader(parsed(tmp_path, GOOD), read, applied)
    made.ask()
    made.on_turn()
    assert applied == []
    assert "configuration refused, the old one stays in force" in caplog.messages
