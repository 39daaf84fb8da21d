"""Decisions through the API to the topic of a running group, and what its daemon makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from connectors.kafka.connection import Connection
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import open_artifact, publish
from detector.calibration.feedback import read_feedback
from detector.explore.deciding.group_ledger import GroupLedger
from detector.explore.source import Source, source_of
from detector.explore.storage.place import Place
from detector.explore.store.build import store_of
from detector.explore.store.database import open_store
from detector.explore.store.shown import Finished
from detector.explore.web.opened import Opened
from detector.journal import read_journal
from streamgauge import main
from tests.detector.explore.explored import ADA, serving
from tests.detector.explore.test_deciding import listed, post
from tests.support.artifacts import make_artifact
from tests.support.daemon import read_all, running, wait_for
from tests.support.sines import write
from tests.support.strategies import NAMES, readings_of
from tests.test_daemon_kafka import CHANNELS, configuration, send
from trainer.lifecycle.past import past_of

NUM, SHIFTED, DECIDED, LATER = 200, 60, 100, 130
START_NS = 1_700_000_000_000_000_000
RULES = '[incidents]\nlasting_after = "20s"\n'


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A model that expects the centre of every channel, and can be calibrated again."""
    errors = np.random.default_rng(0).exponential(0.1, 4_000)
    artifact = replace(make_artifact(), held_out={"segment": np.zeros(4_000), "error": errors})
    with torch.no_grad():
        for weights in artifact.module.parameters():
            weights.zero_()
    publish(artifact, tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def readings() -> Readings:
    """Three series. `flow` of the first is 5 higher from row 60 on, that of the others from row 130 on."""
    values = np.random.default_rng(2).normal(0, 0.3, (3 * NUM, 2)).round(6)
    row, series = np.repeat(np.arange(NUM), 3), np.tile(np.arange(3), NUM)
    values[row >= np.where(series == 0, SHIFTED, LATER), 0] += 5.0
    return readings_of(series, START_NS + row * 10**9, values)


def backtest(entry: Path, config: Path, directory: Path) -> Path:
    """The first rows as a backtest: its series and its open incident are those of the daemon."""
    found = readings()
    frame = pd.DataFrame(found.values, columns=list(CHANNELS))
    frame["series"] = np.array(NAMES, dtype=object)[found.series]
    frame["timestamp"] = pd.to_datetime(found.timestamp_ns, utc=True)
    data = write(directory / "data.parquet", frame[: 3 * DECIDED].set_index("timestamp"))
    out = directory / "out"
    assert main(["backtest", str(entry), str(data), "--config", str(config), "--out", str(out)]) == 0
    return out


@contextmanager
def explorer(config: Path, out: Path, connection: Connection | None = None) -> Iterator[str]:
    """An explorer of the group whose store has the rows of the backtest."""
    group = source_of(str(config)).group
    assert group is not None
    description = store_of(out, out / "explorer")
    store = Finished(open_store(out / "explorer"), description)
    ledger = GroupLedger(connection or group.connection, group.topics.decisions, store.database)
    with serving(
        Opened(store, Source(str(config), Place(str(out / "explorer")), group), ledger, ADA)
    ) as site:
        yield site


def test_what_the_page_writes_changes_what_the_daemon_does(
    entry: Path,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = kafka_topic()
    text = configuration(entry, kafka_bootstrap, topic, session_timeout='"6s"') + RULES
    config = tmp_path / "group.toml"
    config.write_text(text)
    out = backtest(entry, config, tmp_path)
    messages = encode(readings(), CHANNELS, topic)

    def of(event: str, series: str) -> list[dict[str, Any]]:
        found = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
        return [one for one in found if (one["event"], one["series"]) == (event, series)]

    with running(text, tmp_path) as daemon, explorer(config, out) as site:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        send(kafka_bootstrap, messages[: 3 * DECIDED])
        wait_for(lambda: len(of("opened", "pump-1")) == 1, f"an incident; see {daemon.log}")
        name = of("opened", "pump-1")[0]["id"]
        at = START_NS // 10**6 + DECIDED * 1000
        for body in (
            {"action": "accept", "incident": name, "why": "new pump"},
            {"action": "mute", "series": "pump-3", "for": "1h", "at": at},
            {"action": "false-alarm", "incident": name},
        ):
            status, told = post(site, body)
            assert status == 201, told
            assert told["place"] == f"topic out-{topic}.decisions"
        assert "an hour away" in post(site, {"action": "mute", "series": "pump-1", "for": "0s"})[1]["note"]
        wait_for(lambda: len(listed(site)["decisions"]) == 4, "the decisions in the topic")
        assert {one["who"] for one in listed(site)["decisions"]} == {"ada"}
        metric = 'judged_by_people_incidents{opinion="false-alarm"} 1.0'
        send(kafka_bootstrap, messages[3 * DECIDED :])
        wait_for(lambda: len(of("opened", "pump-2")) == 1, f"the fault of pump-2; see {daemon.log}")
        wait_for(lambda: daemon.readings() >= 3 * NUM, f"all readings; see {daemon.log}")
        wait_for(lambda: metric in daemon.get("/metrics")[1], f"the opinion; see {daemon.log}")
        assert daemon.terminate() == 0
    accepted = of("accepted", "pump-1")[0]["decision"]
    assert (accepted["who"], accepted["why"], accepted["outcome"]) == ("ada", "new pump", "applied")
    assert len(of("opened", "pump-1")) == 1, "the accepted level is normal"
    assert len(of("muted", "pump-3")) == 1
    assert of("opened", "pump-3") == [], "the mute stops the alert"
    retraining_waits(entry, config, capsys)
    calibrated_by_opinions(entry, config, tmp_path)


def retraining_waits(entry: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The topics have an open incident of pump-2, a mute of pump-3, and a false alarm to learn."""
    past = past_of(str(config), "pump")
    assert {one.series for one in past.open} == {"pump-2"}
    assert {one.series for one in past.mutes} == {"pump-3"}
    assert "pump-1" not in {one.series for one in past.incidents}
    assert past.faults == ()
    words = ["retrain", "history/", "--out", str(entry), "--daemon", str(config), "--json"]
    capsys.readouterr()
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["version"]) == ("incident open", None)
    assert read_journal(entry).events[-1].action == "not retrained"


def calibrated_by_opinions(entry: Path, config: Path, directory: Path) -> None:
    """The false alarm in the topic raises the threshold: the same rows raise no alarm of the score."""
    before = open_artifact(entry).spec.threshold.value
    assert main(["calibrate", str(entry), "--opinions", str(config), "--promote"]) == 0
    (kept,) = read_feedback(entry)
    assert (kept.opinion, kept.series) == ("false-alarm", "pump-1")
    assert open_artifact(entry).spec.threshold.value > kept.peak_error > before
    found = json.loads((backtest(entry, config, directory) / "incidents.json").read_text())["incidents"]
    assert [one for one in found if one["reason"] == "score"] == []


def test_a_cluster_that_does_not_answer_is_said_in_words(entry: Path, tmp_path: Path) -> None:
    config = tmp_path / "group.toml"
    config.write_text(configuration(entry, "127.0.0.1:1", "t") + RULES)
    out = backtest(entry, config, tmp_path)
    with explorer(config, out, Connection(("127.0.0.1:1",))) as site:
        status, told = post(site, {"action": "mute", "series": "pump-1", "for": "1h"})
        assert status == 503
        assert "the decision was not written" in told["error"]["message"]
        assert "127.0.0.1:1" in told["error"]["message"]
        assert listed(site)["decisions"] == []


def test_a_group_decides_now_and_only_about_what_is_open(entry: Path, tmp_path: Path) -> None:
    """Refusals need no cluster: nothing is written."""
    config = tmp_path / "group.toml"
    config.write_text(configuration(entry, "127.0.0.1:1", "t") + RULES)
    out = backtest(entry, config, tmp_path)
    incidents = json.loads((out / "incidents.json").read_text())
    (one,) = incidents["incidents"]
    with explorer(config, out, Connection(("127.0.0.1:1",))) as site:
        when = {"at": START_NS // 10**6 + 90_000}
        assert post(site, {"action": "accept", "incident": one["id"], **when})[0] == 400
    (out / "incidents.json").write_text(
        json.dumps({"incidents": [one | {"state": "resolved", "end": one["peak"]}]})
    )
    with explorer(config, out, Connection(("127.0.0.1:1",))) as site:
        for action in ("accept", "reject"):
            status, told = post(site, {"action": action, "incident": one["id"]})
            assert (status, "was resolved" in told["error"]["message"]) == (409, True)
        assert set(listed(site, incident=one["id"])["obstacles"]) == {"accept", "reject"}
