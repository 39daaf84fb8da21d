"""A person decides by command, against a real Apache Kafka; the daemon is killed before it commits that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from connectors.records import Message, Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import open_artifact, publish
from detector.config.engine_options import engine_options
from detector.config.load import load_config
from detector.delivery.messages import MessageEncoder, Topics
from detector.engine.engine import Engine
from detector.offline.decisions_file import read_decisions
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.daemon import read_all, running, wait_for
from tests.support.strategies import readings_of
from tests.test_daemon_kafka import CHANNELS, configuration, send

RULES = '[incidents]\nlasting_after = "20s"\n'
NUM, SHIFTED, REPAIRED = 200, 60, 160
START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A model that expects the centre of every channel."""
    artifact = make_artifact()
    with torch.no_grad():
        for weights in artifact.module.parameters():
            weights.zero_()
    publish(artifact, tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def readings() -> Readings:
    """Three series; `flow` of all is 5 higher for a while. Values as JSON keeps them."""
    values = np.random.default_rng(2).normal(0, 0.3, (3 * NUM, 2)).round(6)
    row = np.repeat(np.arange(NUM), 3)
    values[(row >= SHIFTED) & (row < REPAIRED), 0] += 5.0
    return readings_of(np.tile(np.arange(3), NUM), START_NS + row * 10**9, values)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    out = capsys.readouterr()
    return code, out.out + out.err


def test_an_acceptance_survives_a_kill_and_replays_to_the_same_incidents(
    entry: Path,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic()
    text = configuration(entry, kafka_bootstrap, topic) + RULES
    file = tmp_path / "decide.toml"
    file.write_text(text)
    flags = ("--config", str(file))
    messages = encode(readings(), CHANNELS, topic)

    def alerts() -> list[dict]:
        return [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.alerts")]

    def of(event: str, series: str) -> list[dict]:
        return [one for one in alerts() if (one["event"], one["series"]) == (event, series)]

    with running(text, tmp_path) as daemon:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        send(kafka_bootstrap, messages[: 3 * 100])
        wait_for(lambda: len(of("lasting", "pump-1")) == 1, f"a lasting incident; see {daemon.log}")
        wait_for(lambda: len(of("lasting", "pump-2")) == 1, f"a lasting incident; see {daemon.log}")
        first, second = of("lasting", "pump-1")[0]["id"], of("lasting", "pump-2")[0]["id"]
        code, said = command(capsys, "accept", first[:9], *flags, "--why", "new pump", "--dry-run")
        assert (code, "nothing was written" in said) == (0, True), said
        assert command(capsys, "accept", first, *flags, "--who", "ada", "--why", "new pump")[0] == 0
        assert command(capsys, "reject", second, *flags)[0] == 0
        assert (
            command(capsys, "mute", "pump-3", "--for", "1h", "--at", "2023-11-14T22:15:15Z", *flags)[0] == 0
        )
        daemon.process.kill()
    wrong = [
        (("accept", "nonsense"), "no incident nonsense"),
        (("mute", "pump-9", "--for", "1h"), "did you mean `pump-"),
        (("mute", "pump-1", "--for", "soon"), "--for"),
    ]
    for words, told in wrong:
        code, said = command(capsys, *words, *flags)
        assert code == 2, said
        assert told in said
    with running(text, tmp_path) as daemon:
        send(kafka_bootstrap, messages[3 * 100 :])
        wait_for(lambda: daemon.readings() >= 3 * (NUM - 100), f"all readings; see {daemon.log}")
        wait_for(lambda: len(of("opened", "pump-1")) == 2, f"the old level; see {daemon.log}")
        assert daemon.terminate() == 0
    assert [len(of("accepted", "pump-1")), len(of("rejected", "pump-2")), len(of("muted", "pump-3"))] == [
        1,
        1,
        1,
    ]
    accepted = of("accepted", "pump-1")[0]["decision"]
    assert (accepted["who"], accepted["why"]) == ("ada", "new pump")
    assert accepted["learnt"][0]["new"] == pytest.approx(5.0, abs=0.2)
    assert command(capsys, "accept", first, *flags)[1].count("was resolved") == 1
    assert sorted_events(alerts()) == sorted_events(replayed(entry, file, alerts(), tmp_path))


def replayed(entry: Path, file: Path, alerts: list[dict], directory: Path) -> list[dict]:
    """The alerts of one replay of all readings, with the decisions as the alerts have them."""
    lines = directory / "alerts.jsonl"
    lines.write_text("\n".join(map(json.dumps, alerts)))
    artifact = open_artifact(str(entry))
    engine = Engine(artifact, engine_options(load_config(file), artifact.spec.channel_names))
    engine.decide(list(enumerate(read_decisions(lines))))
    result = engine.step(readings())
    spec = artifact.spec
    encoder = MessageEncoder(Topics.of("x"), spec.name, artifact.version, spec.channel_names)
    found: list[Message] = [*encoder.incidents(result.incidents), *encoder.decisions(result.decisions)]
    return [json.loads(one.value) for one in found]


def sorted_events(alerts: list[dict]) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in alerts)
