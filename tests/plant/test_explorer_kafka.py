"""The explorer on a running group of two models, against a real Apache Kafka."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.detector.explore.explored import served
from tests.plant.test_plant_kafka import KINDS, config_of, models, rows
from tests.support.daemon import read_all, running, wait_for
from tests.test_daemon_kafka import send

__all__ = ["models"]
WHATIF = {"series": "press-1", "incidents": {"for_rows": 2, "of_rows": 3}}


def ask(site: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "X-Streamgauge": "decide"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{site}/api/v1/{path}", data, headers if data else {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.kafka_changes
def test_each_series_is_shown_with_its_model_and_its_incidents_are_decided(
    models: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = kafka_topic(2)
    text = config_of(models, kafka_bootstrap, topic).replace("[recovery]", 'detail = "full"\n[recovery]')
    config = tmp_path / "plant.toml"
    config.write_text(text)
    with running(text, tmp_path) as daemon, served(config) as site:
        messages = rows(topic, 0, 80)
        send(kafka_bootstrap, messages)

        def is_shown() -> bool:
            fleet = ask(site, "fleet")[1]
            return len(fleet["series"]) == 6 and all(one["rows"] >= 78 for one in fleet["series"])

        wait_for(is_shown, "all series in the archive")
        fleet = ask(site, "fleet?sort=series&order=asc")[1]["series"]
        assert [one["series"] for one in fleet] == [
            f"{kind}-{at}" for kind in sorted(KINDS) for at in range(3)
        ]
        assert all(one["model"] == one["series"].partition("-")[0] for one in fleet)
        for kind, channels in KINDS.items():
            _, one = ask(site, f"series?name={kind}-2")
            assert sorted(found["name"] for found in one["channels"]) == sorted(channels)
            assert all(None not in found["actual_max"] for found in one["channels"])
            status, model = ask(site, f"model?model={kind}")
            assert (status, model["model"], [one["name"] for one in model["channels"]]) == (
                200,
                kind,
                list(channels),
            )
        listed = ask(site, "models")[1]["models"]
        assert [(one["model"], one["series"]) for one in listed] == [("pump", 3), ("press", 3)]
        found = ask(site, "incidents?model=press")[1]["incidents"]
        assert found, "the threshold is low, so there are incidents"
        assert {one["series"].partition("-")[0] for one in found} == {"press"}
        status, decided = ask(site, "decisions", {"action": "real", "incident": found[0]["id"]})
        assert (status, decided["decision"]["series"]) == (201, found[0]["series"])
        assert any(
            found[0]["id"].encode() in one.value
            for one in read_all(kafka_bootstrap, f"out-{topic}.decisions")
        )

        assert "each of the models" in ask(site, "whatif")[1]["why_not"]
        assert ask(site, "whatif?series=press-1")[1]["why_not"] is None
        status, job = ask(site, "whatif", WHATIF)
        assert status in (200, 202), job
        wait_for(lambda: ask(site, f"whatif/{job['id']}")[1]["state"] != "running", "the computation")
        done = ask(site, f"whatif/{job['id']}")[1]
        assert done["state"] == "done", done
        assert done["result"]["repeats"], "the present settings give the stored incidents"
        assert "[models.incidents]\n" in done["result"]["toml"]
        assert daemon.terminate() == 0
