"""[[models]]: several models in one configuration, each with its series and rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.config.engine_options import rules_of
from detector.config.load import load_config
from detector.config.models.entries import check_tables, config_of, load_for, one_model, places_of
from detector.errors import ConfigError

TWO = """
[[models]]
path = "models/pump"
series = ["pump-*"]
least_channels = 2
[models.incidents]
for_rows = 4
of_rows = 6
cooldown = "3m"
[[models]]
path = "models/press"
name = "presses"
[kafka]
topic = "readings"
[incidents]
quiet_rows = 9
[channels.flow]
valid_max = 9.0
[channels."fo*"]
valid_max = 7.0
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "streamgauge.toml"
    path.write_text(text)
    return path


def test_each_model_has_its_own_rules_and_tables(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, TWO))
    pump, press = config.models
    own = config_of(config, pump, ("flow", "pressure"))
    assert (own.incidents.for_rows, own.incidents.of_rows, own.incidents.quiet_rows) == (4, 6, 9)
    assert own.incidents.cooldown == 180
    assert set(rules_of(own, ("flow", "pressure")).channels) == {"flow"}
    other = config_of(config, press, ("force",))
    assert other.incidents == config.incidents
    assert set(rules_of(other, ("force",)).channels) == {"fo*"}
    assert own.model.own_series == ("pump-*",)
    assert other.model.own_series == ()
    assert places_of(config) == ("models/pump", "models/press")
    check_tables(config, ("flow", "pressure", "force"))
    with pytest.raises(ConfigError, match="no channel `flow`"):
        check_tables(config, ("force",))


def test_each_model_may_have_a_shadow(tmp_path: Path) -> None:
    text = TWO.replace('series = ["pump-*"]', 'series = ["pump-*"]\nshadow = true')
    assert [one.shadow for one in load_config(written(tmp_path, text)).models] == [True, False]


def test_a_command_about_one_model_finds_its_entry(tmp_path: Path) -> None:
    path = written(tmp_path, TWO)
    assert load_for(path, "models/pump").incidents.for_rows == 4
    assert load_for(path, str(Path("models/press/0123").resolve())).model.path == "models/press"
    with pytest.raises(ConfigError, match=r"no \[\[models\]\] has the path 'models/fan'.*models/pump"):
        load_for(path, "models/fan")
    with pytest.raises(ConfigError, match="the explorer works with one model"):
        one_model(path, load_config(path), "the explorer")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("for_rows = 4", "for_rows = 7", "for_rows 7 must be at most of_rows 6"),
        ("for_rows = 4", "four_rows = 7", "models/pump: incidents four_rows"),
        ("for_rows = 4", 'for_rows = "x"', "models/pump: incidents for_rows"),
        ('"models/press"', '"models/pump"', r"path `models/pump` is used twice"),
        ('name = "presses"', "nam = 1", r"unknown key `nam`; did you mean `name`"),
        ("[kafka]", '[model]\npath = "a"\n[kafka]', r"\[model\] and \[\[models\]\] exclude each other"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(written(tmp_path, TWO.replace(old, new, 1)))


FALLBACK = """
[fallback]
enabled = true
[kafka]
topic = "readings"
"""


def test_a_fallback_needs_no_model(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, FALLBACK))
    assert (config.models, config.fallback.warmup_rows, places_of(config)) == ((), 256, ())
    with pytest.raises(ConfigError, match=r"\[fallback\]: the explorer works with one model"):
        one_model(tmp_path / "streamgauge.toml", config, "the explorer")
    for own in ('series = ["press-*"]', 'labels = { series = ["press-*"] }'):
        text = TWO.replace('name = "presses"', own) + "[fallback]\nenabled = true\n"
        assert len(load_config(written(tmp_path, text)).models) == 2
    with pytest.raises(
        ConfigError, match=r"\[\[models\]\] models/press matches every name: give it `series`"
    ):
        load_config(written(tmp_path, TWO + "[fallback]\nenabled = true\n"))
    assert not load_config(written(tmp_path, TWO)).fallback.enabled


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[kafka]", '[model]\npath = "models/pump"\n[kafka]', r"not beside \[model\]: write \[\[models\]\]"),
        ("[kafka]", '[input]\nformat = "long_json"\n[kafka]', r"\[fallback\] learns channels from wide JSON"),
        ("[kafka]", '[input]\nunknown_channels = "reject"\n[kafka]', "every channel is unknown at first"),
        ("enabled = true", "enabled = false", r"missing section \[model\]|model"),
        ("enabled = true", "enabled = true\nwarmup_rows = 3", "warmup_rows"),
        ("enabled = true", 'enabled = true\ninterval = "0s"', "interval"),
    ],
)
def test_a_fallback_that_cannot_work_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(written(tmp_path, FALLBACK.replace(old, new, 1)))
