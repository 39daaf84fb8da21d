"""Which series `verify` leaves out, where a model judged them that is not in the configuration."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Message
from detector.artifact.registry import publish
from detector.config.load import load_config
from detector.errors import ConfigError
from detector.verify.models import Models
from detector.verify.rows import Published
from tests.support.artifacts import make_artifact

STRETCH = (1_000, 2_000)


def published(**times: tuple[int, ...]) -> Published:
    """Series -> times of its rows by a model that is not configured."""
    messages = []
    for series, some in times.items():
        body = {
            "series": series,
            "model": "gone",
            "version": "0" * 12,
            "timestamp": list(some),
            "score": [0.5 for _ in some],
            "state": ["normal" for _ in some],
        }
        messages.append(Message("scores", series.encode(), orjson.dumps(body)))
    return Published.of(messages, 1)


@pytest.fixture
def models(tmp_path: Path) -> Models:
    publish(make_artifact(), tmp_path / "pump")
    path = tmp_path / "streamgauge.toml"
    path.write_text(f'[model]\npath = "{tmp_path / "pump"}"\n[kafka]\ntopic = "input"\n')
    return Models(load_config(path), PartitionNumbers("input"))


def test_series_are_left_out_that_an_unknown_model_judged_before_the_stretch(models: Models) -> None:
    found = published(before=(10, 999), after=(2_001, 3_000), around=(999, 2_001))
    assert models.left_out(found, *STRETCH) == {"before": "other model", "around": "other model"}


@pytest.mark.parametrize("inside", [1_000, 1_500, 2_000])
def test_a_row_of_an_unknown_model_within_the_stretch_is_an_error_that_names_its_time(
    models: Models, inside: int
) -> None:
    with pytest.raises(ConfigError) as error:
        models.left_out(published(one=(10, inside), other=(3_000,)), *STRETCH)
    time = f"1970-01-01T00:00:0{inside // 1_000}.{inside % 1_000:03}"
    assert f"model gone judged rows from {time}" in str(error.value)
    assert f"to {time}" in str(error.value)
    assert "use the configuration of that time" in str(error.value)
