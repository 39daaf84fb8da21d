"""An operator can ask how many series and rows are judged, which are not, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.records import Batch, Readings
from detector.engine.engine import Engine, EngineOptions, StepResult
from detector.engine.loop import Turn
from detector.metrics.recorder import Metrics
from detector.scoring.verdicts import State, Verdicts
from detector.service.turn_observer import TurnObserver
from detector.status.judged import coverage_of
from detector.status.status import Status
from tests.support.artifacts import make_artifact
from tests.support.service_manager import ServiceManager
from tests.support.sources import FixedSources

SECOND_NS = 10**9
GOOD, RARE, GONE, YOUNG, HOLED = "<b>good</b>", "<i>rare</i>", "gone", "young", "holed"


def readings_of(name: str, seconds: np.ndarray, holed: bool = False) -> Readings:
    values = np.random.default_rng(0).standard_normal((len(seconds), 2))
    values[:, 1] = np.where(holed, np.nan, values[:, 1])
    zeros = np.zeros(len(seconds), np.int32)
    return Readings((name,), zeros, np.asarray(seconds) * SECOND_NS, values, zeros, np.arange(len(seconds)))


def daemon_of(*names: str) -> Metrics:
    """The metrics of a daemon that has seen these series."""
    engine = Engine(make_artifact(family="linear", threshold=100.0), EngineOptions())
    metrics = Metrics(engine, 10, "1", FixedSources(ready=True))
    once = np.arange(41)
    seconds = {
        GOOD: [once],
        RARE: [60 * once[:15]],  # with more of them it would get an interval of its own
        GONE: [once, 100 + 60 * once[:15]],
        YOUNG: [once[:4]],
        HOLED: [once],
    }
    for name in names:
        for some in seconds[name]:
            readings = readings_of(name, some, holed=name == HOLED)
            metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
    return metrics


def scraped(metrics: Metrics) -> dict[str, float]:
    """Return every sample by its name and labels."""
    text, _ = metrics.exposition("text/plain")
    return {
        sample.name.removeprefix("streamgauge_") + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_series_and_rows_are_counted_by_what_became_of_them() -> None:
    found = scraped(daemon_of(GOOD, RARE, GONE, YOUNG, HOLED))
    assert (found["series_judged"], found["series_masked"]) == (2, 1)
    assert (found["series_never_judged"], found["series_no_longer_judged"]) == (1, 1)
    assert found["longest_unjudged_seconds"] == found[f"unjudged_seconds{RARE}"] == 13 * 60
    assert found[f"unjudged_seconds{GONE}"] == 13 * 60
    assert not {f"unjudged_seconds{name}" for name in (GOOD, YOUNG, HOLED)} & found.keys()
    unjudged = {state: found[f"unjudged_rows_total{state.label}"] for state in State}
    assert found["judged_rows_total"] == 2 * (40 - 7) + (41 - 7)
    assert found["masked_rows_total"] == 40 - 7
    assert unjudged == dict.fromkeys(State, 0) | {State.WARMING: 7 + 14 + 7 + 14 + 3 + 7}
    verdicts = sum(found[f"verdicts_total{state.label}"] for state in State)
    assert found["judged_rows_total"] + sum(unjudged.values()) == verdicts == found["rows_total"]


def test_before_the_first_series_nothing_is_overdue() -> None:
    found = scraped(daemon_of())
    names = ("series_judged", "series_never_judged", "series_no_longer_judged", "longest_unjudged_seconds")
    assert [found[name] for name in names] == [0, 0, 0, 0]


def test_the_page_names_the_series_that_are_not_judged_and_why() -> None:
    metrics = daemon_of(GOOD, RARE, GONE, YOUNG)
    status = Status(metrics).json()
    found, page = status["judged"], status["overview"]
    figures = {one["name"]: one["value"] for one in page["figures"]}
    assert figures["Rows judged"].startswith("67 rows judged in 2 of 4 series since this process started")
    assert (figures["Series judged now"], figures["Open incidents"]) == ("1 of 4", "none")
    number, rare, gone = page["problems"]
    assert number.startswith("1 series were never judged and 1 are no longer, although ")
    assert rare.startswith(f"{RARE}: never judged, 14 rows in 13.0 min; its window never fills: ")
    assert gone.startswith(f"{GONE}: no longer judged, ")
    assert [(one["series"], one["never_judged"], one["is_long"]) for one in found["unjudged"]] == [
        (RARE, True, True),
        (GONE, False, True),
        (YOUNG, True, False),
    ]
    assert found["unjudged"][2]["why"] == "its window is not full yet"
    assert found["judged"] == {"rows": 67, "series": 2}
    assert found["warming"] == {"rows": 7 + 14 + 7 + 14 + 3, "series": 3}
    assert found["never_judged"] == {RARE: "warming", YOUNG: "warming"}


def test_the_page_of_a_daemon_that_judges_all_has_nothing_to_look_at() -> None:
    page = Status(daemon_of(GOOD)).json()["overview"]
    figures = {one["name"]: one["value"] for one in page["figures"]}
    assert figures["Rows judged"].startswith("33 rows judged in 1 of 1 series")
    assert figures["Series judged now"] == "all 1"
    assert page["problems"] == []


def test_the_status_for_systemd_has_no_number_of_incidents_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServiceManager(str(tmp_path / "notify")) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.environ["NOTIFY_SOCKET"])
        observer = TurnObserver(daemon_of(GOOD, RARE))
        observer.on_results(StepResult(Verdicts.empty(2), (), Verdicts.empty(2)))
        status = manager.wait_for("STATUS=")
    assert status.endswith(" readings processed, 0 incidents open of 33 rows judged in 1 of 2 series")


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_reason_on_the_page(state: State) -> None:
    metrics = daemon_of(RARE)
    metrics.snapshot.latest.state[:] = state
    (one,) = Status(metrics).json()["judged"]["unjudged"]
    assert one["state"] == state.label
    assert one["why"]


def test_only_some_of_many_series_are_named_the_longest_unjudged_first() -> None:
    engine = Engine(make_artifact(family="linear", threshold=100.0), EngineOptions())
    metrics = Metrics(engine, 10, "1", FixedSources(ready=True))
    for at in range(40):
        readings = readings_of(f"pump-{at}", np.arange(2 + at))
        readings.values[2:] = np.nan
        metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
    found = Status(metrics).json()["judged"]
    assert [one["series"] for one in found["unjudged"]] == [f"pump-{at}" for at in range(39, 27, -1)]
    assert len(found["never_judged"]) == 12
    assert coverage_of(metrics.snapshot).summary == "of 0 rows judged in 0 of 40 series"
    assert found["series_never_judged"] == sum(at + 1 >= 16 for at in range(40))
