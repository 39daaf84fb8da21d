"""The examples of docs/formats.md: the configuration gives of the message the readings that are shown."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from connectors.formats.codec import channels_in
from connectors.records import Raw, RawColumns
from detector.config.input.section import InputSection, form_of, input_codec
from trainer.setup.topic import reading_line

PAGE = Path(__file__).parents[3] / "docs/formats.md"
BLOCK = r"((?:(?!```).)*)```"
EXAMPLES = re.findall(
    rf"```toml\n{BLOCK}\n\n```(?:json|text)\n{BLOCK}\n\n```text\n{BLOCK}", PAGE.read_text(), re.DOTALL
)


@pytest.mark.parametrize(("config", "message", "expected"), EXAMPLES)
def test_an_example_gives_the_readings_that_it_shows(config: str, message: str, expected: str) -> None:
    section = InputSection.model_validate(tomllib.loads(config)["input"])
    raw = RawColumns.of([Raw("readings", 0, 0, 1_782_900_000_000, b"k", message.strip().encode())])
    channels = channels_in(raw, form_of(section))
    decoded = input_codec(channels, section).decode_columns(raw)
    assert decoded.rejects == ()
    shown = [reading_line(decoded.readings, row, channels).strip() for row in range(len(decoded.readings))]
    assert shown == expected.splitlines()
    assert np.isfinite(decoded.readings.values).any(axis=1).all()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7
