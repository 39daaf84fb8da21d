"""A plant of five kinds over two topics and MQTT: recorded, trained, run, retrained, rolled back; with kills.

`make scenario` runs it with 300 series, and SCENARIO=slice with 30.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.errors import KafkaError
from connectors.records import Message
from tests.scenario.machines import (
    CHANNELS,
    JSON_KINDS,
    LINE_KINDS,
    MQTT_KINDS,
    Machine,
    as_json,
    as_line,
    as_table,
    plant,
    rows_of,
    time_s,
)
from tests.support.daemon import ROOT, Daemon, read_all, running, wait_for
from tests.test_daemon_kafka import send
from tests.without_kafka.mosquitto import mosquitto, publish

pytestmark = pytest.mark.scenario

IS_SLICE = os.environ.get("STREAMGAUGE_SCENARIO") == "slice"
OF_A_KIND = 6 if IS_SLICE else 60
DAY = 1_440
LEAKING = 1
"""The pump that leaks."""


def streamgauge(*arguments: object, code: int = 0) -> str:
    """Run the command as a user does, and return its output."""
    command = [sys.executable, "-m", "streamgauge", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1_800, check=False)
    assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Group:
    """Daemons that judge some kinds of one topic: by [[models]], or by [model] if it is one kind."""

    name: str
    topic: str
    kinds: tuple[str, ...]

    @property
    def is_lines(self) -> bool:
        return self.kinds[0] in LINE_KINDS


class Plant:
    """The plant's topics, configurations and machines, and what was sent so far."""

    def __init__(self, bootstrap: str, topics: tuple[str, str], directory: Path) -> None:
        self.bootstrap, self.topics, self.directory = bootstrap, topics, directory
        self.machines = plant(OF_A_KIND)
        self.models = directory / "models"
        self.history = directory / "history"
        self.hall = Group(f"hall-{topics[0]}", topics[0], JSON_KINDS)
        self.groups = (self.hall, *(Group(f"{kind}-{topics[1]}", topics[1], (kind,)) for kind in LINE_KINDS))
        self.row = 0

    def of(self, kinds: Iterable[str]) -> list[Machine]:
        return [one for one in self.machines if one.kind in kinds]

    def kafka(self, group: Group) -> str:
        form = 'format = "line_protocol"\nseries = "$.machine"' if group.is_lines else ""
        return f"""
[kafka]
bootstrap_servers = ["{self.bootstrap}"]
topic = "{group.topic}"
group_id = "{group.name}"
session_timeout = "6s"
[input]
{form}
[output]
prefix = "{group.name}"
[recovery]
max_replay_rows = 500
"""

    def config(self, group: Group) -> str:
        """The configuration of a group of daemons."""
        head = "[model]" if len(group.kinds) == 1 else "[[models]]"
        entries = (
            f'{head}\npath = "{self.models / kind}"\nseries = ["{kind}-*"]\nreload_every = "200ms"\n'
            for kind in group.kinds
        )
        return f"{''.join(entries)}{self.kafka(group)}"

    def written(self, group: Group) -> Path:
        """The configuration of a group as a file."""
        path = self.directory / f"{group.name}.toml"
        path.write_text(self.config(group))
        return path

    def send(self, num: int) -> None:
        """Send the next rows of every machine with Kafka."""
        json_topic, line_topic = self.topics
        messages = []
        for row, machine, values in rows_of(self.of((*JSON_KINDS, *LINE_KINDS)), self.row, num):
            is_json = machine.kind in JSON_KINDS
            body = (as_json if is_json else as_line)(row, machine, values)
            messages.append(Message(json_topic if is_json else line_topic, machine.name.encode(), body))
        self.row += num
        send(self.bootstrap, messages)

    def published(self, group: Group) -> Counter[tuple[str, str, int]]:
        """How often each row was published: (model, series, row)."""
        found: Counter[tuple[str, str, int]] = Counter()
        try:
            messages = read_all(self.bootstrap, f"{group.name}.scores")
        except KafkaError:
            return found  # the daemon makes its topics at the start
        for message in messages:
            body = json.loads(message.value)
            for time_ms in body["timestamp"]:
                found[body["model"], body["series"], (time_ms // 1_000 - time_s(0)) // 60] += 1
        return found

    def expected(self, group: Group) -> set[tuple[str, str, int]]:
        """Every row but the newest, which stays open."""
        own = self.of(group.kinds)
        return {(one.kind, one.name, row) for one in own for row in range(self.row - 1)}

    def alerts(self, group: Group) -> list[dict]:
        return [json.loads(one.value) for one in read_all(self.bootstrap, f"{group.name}.alerts")]

    def wait(self, group: Group, log: Path) -> None:
        """Until every row is published."""
        wait_for(lambda: self.expected(group) <= self.published(group).keys(), f"all rows; see {log}")


def status(daemon: Daemon) -> dict:
    return json.loads(daemon.get("/api/status")[1])


def record(story: Plant) -> None:
    """Both topics, as far as they go now."""
    for group, kinds in ((story.hall, JSON_KINDS), (story.groups[1], LINE_KINDS)):
        prefix = [f"{kind}_" if group.is_lines else "" for kind in kinds]
        channels = {f"{at}{name}" for kind, at in zip(kinds, prefix, strict=True) for name in CHANNELS[kind]}
        config = story.directory / f"record-{group.topic}.toml"
        config.write_text(story.kafka(group))
        out = story.history / group.topic
        streamgauge(
            *("record", "--config", config, "--out", out, "--until-end"),
            *("--channels", ",".join(sorted(channels))),
        )


def members(stack: ExitStack, story: Plant, group: Group, num: int, name: str) -> list[Daemon]:
    found = []
    for at in range(num):
        directory = story.directory / f"{name}-{group.name}-{at}"
        directory.mkdir()
        found.append(stack.enter_context(running(story.config(group), directory)))
    for one in found:
        wait_for(lambda one=one: one.get("/readyz")[0] == 200, f"readiness; see {one.log}")
    return found


def test_a_plant_from_its_first_recording_to_a_rollback(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    story = Plant(kafka_bootstrap, (kafka_topic(4), kafka_topic(4)), tmp_path)
    story.send(DAY)
    record(story)
    ovens = story.history / "ovens"
    ovens.mkdir()
    as_table(story.of(MQTT_KINDS), 0, DAY).to_parquet(ovens / "day.parquet")
    _train(story)
    _run_with_kills(story)
    _ovens_by_mqtt(story)
    _strangers(story)
    _a_leak_and_its_end(story)
    _the_gate_and_a_rollback(story)
    _everything_once(story)


def _train(story: Plant) -> None:
    shutil.copytree(story.history, story.directory / "day")
    said = streamgauge(
        *("train", story.history, "--out", story.models, "--group-by", "auto"),
        *("--model", "linear", "--window", 8, "--latent", 2),
    )
    assert {one.name for one in story.models.iterdir() if one.is_dir()} == set(CHANNELS), said


def _run_with_kills(story: Plant) -> None:
    """Three members judge the hall, and two each other kind. Some are killed in the middle of rows."""
    with ExitStack() as stack:
        hall = members(stack, story, story.hall, 3, "first")
        others = [members(stack, story, group, 2, "first") for group in story.groups[1:]]
        story.send(20)
        # A new group begins with the oldest message, so the recorded day is judged as well.
        for group, daemons in zip(story.groups, (hall, *others), strict=True):
            story.wait(group, daemons[-1].log)
        story.send(20)
        hall[0].process.kill()
        others[0][0].process.kill()
        story.send(20)
        hall[1].process.kill()
        for group, daemons in zip(story.groups, (hall, *others), strict=True):
            story.wait(group, daemons[-1].log)
        assert status(hall[2])["overview"]["state"] == "ready"


def _ovens_by_mqtt(story: Plant) -> None:
    """The ovens' daemon is killed between messages, and its session goes on."""
    directory = story.directory / "ovens"
    directory.mkdir()
    with mosquitto(story.directory / "mosquitto") as broker:
        config = f"""
[model]
path = "{story.models / "oven"}"
[source]
kind = "mqtt"
topics = ["plant/#"]
state = "{directory}/state"
[mqtt]
host = "127.0.0.1"
port = {broker.port}
client_id = "ovens"
[output]
to = "files"
directory = "{directory}/out"
"""
        ovens = story.of(MQTT_KINDS)[:6]
        scores = directory / "out" / "streamgauge.scores.jsonl"

        def judged() -> Counter[tuple[str, int]]:
            found: Counter[tuple[str, int]] = Counter()
            for line in scores.read_text().splitlines() if scores.exists() else ():
                body = json.loads(line)
                body = body.get("value", body)
                found.update((body["series"], time) for time in body["timestamp"])
            return found

        def sent(first: int, num: int) -> list[tuple[str, bytes]]:
            return [(f"plant/{one.name}", as_json(row, one, x)) for row, one, x in rows_of(ovens, first, num)]

        with running(config, directory) as daemon:
            wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
            publish(broker.port, sent(DAY, 30))
            wait_for(lambda: len(judged()) > len(ovens) * 10, f"verdicts; see {daemon.log}")
            daemon.process.kill()
        publish(broker.port, sent(DAY + 30, 10))
        with running(config, directory) as daemon:
            wait_for(lambda: len(judged()) == len(ovens) * 39, f"all verdicts; see {daemon.log}")
            assert daemon.terminate() == 0
        assert set(judged().values()) == {1}


def _strangers(story: Plant) -> None:
    """A press has no model. A pump that nobody announced is judged by the pumps' model."""
    topic = story.topics[0]
    newcomer = Machine("pump", 900)
    first = story.row
    messages = [
        Message(topic, newcomer.name.encode(), as_json(row, newcomer, values))
        for row, _, values in rows_of([newcomer], first, 20)
    ]
    press = {"series": "press-001", "timestamp": 1_000 * time_s(first), "values": {"force": 3.0}}
    messages.append(Message(topic, b"press-001", json.dumps(press).encode()))
    with ExitStack() as stack:
        (daemon,) = members(stack, story, story.hall, 1, "strangers")
        send(story.bootstrap, messages)
        wanted = {("pump", newcomer.name, row) for row in range(first, first + 19)}
        wait_for(lambda: wanted <= story.published(story.hall).keys(), f"the newcomer; see {daemon.log}")
        wait_for(lambda: "press-001" in daemon.get("/api/status")[1], "the stranger on the page")
        names = {one["series"] for one in status(daemon)["unassigned"]["most"]}
        assert names == {"press-001"}
        assert daemon.terminate() == 0


def _a_leak_and_its_end(story: Plant) -> None:
    """A leaking pump has an incident, and as long as it is open no pump is trained again."""
    hall, entry = story.hall, story.models / "pump"
    at, start = story.machines.index(Machine("pump", LEAKING)), story.row + 60
    story.machines[at] = Machine("pump", LEAKING, leaks_from=start, leaks_until=start + 120, leak=6.0)
    leaking = story.machines[at].name

    def events() -> list[str]:
        return [one["event"] for one in story.alerts(hall) if one["series"] == leaking]

    def retrained() -> str:
        record(story)
        flags = ("--out", entry, "--daemon", story.written(hall), "--held-back", "2h", "--json")
        return json.loads(streamgauge("retrain", story.history / hall.topic, *flags))["outcome"]

    with ExitStack() as stack:
        daemons = members(stack, story, hall, 2, "leak")
        story.send(180)
        wait_for(lambda: "opened" in events(), f"an incident of {leaking}; see {daemons[0].log}")
        story.wait(hall, daemons[0].log)
        assert retrained() == "incident open"
        daemons[1].process.kill()
        story.send(240)  # the pump is mended
        wait_for(lambda: events()[-1] == "resolved", f"the end of the incident; see {daemons[0].log}")
        story.wait(hall, daemons[0].log)
        assert retrained() in ("candidate", "not better")
        assert daemons[0].terminate() == 0


def _the_gate_and_a_rollback(story: Plant) -> None:
    """The gate refuses a model trained by mistake and passes another one; a rollback is one command."""
    hall, entry = story.hall, story.models / "pump"
    first = (entry / "current").read_text().strip()
    as_table(story.of(["pump"]), 0, DAY).to_parquet(story.directory / "pumps.parquet")
    by_kind = ("train", story.directory / "day", "--out", story.models, "--group-by", "auto")
    asks = (
        "models",
        "promote",
        entry,
        "--history",
        story.history / hall.topic,
        "--config",
        story.written(hall),
    )
    with ExitStack() as stack:
        daemons = members(stack, story, hall, 2, "gate")

        def goes_on(version: str) -> None:
            story.send(30)
            story.wait(hall, daemons[1].log)
            wait_for(lambda: version in daemons[1].get("/api/status")[1], f"{version}; see {daemons[1].log}")

        # A code of five numbers for windows of six cells: it reproduces most faults as well.
        careless = ("--model", "linear", "--window", 2, "--latent", 5)
        streamgauge("train", story.directory / "pumps.parquet", "--out", entry, *careless)
        assert "failed" in streamgauge(*asks, code=4)
        assert (entry / "current").read_text().strip() == first
        goes_on(first)
        streamgauge(*by_kind, "--model", "linear", "--window", 10, "--latent", 2)
        daemons[0].process.kill()
        streamgauge(*asks)
        second = (entry / "current").read_text().strip()
        assert second != first
        goes_on(second)
        streamgauge("models", "rollback", entry, "--why", "a rehearsal")
        goes_on(first)
        assert daemons[1].terminate() == 0


def _everything_once(story: Plant) -> None:
    """Nothing is lost or doubled or refused, and verdicts of [model] are computed again to the bit."""
    for group in story.groups:
        with ExitStack() as stack:
            (daemon,) = members(stack, story, group, 1, "last")
            story.wait(group, daemon.log)
            assert daemon.terminate() == 0
        assert set(story.published(group).values()) == {1}
        assert read_all(story.bootstrap, f"{group.name}.dead-letters") == []
        if len(group.kinds) == 1:
            receipt = json.loads(streamgauge("verify", story.written(group), "--json"))
            assert receipt["result"] == "equal", receipt
            assert set(receipt["faults"].values()) == {0}, receipt
