"""`streamgauge archive` with a real Kafka and a real S3 server, and explorers that read what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kafka import KafkaProducer

from connectors.errors import ObjectsError
from detector.artifact.registry import publish
from detector.explore.source import source_of
from detector.explore.storage.object_storage import ObjectStorage
from detector.explore.storage.place import Place
from detector.explore.web.serve import opened
from tests.detector.explore.archive.test_archiver_kafka import make_topics
from tests.detector.explore.archive.test_events import pulses
from tests.detector.explore.archive.written import alert, minutes_of, rows_of, scores_message
from tests.detector.explore.explored import ADA, serving
from tests.detector.explore.storage.object_store import ObjectStore
from tests.support.daemon import ROOT, wait_for
from tests.support.sines import linear_artifact

pytestmark = pytest.mark.objects
HTTP = urllib3.PoolManager(retries=False)
NUM_SERIES, NUM_PARTS, PART = 3, 12, 5


class Plant:
    """A group whose topics a test writes: its configuration, and its archive on object storage."""

    def __init__(self, bootstrap: str, prefix: str, uri: str, directory: Path) -> None:
        publish(linear_artifact(), directory / "models" / "pump")
        self.topics = make_topics(bootstrap, prefix)
        self.config, self.uri, self._directory = directory / "plant.toml", uri, directory
        self.config.write_text(
            f'[model]\npath = "{directory}/models/pump"\n[kafka]\ntopic = "{prefix}"\n'
            f'bootstrap_servers = ["{bootstrap}"]\n[output]\nprefix = "{prefix}"\n'
        )
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)
        self.expected: list[tuple[str, int]] = []

    def send(self, at: int) -> None:
        """Rows of each series, and an incident."""
        minutes = range(at * PART, (at + 1) * PART)
        for number in range(NUM_SERIES):
            self.expected += [(f"s{number}", minute) for minute in minutes]
            self.producer.send(self.topics.scores, scores_message(f"s{number}", minutes), partition=number)
        self.producer.send(self.topics.alerts, alert("opened", f"i{at}", "s0", at), partition=at % 2)
        self.producer.flush()

    def storage(self, name: str) -> ObjectStorage:
        """The archive as another machine sees it."""
        return ObjectStorage(self.uri, self._directory / name, 10**9)

    def archiver(self, name: str) -> subprocess.Popen[str]:
        """`streamgauge archive` in a process of its own."""
        cache = str(self._directory / name)
        words = ["archive", str(self.config), "--store", self.uri, "--cache", cache]
        return subprocess.Popen(
            [sys.executable, "-m", "streamgauge", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    def num_rows(self) -> int:
        """How many rows the archive holds; 0 if there is none, or it cannot be read."""
        try:
            manifest, _ = self.storage("look").look()
        except ObjectsError:
            return 0
        return 0 if manifest is None else manifest.description.rows

    def explorer(self, name: str, *, is_known: bool) -> Any:
        """What an explorer shows that only reads, with or without the configuration."""
        place = Place(self.uri, str(self._directory / name))
        source = (
            source_of(str(self.config), place, archives=False) if is_known else source_of(self.uri, place)
        )
        return opened(source, ADA)


@pytest.fixture
def plant(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], object_store: ObjectStore, tmp_path: Path
) -> Iterator[Plant]:
    """A plant with an empty archive."""
    prefix = kafka_topic()
    found = Plant(kafka_bootstrap, prefix, object_store.uri(prefix), tmp_path)
    yield found
    found.producer.close()


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started(process: subprocess.Popen[str]) -> str:
    """The line that an archiver prints once it archives."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "archiving" in line, process.communicate()
    return line


