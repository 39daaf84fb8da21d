"""What other settings would have found, against `backtest` with those settings as the oracle."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact
from detector.calibration.recalibrate import recalibrated
from detector.config.incident_schema import IncidentsSection
from detector.engine.engine import EngineOptions
from detector.errors import ArtifactError, ConfigError
from detector.explore.storage.place import Place
from detector.explore.store.build import store_of
from detector.explore.store.database import open_store
from detector.explore.store.layout import ExploreError
from detector.explore.whatif import stretch
from detector.explore.whatif.comparison import Opening, compared, summary
from detector.explore.whatif.question import Question, budgets_around, checked_rules, task_of
from detector.explore.whatif.replay import answer
from detector.explore.whatif.toml_lines import toml_difference
from detector.incidents.rules import IncidentRules
from detector.offline.backtest import backtest_parquet
from detector.offline.backtest_record import inputs_from
from detector.offline.measuring.events import Event
from streamgauge import main
from tests.detector.explore.explored import CHANNELS, START_NS, scores_of, write_backtest
from tests.support.sines import frame_of, linear_artifact, write

SECOND = 1_000_000_000
FAULTS = ((300, 303, 0, 2.5), (500, 560, 0, 9.0), (760, 780, 2, 90.0))


def history() -> pd.DataFrame:
    """Two pumps with faults of several sizes, labels, missing values, short and long gaps, late rows."""
    frames = []
    for seed, series in enumerate(("pump-1", "north/pump 2")):
        frame = frame_of(1000, seed + 5, 1200).assign(label=0)
        for first, after, channel, size in FAULTS[seed:]:
            frame.iloc[first:after, channel] += size
            frame.iloc[first:after, 3] = 1
        frame.iloc[100:110, 1] = np.nan
        gaps = np.r_[200:203, 650:665]  # one is filled, the other begins new windows
        frames.append(frame.drop(frame.index[gaps]).assign(series=series))
    return pd.concat(frames)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the model, the data, a backtest and its store."""
    directory = tmp_path_factory.mktemp("whatif")
    publish(linear_artifact(), directory / "models" / "pump")
    data = write(directory / "data.parquet", history())
    arguments = [str(directory / "models" / "pump"), str(data), "--out", str(directory / "out")]
    assert main(["backtest", *arguments]) == 0
    store_of(directory / "out", directory / "store")
    return directory


def record_of(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "out" / "backtest.json").read_text())
    return found


def span_of(made: Path) -> tuple[int, int]:
    about = json.loads((made / "store" / "store.json").read_text())
    return about["first_ns"], about["last_ns"]


def asked(made: Path, question: Question) -> dict[str, Any]:
    record = record_of(made)
    inputs = inputs_from(record)
    assert inputs is not None
    task = json.loads(json.dumps(task_of(question, Place(str(made / "store")), record, inputs)))
    progress: list[tuple[int, int]] = []
    found = answer(task, lambda done, of: progress.append((done, of)))
    assert progress[0][0] == 0
    assert progress == sorted(progress)
    return found


def oracle(
    made: Path, budget: str | None, rules: IncidentRules | None = None
) -> list[tuple[str, float, float]]:
    """The incidents of `backtest` on the original data: series, start and opening in milliseconds."""
    artifact = open_artifact(made / "models" / "pump")
    model = artifact if budget is None else recalibrated(artifact, budget)
    options = EngineOptions(rules=rules or IncidentRules())
    outcome = backtest_parquet(model, made / "data.parquet", options)
    return sorted((one.series, one.start_ns / 1e6, one.opened_ns / 1e6) for one in outcome.incidents)


