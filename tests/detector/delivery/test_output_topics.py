"""The thread that looks after the output topics goes on, whatever a look runs into."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from connectors.errors import KafkaError
from connectors.kafka.admin.growth import TopicFacts
from connectors.kafka.connection import Connection
from detector.config.load import load_config
from detector.delivery import output_topics
from detector.delivery.messages import Topics
from detector.delivery.output_topics import OutputTopics
from detector.delivery.saved import input_topics

CONFIG = """
[model]
path = "models"
[kafka]
bootstrap_servers = ["broker:9092"]
topic = "readings"
group_id = "plant"
[output]
prefix = "out"
"""


@pytest.mark.parametrize("trouble", [KeyError("partition"), KafkaError("the broker is away")])
def test_a_look_that_fails_is_not_the_last_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trouble: Exception
) -> None:
    looks, again = [], threading.Event()

    def look_up(connection: Connection, names: list[str]) -> dict[str, TopicFacts]:
        looks.append(names)
        if len(looks) == 1:
            raise trouble
        again.set()
        return {name: TopicFacts("id", 1) for name in names}

    monkeypatch.setattr(output_topics, "look_up", look_up)
    monkeypatch.setattr(input_topics, "look_up", look_up)
    monkeypatch.setattr(output_topics, "LOOK_SECONDS", 0.01)
    path = tmp_path / "streamgauge.toml"
    path.write_text(CONFIG)
    topics = OutputTopics(Connection(("broker:9092",)), load_config(path), Topics.of("out"))
    topics.start()
    try:
        assert again.wait(30)
    finally:
        topics.close()
