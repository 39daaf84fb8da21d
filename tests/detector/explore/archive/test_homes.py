"""An archive of several models: which of them judges each series, and what the API answers of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.explore.archive.archive import Archive, Batch, Limits
from detector.explore.archive.manifest import Manifest
from detector.explore.archive.messages import VerdictRows, incident_row
from detector.explore.store.layout import DAY_NS, Description, as_values, description_of, of_values, together
from tests.detector.explore.archive.written import GROUP, alert, rows_of, scores_message, storage_of
from tests.detector.explore.explored import record, served

PUMP = ({"name": "flow", "band": 2.0}, {"name": "pressure", "band": 0.5})
PRESS = ({"name": "force", "band": 3.0}, {"name": "pressure", "band": 9.0})
DAY = DAY_NS // 60_000_000_000


def description(name: str, channels: tuple[dict[str, Any], ...], **more: Any) -> Description:
    return replace(description_of(record(model=name, channels=channels, own_bands={})), **more)


def plant() -> Description:
    pump = description("pump", PUMP, own_bands={"pump-1": [20.0, 5.0]})
    return together([pump, description("press", PRESS, interval_ns=1_000_000_000, window=3)])


def new(store: Path, limits: Limits | None = None) -> Archive:
    """The archive of a plant; a new one if there is none."""
    store.mkdir(parents=True, exist_ok=True)
    storage = storage_of(store)
    manifest = storage.look()[0] or Manifest(as_values(plant()), GROUP)
    storage.write(manifest)
    return Archive(storage, manifest, limits or Limits())


def verdicts(series: str, model: str, minutes: Iterable[int]) -> bytes:
    channels = [one["name"] for one in (PUMP if model == "pump" else PRESS)]
    minutes = list(minutes)
    plain = {kind: [1.0] * len(minutes) for kind in ("actual", "expected", "contribution")}
    return scores_message(series, minutes, model=model, channels=dict.fromkeys(channels, plain))


def add(archive: Archive, messages: Iterable[bytes], events: Iterable[bytes] = ()) -> None:
    rows = VerdictRows(archive.manifest.description.channels)
    for message in messages:
        rows.add(message)
    incidents = [row for one in events if (row := incident_row(one)) is not None]
    archive.append(Batch(rows.take(), incidents, [], {}, rows.take_homes()))


def homes(store: Path) -> dict[str, str]:
    """The newest home of each series, by brute force."""
    newest = sorted(rows_of(store, "homes", "number, series, model"))
    return {series: model for _, series, model in newest}


def ask(site: str, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{site}/api/v1/{path}") as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["pump", "press"])),
            min_size=1,
            max_size=3,
        ),
        max_size=9,
    ),
    st.integers(0, 9),
)
def test_the_newest_model_of_each_series_is_kept_whatever_the_batches_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str]]], restart_at: int
) -> None:
    store = tmp_path_factory.mktemp("archive")
    archive, known = new(store), dict[str, str]()
    for at, homes_of in enumerate(batches):
        if at == restart_at:
            archive.close()
            archive = new(store)
        add(archive, [verdicts(series, model, [at * 9 + n]) for n, (series, model) in enumerate(homes_of)])
        known |= dict(homes_of)
        archive.tidy()
        assert homes(store) == known
    archive.close()


def test_a_series_keeps_its_model_when_its_old_days_are_deleted(tmp_path: Path) -> None:
    archive = new(tmp_path / "archive", Limits(keep_ns=DAY_NS))
    add(archive, [verdicts("pump-1", "pump", [0]), verdicts("press-1", "press", [1])])
    add(archive, [verdicts("pump-1", "pump", [5 * DAY])])
    archive.tidy()
    archive.close()
    assert archive.manifest.dropped == "2026-01-01"
    assert homes(tmp_path / "archive") == {"pump-1": "pump", "press-1": "press"}


def test_an_archive_of_one_model_has_no_homes_and_the_description_of_earlier_releases() -> None:
    one = description("pump", PUMP)
    assert "models" not in as_values(one)
    assert of_values(json.loads(json.dumps(as_values(one)))) == one
    assert of_values(json.loads(json.dumps(as_values(plant())))) == plant()


def test_the_description_of_a_plant_has_all_channels_and_each_model_its_own() -> None:
    about = plant()
    assert about.channels == ("flow", "pressure", "force")
    assert about.bands == (2.0, 0.5, 3.0)  # of a channel that both have: that of the first
    assert about.interval_ns == 1_000_000_000
    press = replace(about, first_ns=3, last_ns=9, rows=4, series=2).of_model("press")
    assert (press.channels, press.bands, press.window) == (("force", "pressure"), (3.0, 9.0), 3)
    assert (press.first_ns, press.last_ns, press.rows, press.series) == (3, 9, 4, 2)
    assert about.of_model(None) is about


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two pumps and a press; of a third pump there is an incident."""
    archive = new(tmp_path / "archive")
    some = [verdicts(f"pump-{at}", "pump", range(60)) for at in (1, 2)]
    add(archive, [*some, verdicts("press-1", "press", range(60))], [alert("opened", "0001", "pump-1", 20)])
    archive.close()
    return tmp_path / "archive"


def test_series_are_listed_by_model(store: Path) -> None:
    with served(store) as site:
        _, source = ask(site, "source")
        assert [one["model"] for one in source["models"]] == ["pump", "press"]
        assert source["models"][1]["channels"] == ["force", "pressure"]
        _, fleet = ask(site, "fleet")
        assert {one["series"]: one["model"] for one in fleet["series"]} == homes(store)
        _, pumps = ask(site, "fleet?model=pump&size=1")
        assert pumps["total"] == 2
        _, groups = ask(site, "groups?model=press")
        assert [one["group"] for one in groups["groups"]] == ["press-1"]
        assert ask(site, "incidents?model=pump")[1]["total"] == 1
        assert ask(site, "incidents?model=press")[1]["total"] == 0
        status, told = ask(site, "fleet?model=fan")
        assert status == 404
        assert told["error"]["message"] == "there is no model 'fan'; there are pump, press"


def test_a_series_has_the_channels_and_bands_of_its_model(store: Path) -> None:
    with served(store) as site:
        _, pump = ask(site, "series?name=pump-1")
        assert {one["name"]: one["band"] for one in pump["channels"]} == {"flow": 20.0, "pressure": 5.0}
        assert (pump["model"], pump["rows"]) == ("pump", 60)
        _, press = ask(site, "series?name=press-1")
        assert {one["name"]: one["band"] for one in press["channels"]} == {"force": 3.0, "pressure": 9.0}
        assert press["interval"] == 1_000
        status, told = ask(site, f"series?name=press-1&channel={quote('flow')}")
        assert (status, told["error"]["message"]) == (
            404,
            "there is no channel 'flow'; there are force, pressure",
        )
        _, incident = ask(site, "incidents/0001")
        assert incident["model"] == "pump"
        assert incident["window"]["all_channels"] == ["flow", "pressure"]


def test_models_are_listed_with_their_series_and_alarms(store: Path) -> None:
    with served(store) as site:
        _, found = ask(site, "models")
        short = [(one["model"], one["series"], one["alarms"]) for one in found["models"]]
        assert short == [("pump", 2, 1), ("press", 1, 0)]
        minutes = 2 * 60
        assert found["models"][0]["allowed"] == pytest.approx(minutes * 60 / 604_800)
        status, told = ask(site, "model")
        assert (status, told["error"]["parameter"]) == (400, "model")
        assert "there are pump, press" in told["error"]["message"]