def listed(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    proposed = [one for one in found["incidents"] if one["change"] != "gone"]
    return sorted((one["series"], one["start"], one["opened"]) for one in proposed)


@pytest.mark.parametrize("budget", ["1/year", "1/week", "3/hour"])
def test_another_budget_finds_what_a_backtest_with_it_finds(made: Path, budget: str) -> None:
    found = asked(made, Question("", *span_of(made), budget))
    assert listed(found) == oracle(made, budget)
    assert found["proposed"]["incidents"] == len(oracle(made, budget))
    assert found["proposed"]["alarm_budget"] == budget
    assert found["is_whole"]
    assert found["repeats"]


def test_other_rules_find_what_a_backtest_with_them_finds(made: Path) -> None:
    rules = {"for_rows": 5, "of_rows": 8, "quiet_rows": 20, "critical_score": 4.0}
    found = asked(made, Question("", *span_of(made), "", rules))
    expected = oracle(made, None, IncidentRules(for_rows=5, of_rows=8, quiet_rows=20, critical_score=4.0))
    assert listed(found) == expected
    assert expected != oracle(made, None)
    assert found["present"]["incidents"] == len(oracle(made, None))


def test_one_series_and_the_end_of_a_stretch_are_as_in_the_whole(made: Path) -> None:
    first, last = span_of(made)
    for series in ("pump-1", "north/pump 2"):
        for end in (first + 520 * SECOND, first + 770 * SECOND, last):
            found = asked(made, Question(series, first + 250 * SECOND, end, "1/hour"))
            whole = [one for one in oracle(made, "1/hour") if one[0] == series and one[2] < end / 1e6]
            assert set(listed(found)) <= set(whole)
            assert {one for one in whole if one[1] >= (first + 250 * SECOND) / 1e6} <= set(listed(found))
            assert found["repeats"]


def test_events_are_caught_by_the_incidents_that_overlap_them(made: Path) -> None:
    found = asked(made, Question("", *span_of(made)))
    assert len(record_of(made)["inputs"]["events"]) == 5
    assert found["present"]["events"] == 5
    assert found["present"] == found["proposed"]
    assert found["present"]["caught"] >= 3
    assert found["common"] == found["present"]["incidents"]
    assert (found["new"], found["gone"], found["later_seconds"]) == (0, 0, 0)
    assert found["toml"] == ""


def test_a_stretch_that_is_too_long_or_empty_is_refused_with_the_remedy(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = span_of(made)
    monkeypatch.setattr(stretch, "MOST_ROWS", 10)
    with pytest.raises(ExploreError, match="shorter range or one series"):
        asked(made, Question("pump-1", first, last))
    with pytest.raises(ExploreError, match="no rows"):
        asked(made, Question("pump-1", last + SECOND, last + 2 * SECOND))


def test_as_much_as_fits_is_read_before_a_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num, minute = 600, 60 * SECOND
    names = np.repeat(np.array(["a", "b"], dtype=object), num)
    times = np.tile(START_NS + np.arange(num) * minute, 2)
    source = write_backtest(tmp_path / "out", scores_of(names, times, 1, 0.0), [])
    store_of(source, tmp_path / "store")
    database = open_store(tmp_path / "store")
    last = START_NS + num * minute
    question = Question("a", last - 30 * minute, last - 10 * minute)
    whole = stretch.stretch_of(database, question, 8, 2 * minute, 2)
    assert (whole.is_whole, whole.begin_ns, whole.rows) == (True, START_NS, num)
    monkeypatch.setattr(stretch, "MOST_ROWS", 200)
    part = stretch.stretch_of(database, question, 8, 2 * minute, 2)
    assert (part.is_whole, part.begin_ns, part.judged) == (False, last - 180 * minute, {"a": 20})
    rows = list(stretch.readings_of(database, question, part, CHANNELS))
    assert sum(map(len, rows)) == 172  # up to two minutes after the stretch
    assert {name for one in rows for name in one.names} == {"a"}
    with pytest.raises(ExploreError, match="only 150 rows fit before"):
        stretch.stretch_of(database, question, 80, 2 * minute, 2)
    database.close()


def test_a_model_or_configuration_that_is_gone_or_has_changed_is_named(made: Path, tmp_path: Path) -> None:
    record = record_of(made)
    inputs = inputs_from(record)
    assert inputs is not None
    question = Question("", *span_of(made))
    gone = replace(inputs, artifact=str(tmp_path / "models" / "pump"))
    with pytest.raises(ArtifactError, match=r"no longer there in version .* run the backtest again"):
        answer(task_of(question, Place(str(made / "store")), record, gone), lambda done, of: None)
    file = tmp_path / "daemon.toml"
    file.write_text("[incidents]\n")
    changed = replace(inputs, config=str(file), config_digest="0" * 64)
    with pytest.raises(ConfigError, match="has changed since the backtest"):
        answer(task_of(question, Place(str(made / "store")), record, changed), lambda done, of: None)


def test_another_current_version_of_the_model_does_not_matter(made: Path, tmp_path: Path) -> None:
    entry = tmp_path / "pump"
    publish(linear_artifact(), entry)
    newer: Artifact = publish(recalibrated(linear_artifact(), "3/day"), entry)
    record = record_of(made)
    inputs = inputs_from(record)
    assert inputs is not None
    assert newer.version != record["version"]
    question = Question("", *span_of(made))
    moved = replace(inputs, artifact=str(entry))
    task = task_of(question, Place(str(made / "store")), record, moved)
    assert answer(task, lambda done, of: None)["repeats"]


def test_the_rules_of_the_configuration_are_the_present_ones(made: Path, tmp_path: Path) -> None:
    config = tmp_path / "daemon.toml"
    config.write_text(
        '[model]\npath = "models/pump"\n[kafka]\nbootstrap_servers = ["localhost:9092"]\ntopic = "t"\n'
        "[incidents]\nfor_rows = 3\nof_rows = 3\n[evidence]\nlevel = false\n"
    )
    data, out, store = made / "data.parquet", tmp_path / "out", tmp_path / "store"
    arguments = [str(made / "models" / "pump"), str(data), "--out", str(out), "--config", str(config)]
    assert main(["backtest", *arguments]) == 0
    store_of(out, store)
    record = json.loads((out / "backtest.json").read_text())
    inputs = inputs_from(record)
    assert inputs is not None
    question = Question("", *span_of(made), "", {"for_rows": 2})
    found = answer(task_of(question, Place(str(store)), record, inputs), lambda done, of: None)
    assert found["repeats"]
    assert found["toml"] == "# in the daemon's configuration\n[incidents]\nfor_rows = 2  # was 3\n"
    expected = oracle(made, None, IncidentRules(for_rows=2, of_rows=3, without=("level",)))
    assert listed(found) == expected


def test_budgets_surround_the_present_one_and_share_its_kind() -> None:
    found = budgets_around("2/day in all of 3 series")
    assert found[0] == "1/year in all of 3 series"
    assert "2/day in all of 3 series" in found
    assert budgets_around("7/week").count("1/day") == 0  # the same budget is there once
    assert "7/week" in budgets_around("7/week")


def test_rules_that_do_not_differ_are_left_out() -> None:
    present = IncidentsSection()
    assert checked_rules(present, {"for_rows": 1, "min_duration": "90s", "cooldown": 0}) == {
        "min_duration": "90s"
    }
    with pytest.raises(ConfigError, match="for_rows"):
        checked_rules(present, {"for_rows": 0})


def test_the_difference_is_toml_that_holds_only_what_changed() -> None:
    rules = {"close_score": 0.5, "clean_windows": False, "cooldown": "5m"}
    before = {"close_score": 0.8, "clean_windows": True, "cooldown": "0s"}
    found = toml_difference(("1/week", "3/day in all of 2 series"), before, rules, "models/pump")
    assert tomllib.loads(found) == {
        "scoring": {"alarm_budget": "3/day in all of 2 series"},
        "incidents": rules,
    }
    assert "clean_windows = false  # was true" in found


SPANS = st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(0, 5), st.none() | st.integers(0, 9))


def opening(series: str, start: int, later: int, length: int | None) -> Opening:
    end = None if length is None else start + later + length
    return Opening(series, start, start + later, end, "score", "warning", {"start": start})


@settings(max_examples=200, deadline=None)
@given(st.lists(SPANS, max_size=8), st.lists(SPANS, max_size=8), st.lists(SPANS, max_size=5))
def test_comparison_agrees_with_counting_by_hand(present: Any, proposed: Any, events: Any) -> None:
    before, after = [opening(*one) for one in present], [opening(*one) for one in proposed]
    marked = [Event(series, start, start + later) for series, start, later, _ in events]

    def meet(one: Opening, other: Any) -> bool:
        ends = [float("inf") if span.end_ns is None else span.end_ns for span in (one, other)]
        return bool(one.series == other.series and max(one.start_ns, other.start_ns) <= min(ends))

    found = compared(before, after)
    assert found["new"] == sum(not any(meet(one, other) for other in before) for one in after)
    assert found["gone"] == sum(not any(meet(one, other) for other in after) for one in before)
    assert found["common"] + found["new"] == len(after)
    assert len(found["incidents"]) == len(after) + found["gone"]
    figures = summary(after, marked)
    assert figures["caught"] == sum(any(meet(one, event) for one in after) for event in marked)
    assert figures["false"] == sum(not any(meet(one, event) for event in marked) for one in after)
    assert summary(after, None)["caught"] is None


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()
