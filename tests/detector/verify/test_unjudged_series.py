"""What `verify` says of published rows whose readings no model gets, and of models without input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Message, Readings
from detector.artifact.registry import publish
from detector.config.load import load_config
from detector.engine.engine import Engine
from detector.errors import ConfigError
from detector.verify.comparing import Comparing, Comparison
from detector.verify.inputs import PartitionInput
from detector.verify.models import Models
from detector.verify.receipt import InputDigest
from detector.verify.rows import Published
from detector.verify.verify import Request, _check_recorded, _run
from detector.verify.versions import Versions
from tests.plant.test_plant_kafka import KINDS, SECOND_MS, artifact_of

NUM = 10
TIMES = [SECOND_MS + 1_000 * at for at in range(NUM)]


@pytest.fixture
def request_of_all(tmp_path: Path) -> Request:
    """A request for everything that models of pumps and presses judged; they read the topic `plant`."""
    entries = ""
    for kind in KINDS:
        publish(artifact_of(kind), tmp_path / kind)
        entries += f'[[models]]\npath = "{tmp_path / kind}"\nseries = ["{kind}-*"]\nleast_channels = 2\n'
        entries += 'topics = ["plant"]\n'
    path = tmp_path / "streamgauge.toml"
    path.write_text(f'{entries}[kafka]\ntopics = ["plant", "office"]\n')
    return Request(load_config(path), path, 0, TIMES[-1] + 1_000)


def readings(channels: Sequence[str], numbers: tuple[int, int], **own: Sequence[str]) -> Readings:
    """Ten readings of each series (with `_` for `-`), which has values in these channels alone."""
    names = tuple(name.replace("_", "-") for name in own)
    series = np.tile(np.arange(len(names), dtype=np.int32), NUM)
    values = np.full((len(series), len(channels)), np.nan)
    for at, some in enumerate(own.values()):
        columns = [channels.index(one) for one in some]
        values[np.ix_(series == at, columns)] = np.random.default_rng(1).standard_normal((NUM, len(some)))
    first, partition = numbers
    offset = np.arange(first, first + len(series), dtype=np.int64)
    time_ns = np.repeat(np.array(TIMES, np.int64) * 1_000_000, len(names))
    return Readings(names, series, time_ns, values, np.full(len(series), partition, np.int32), offset)


def partition(topic: str, number: int, first: int, **own: Sequence[str]) -> PartitionInput:
    """A partition that the service has processed, from an offset on."""

    def read(channels: tuple[str, ...]) -> Iterator[Batch]:
        yield Batch(readings(channels, (first, number), **own))

    return PartitionInput(topic, 0, first == 0, True, read)


def of_service(request: Request) -> list[Message]:
    """What the service publishes of pump-1."""
    model = Versions(request.config, request.config.models[0]).current
    taken = readings(KINDS["pump"], (0, 0), pump_1=KINDS["pump"])
    return list(model.encoder.verdicts(Engine(model.artifact, model.options).step(taken).verdicts))


def forged(series: str, model: str = "pump") -> Message:
    """A row for each reading of a series that the service did not judge."""
    body = {
        "series": series,
        "model": model,
        "version": "0" * 12,
        "timestamp": TIMES,
        "score": [0.5] * NUM,
        "state": ["normal"] * NUM,
    }
    return Message("scores", series.encode(), orjson.dumps(body))


def compared(
    request: Request, parts: list[PartitionInput], *more: Message
) -> tuple[Comparison, dict[str, InputDigest], Published]:
    numbers = PartitionNumbers()
    for part in parts:
        numbers.number(part.topic, part.partition)
    models = Models(request.config, numbers)
    published = Published.of([*of_service(request), *more], models.settle_rows)
    models.prepare(Published.of(of_service(request), 1), [])
    comparing = Comparing(published, (request.from_ms, request.to_ms), models.settle_rows_of)
    digests = _run(request, models, parts, comparing)
    return comparing.finish(), digests, published


def plant(first: int = 0) -> PartitionInput:
    """A pump, a fan that no model has by its name, and a pump with too few channels."""
    return partition("plant", 0, first, pump_1=KINDS["pump"], fan_1=("flow",), pump_9=("flow",))


def test_a_service_that_leaves_unassigned_series_alone_is_verified(request_of_all: Request) -> None:
    found, _, _ = compared(request_of_all, [plant()])
    assert (found.equal, found.faults.total(), found.uncompared.total()) == (NUM - 1, 0, 0)


@pytest.mark.parametrize("series", ["fan-1", "pump-9"])
def test_rows_are_extra_where_the_input_has_their_series_and_no_model_gets_it(
    request_of_all: Request, series: str
) -> None:
    found, _, _ = compared(request_of_all, [plant()], forged(series))
    assert (found.equal, found.faults) == (NUM - 1, {"extra": NUM - 1})
    assert found.uncompared == {"no input": 1}  # the next reading, not processed yet, may begin this row


def test_rows_are_not_extra_if_a_message_before_the_input_may_have_assigned_their_series(
    request_of_all: Request,
) -> None:
    found, _, _ = compared(request_of_all, [plant(50)], forged("pump-9"), forged("fan-1"))
    assert found.faults == {"extra": NUM - 1}
    assert {one.published.series for one in found.examples if one.published} == {"fan-1"}
    assert found.uncompared["no input"] == NUM + 1


def test_rows_are_not_extra_where_only_a_topic_that_their_model_does_not_read_has_their_series(
    request_of_all: Request,
) -> None:
    office = partition("office", 1, 0, press_1=KINDS["press"])
    found, _, _ = compared(request_of_all, [plant(), office], forged("press-1", "press"))
    assert (found.equal, found.faults.total(), found.uncompared) == (NUM - 1, 0, {"no input": NUM})


def test_a_recording_needs_readings_for_each_model_that_judged_rows_of_the_stretch(
    request_of_all: Request,
) -> None:
    _, digests, published = compared(request_of_all, [plant()], forged("press-1", "press"))
    assert [one.readings for one in digests.values()] == [NUM, 0]
    with pytest.raises(ConfigError, match="has no reading for press, which judged rows of the stretch"):
        _check_recorded(request_of_all, digests, published.left())
    later = replace(request_of_all, from_ms=TIMES[-1] + 1)
    _check_recorded(later, digests, published.left())
    _check_recorded(request_of_all, digests, (row for row in published.left() if row.model == "pump"))
    with pytest.raises(ConfigError, match="no file has a channel of the models"):
        _check_recorded(request_of_all, {"pump": InputDigest()}, [])


def test_one_model_of_all_topics_never_judges_other_names_nor_too_few_channels_from_the_beginning(
    tmp_path: Path,
) -> None:
    publish(artifact_of("pump"), tmp_path / "pump")
    path = tmp_path / "streamgauge.toml"
    path.write_text(f'[model]\npath = "{tmp_path / "pump"}"\nseries = ["pump-*"]\n[kafka]\ntopic = "plant"\n')
    models = Models(load_config(path), PartitionNumbers("plant"))
    assert [models.never_judge("fan-1", "plant", is_begun) for is_begun in (True, False)] == [True, True]
    assert [models.never_judge("pump-9", "plant", is_begun) for is_begun in (True, False)] == [True, False]