def test_kill_9_on_object_storage_loses_no_row_and_doubles_none_and_a_second_archiver_is_refused(
    plant: Plant, object_store: ObjectStore
) -> None:
    """One kill comes at the first upload of a batch: the server then holds parts of it that nobody names."""
    with ended(plant.archiver("1")) as first:
        assert "holds 0 rows" in started(first)
        plant.send(0)
        wait_for(lambda: plant.num_rows() >= NUM_SERIES * PART, "the first rows")
        with ended(plant.archiver("2")) as second:
            _, said = second.communicate(timeout=60)
            assert second.returncode == 1
            assert "archives there already; start one archiver for a store" in said
            assert f"process {first.pid} on " in said
        folder = object_store.root / "plant" / plant.topics.scores.partition(".")[0] / "verdicts"
        before = set(folder.rglob("*.parquet"))
        for at in range(1, NUM_PARTS // 2):
            plant.send(at)
        wait_for(lambda: set(folder.rglob("*.parquet")) != before, "an upload")
        first.kill()
        first.wait()
    for at in range(NUM_PARTS // 2, NUM_PARTS):
        plant.send(at)
    with ended(plant.archiver("3")) as third:
        started(third)
        wait_for(lambda: plant.num_rows() >= len(plant.expected), "all rows")
        reader = plant.storage("reader")
        wait_for(lambda: len(rows_of(reader, "incidents", "id")) >= NUM_PARTS, "all incidents")
        third.send_signal(signal.SIGTERM)
        assert third.wait(60) == 0
    assert minutes_of(reader) == sorted(plant.expected)
    assert [name for (name,) in rows_of(reader, "incidents", "id")] == sorted(
        f"i{n}" for n in range(NUM_PARTS)
    )
    sign = reader.look()[1]
    assert sign is not None
    assert sign.ended


def test_two_explorers_read_live_and_say_so_when_the_server_is_away_and_then_go_on(
    plant: Plant, object_store: ObjectStore
) -> None:
    with ended(plant.archiver("1")) as archiver:
        started(archiver)
        plant.send(0)
        wait_for(lambda: plant.num_rows() >= NUM_SERIES * PART, "the first rows")
        with (
            serving(plant.explorer("a", is_known=False)) as alone,
            serving(plant.explorer("b", is_known=True)) as known,
        ):
            for site in (alone, known):
                about = HTTP.request("GET", f"{site}/api/v1/source").json()
                assert (about["kind"], about["rows"]) == ("live", NUM_SERIES * PART)
            refused = [
                HTTP.request("GET", f"{site}/api/v1/decisions").json()["writing"]["refused"]
                for site in (alone, known)
            ]
            assert "--no-archive" in refused[0]
            assert refused[1] is None
            answer = HTTP.request("GET", f"{alone}/api/v1/events", preload_content=False)
            found = pulses(answer)
            plant.send(1)
            assert next(one for one in found if one["rows"] > NUM_SERIES * PART)["trouble"] is None
            object_store.kill()
            trouble = next(one["trouble"] for one in found if one["trouble"])
            assert trouble["kind"] == "store"
            assert "check that the server runs" in trouble["words"]
            plant.send(2)
            about = HTTP.request("GET", f"{alone}/api/v1/source").json()
            assert about["rows"] == 2 * NUM_SERIES * PART  # what was known is shown
            object_store.start()
            well = next(one for one in found if one["rows"] == len(plant.expected) and not one["trouble"])
            assert well["series"] == NUM_SERIES
            archiver.send_signal(signal.SIGTERM)
            assert archiver.wait(60) == 0
            stopped = next(one["trouble"] for one in found if one["trouble"])
            assert stopped["kind"] == "archive"
            assert "has stopped; start `streamgauge archive`" in stopped["words"]
            answer.close()
            mute = {"action": "mute", "series": "s1", "for": "2h", "why": "works"}
            headers = {"Content-Type": "application/json", "X-Streamgauge": "decide"}
            posted = [
                HTTP.request("POST", f"{site}/api/v1/decisions", body=json.dumps(mute), headers=headers)
                for site in (alone, known)
            ]
            assert [one.status for one in posted] == [403, 201], posted[1].data
    assert minutes_of(plant.storage("reader")) == sorted(plant.expected)
