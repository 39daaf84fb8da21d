"""Several topics in one configuration: what fits together, and what is refused with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.formats.by_topic import TopicCodecs
from detector.config.input.topics import input_of
from detector.config.load import load_config, load_connection
from detector.errors import ConfigError
from detector.service.clients import codec_of, consumer_options

MODEL = '[model]\npath = "models/pump"\n'
MODELS = '[[models]]\npath = "models/pump"\ntopics = [{topics}]\n'
SEVERAL = '[kafka]\ntopics = ["pumps", "plant-*"]\n'
LINES = '[[inputs]]\ntopics = ["plant-*"]\nformat = "line_protocol"\n'


def write(directory: Path, text: str) -> Path:
    (directory / "d.toml").write_text(text)
    return directory / "d.toml"


def test_several_topics_each_with_its_form(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MODEL + SEVERAL + LINES), {})
    assert (config.kafka.topic, config.kafka.topics) == ("", ("pumps", "plant-*"))
    assert input_of("plant-1", config.input, config.inputs).format == "line_protocol"
    assert input_of("pumps", config.input, config.inputs).format == "wide_json"
    assert isinstance(codec_of(config, ("flow",)), TopicCodecs)
    options = consumer_options(config)
    assert options.topics == ("pumps", "plant-*")
    assert "streamgauge.scores" in options.excluded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL + "[kafka]\n", "missing"),
        (MODEL + '[kafka]\ntopic = "a"\ntopics = ["b"]\n', "`topic` and `topics` exclude each other"),
        (MODEL + '[kafka]\ntopics = ["a b"]\n', "'a b' is no name of a topic"),
        (MODEL + '[kafka]\ntopics = ["a", "streamgauge.scores"]\n', "this process writes streamgauge.scores"),
        (MODEL + '[kafka]\ntopic = "streamgauge.state"\n', "this process writes streamgauge.state"),
        (MODEL + '[kafka]\ntopic = "a"\n' + LINES, "[[inputs]] is for several topics; set topics in [kafka]"),
        (
            MODEL + SEVERAL + '[[inputs]]\ntopics = ["other"]\n',
            "[[inputs]] topics: other is not read; add it",
        ),
        (MODEL + SEVERAL + '[[inputs]]\nformat = "csv"\n', "[[inputs]] #1"),
        (
            MODEL + SEVERAL + '[[inputs]]\ntopics = ["plant-1"]\nformat = "avro"\n',
            "[[inputs]] format avro needs url in [schema_registry]",
        ),
        (SEVERAL + MODELS.format(topics='"presses"'), "[[models]] models/pump topics: presses is not read"),
        (
            '[source]\nkind = "stdin"\n' + MODELS.format(topics='"a"'),
            'topics: needs [source] kind = "kafka", not stdin',
        ),
        ('[source]\nkind = "stdin"\n' + MODEL + SEVERAL, "[kafka] is not used"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), {})
    assert words in str(caught.value)


def test_models_name_topics_that_are_read(tmp_path: Path) -> None:
    for topics in ('"plant-1"', '"pl*", "pumps"'):
        config = load_config(write(tmp_path, SEVERAL + MODELS.format(topics=topics)), {})
        assert config.models[0].topics


def test_a_variable_or_a_flag_of_one_key_replaces_the_other(tmp_path: Path) -> None:
    path = write(tmp_path, MODEL + SEVERAL + LINES)
    found = load_connection(path, {"topic": "plant-3"}, {})
    assert (found.kafka.topic, found.kafka.topics) == ("plant-3", ())
    assert input_of("plant-3", found.input, found.inputs).format == "line_protocol"
    one = write(tmp_path, MODEL + '[kafka]\ntopic = "a"\n')
    assert load_config(one, {"STREAMGAUGE_KAFKA__TOPICS": "b,c-*"}).kafka.topics == ("b", "c-*")
