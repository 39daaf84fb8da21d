"""Series that the model does not know are shown, counted and logged where others have their own scales."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from connectors.records import Batch
from detector.artifact.spec import Artifact, OwnScale
from detector.engine.engine import Engine
from detector.engine.loop import Turn
from detector.metrics.recorder import Metrics
from detector.service.turn_observer import TurnObserver
from detector.status.status import Status
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources
from tests.support.strategies import NAMES, readings_of

TOLD = "Rows judged by the common scale"


def knowing(*names: str) -> Artifact:
    """A model with own scales of these series: a quarter of the common one in the second channel."""
    made = make_artifact()
    own: dict[str, tuple[OwnScale, ...]] = {name: (OwnScale("pressure", 0.0, 0.25),) for name in names}
    return replace(made, spec=replace(made.spec, own_scales=own))


def watched(artifact: Artifact, num_turns: int = 2) -> Metrics:
    """The metrics after some turns in which every one of `NAMES` sent 20 rows."""
    engine = Engine(artifact)
    metrics = Metrics(engine, 10, "0", FixedSources(ready=True))
    observer = TurnObserver(metrics)
    for turn in range(num_turns):
        times = np.tile((20 * turn + np.arange(20)) * 10**9, len(NAMES))
        values = np.random.default_rng(turn).standard_normal((len(times), 2))
        batch = Batch(readings_of(np.repeat(np.arange(len(NAMES)), 20), times, values))
        observer.on_turn(Turn(batch, engine.step(batch.readings), 0.1, 0.01, 0.001, 0.01))
    return metrics


def exposition(metrics: Metrics) -> dict[str, float]:
    lines = metrics.exposition("text/plain")[0].decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}


def test_one_warning_names_the_series_and_page_and_metric_have_the_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "streamgauge"):
        metrics = watched(knowing(NAMES[0]))
    [warning] = [one for one in caplog.records if "common scale" in one.message]
    assert vars(warning)["keys"] == {"series": list(NAMES[1:]), "num_series": 2}
    num = 2 * (2 * 20 - 1)  # the last row of each series is open
    assert exposition(metrics)["streamgauge_common_scale_rows_total"] == num
    assert Status(metrics).json()["common_scale_rows"] == num
    assert any(TOLD in one for one in Status(metrics).json()["overview"]["problems"])


@pytest.mark.parametrize("artifact", [make_artifact(), knowing(*NAMES)], ids=["no own scales", "all known"])
def test_where_every_series_has_its_scale_nothing_is_told(
    artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "streamgauge"):
        metrics = watched(artifact)
    assert not [one for one in caplog.records if "common scale" in one.message]
    assert exposition(metrics)["streamgauge_common_scale_rows_total"] == 0
    assert not any(TOLD in one for one in Status(metrics).json()["overview"]["problems"])


def test_the_band_of_a_series_is_in_proportion_to_its_scale() -> None:
    found = exposition(watched(knowing(NAMES[0])))

    def width(series: str, channel: str) -> float:
        labels = f'{{channel="{channel}",series="{series}"}}'
        upper, lower = (found[f"streamgauge_expected_{end}{labels}"] for end in ("upper", "lower"))
        return upper - lower

    assert width(NAMES[0], "flow") == pytest.approx(width(NAMES[1], "flow"))
    assert width(NAMES[0], "pressure") == pytest.approx(0.25 * width(NAMES[1], "pressure"))
