"""Groups of a real notifier that is killed: what it has begun under an id, it ends under that id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message
from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.daemon import Daemon, running, wait_for
from tests.support.receiver import Got, Receiver, Reply, receiving
from tests.test_notifying import configuration

pytestmark = pytest.mark.kafka_changes
NUM_SERIES, NUM_PARTITIONS, PERIOD = 12, 3, 20


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def send(bootstrap: str, topic: str, first: int, num_rows: int) -> None:
    """A row of every series a second: `PERIOD` calm rows, then as many wild ones, and so on."""
    rng, messages = np.random.default_rng(first), []
    for row in range(first, first + num_rows):
        values = rng.standard_normal((NUM_SERIES, 2)) * (0.01 if row // PERIOD % 2 == 0 else 50.0)
        for at, (flow, pressure) in enumerate(values.tolist()):
            body = {
                "series": f"pump-{at}",
                "timestamp": 1_700_000_000_000 + 1_000 * row,
                "values": {"flow": flow, "pressure": pressure},
            }
            messages.append(Message(topic, b"", json.dumps(body).encode(), (), at % NUM_PARTITIONS))
    producer = Producer(Connection((bootstrap,)))
    producer.produce(messages)
    producer.close()


def ids(receiver: Receiver, event: str) -> list[str]:
    """The groups of which the receiver got this event, each key once."""
    return sorted(
        {
            got.json["id"]
            for got in receiver.taken
            if got.json["event"] == event and got.json["id"][-6:] == "-group"
        }
    )


@pytest.mark.parametrize("moment", ["in the request", "after the request"])
def test_a_kill_changes_no_group_that_was_sent(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path, receiver: Receiver, moment: str
) -> None:
    """Killed while a group is sent, and again while one ends. The incidents are spread over three partitions.
    These are read at different speeds, so how many groups there are is not certain."""
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    topic = kafka_topic(NUM_PARTITIONS)
    folds = f'fold = true\n[incidents]\nfold_series = 4\nfold_window = "{PERIOD + 5}s"'
    config = configuration(tmp_path / "models" / "pump", kafka_bootstrap, topic, receiver.url, folds)
    killed: list[str] = []
    for event in ("opened", "resolved"):
        with running(config, tmp_path) as daemon:

            def answer(got: Got, daemon: Daemon = daemon, event: str = event) -> Reply:
                is_wanted = got.json["event"] == event and got.json["id"].endswith("-group")
                if is_wanted and len(killed) < 1 + (event == "resolved"):
                    killed.append(got.json["id"])
                    daemon.process.kill()
                    daemon.process.wait()
                return Reply(hang=moment == "in the request" and daemon.process.poll() is not None)

            receiver.answer = answer
            if event == "opened":
                send(kafka_bootstrap, topic, 0, 2 * PERIOD)
            else:
                send(kafka_bootstrap, topic, 2 * PERIOD, PERIOD)
            wait_for(lambda: daemon.process.poll() is not None, f"the kill; see {daemon.log}")
    receiver.over.set()
    receiver.answer = lambda _: Reply()
    with running(config, tmp_path) as daemon:
        send(kafka_bootstrap, topic, 3 * PERIOD, 2 * PERIOD)

        def are_over() -> bool:
            return ids(receiver, "opened") == ids(receiver, "resolved") and len(ids(receiver, "opened")) > 1

        wait_for(are_over, f"the end of each group; see {daemon.log}")
        assert daemon.terminate() == 0
    assert len(killed) == 2
    assert set(killed) <= set(ids(receiver, "opened"))
