"""The what-if on a running group: a real Kafka, its daemon, and the archive of the explorer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from detector.engine.engine import EngineOptions
from detector.incidents.rules import IncidentRules
from detector.offline.backtest import backtest_parquet
from tests.detector.explore.explored import served
from tests.detector.explore.whatif.test_whatif_api import call, over, until
from tests.support.daemon import running
from tests.support.sines import CHANNELS, frame_of, linear_artifact, write
from tests.support.strategies import NAMES, readings_of

NUM, PARTS = 700, 5
RULES = {"for_rows": 30, "of_rows": 32}  # they leave the short jump out


def history() -> Any:
    """Two pumps with jumps of several lengths; the last one is still open at the end."""
    frames = [frame_of(NUM, seed).assign(series=name) for seed, name in enumerate(NAMES[:2], 3)]
    frames[0].iloc[200:230, 0] += 9.0
    frames[0].iloc[400:404, 1] += 2.0
    frames[1].iloc[300:330, 2] -= 250.0
    frames[1].iloc[NUM - 40 :, 0] += 20.0
    return frames


def send(bootstrap: str, topic: str, frames: Any) -> None:
    """The rows in parts, so that the archive gets several segments."""
    producer = Producer(Connection((bootstrap,)))
    for rows in np.array_split(np.arange(NUM), PARTS):
        for number, frame in enumerate(frames):
            part = frame.iloc[rows]
            times = part.index.as_unit("ns").asi8
            readings = readings_of(np.full(len(part), number), times, part[CHANNELS].to_numpy())
            producer.produce(encode(readings, CHANNELS, topic))
    producer.close()


def configuration(entry: Path, bootstrap: str, topic: str, output: str) -> str:
    return (
        f'[model]\npath = "{entry}"\n[kafka]\nbootstrap_servers = ["{bootstrap}"]\n'
        f'topic = "{topic}"\ngroup_id = "{topic}"\n[output]\nprefix = "{topic}"\n{output}'
    )


def incidents_of(found: dict[str, Any], without: str) -> set[tuple[str, float]]:
    """Series and start of the incidents, but not those with this change."""
    return {(one["series"], one["start"]) for one in found["incidents"] if one["change"] != without}


def test_other_settings_on_a_running_group_find_what_a_backtest_finds(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    entry, topic = tmp_path / "models" / "pump", kafka_topic(1)
    artifact = publish(linear_artifact(), entry)
    text = configuration(entry, kafka_bootstrap, topic, 'detail = "full"\n')
    config = tmp_path / "plant.toml"
    config.write_text(text)
    frames = history()
    whole = pd.concat(frames).sort_index(kind="stable")
    data = write(tmp_path / "data.parquet", whole)

    def backtest(**rules: Any) -> set[tuple[str, float]]:
        options = EngineOptions(rules=IncidentRules(**rules))
        outcome = backtest_parquet(artifact, data, options)
        return {(one.series, one.start_ns / 1e6) for one in outcome.incidents}

    with running(text, tmp_path) as daemon, served(config) as site:
        send(kafka_bootstrap, topic, frames)
        settings = until(lambda: call(site, "GET", "/whatif")[1])
        assert settings["why_not"] is None, settings
        # The newest row of each series is still open in the daemon.
        until(lambda: call(site, "GET", "/source")[1]["rows"] == 2 * (NUM - 1))
        until(lambda: call(site, "GET", "/incidents")[1]["total"] == len(backtest()))
        status, started = call(site, "POST", "/whatif", {"incidents": RULES})
        assert status == 202, started
        body = over(site, started["id"])
        assert daemon.terminate() == 0
    assert (body["state"], body["message"]) == ("done", None)
    found = body["result"]
    assert found["repeats"], found
    assert (found["is_whole"], found["rows"]) == (True, 2 * (NUM - 1))
    assert incidents_of(found, "new") == backtest()
    assert incidents_of(found, "gone") == backtest(**RULES) != backtest()
    assert "for_rows = 30  # was 1" in found["toml"]


def test_a_group_that_publishes_scores_alone_is_told_which_setting_is_needed(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    entry, topic = tmp_path / "models" / "pump", kafka_topic(1)
    publish(linear_artifact(), entry)
    config = tmp_path / "plant.toml"
    config.write_text(configuration(entry, kafka_bootstrap, topic, ""))
    with served(config) as site:
        assert 'set [output] detail = "full"' in call(site, "GET", "/whatif")[1]["why_not"]
        status, told = call(site, "POST", "/whatif", {"alarm_budget": "1/hour"})
        assert status == 409
        assert 'set [output] detail = "full"' in told["error"]["message"]
