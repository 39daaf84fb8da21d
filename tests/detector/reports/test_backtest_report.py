"""The report of a backtest: its numbers are those of the files, its policy fits, its size is bounded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detector.reports.answers import of_digits, of_range
from streamgauge import main
from tests.detector.reports.reported import JUMP, answers_of, labelled_data, models, report_of_backtest

Made = tuple[Path, dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("reported")
    page, found = report_of_backtest(directory, "--compare", str(directory / "models" / "calm"))
    return page, found, answers_of(page)


def test_the_incidents_are_those_of_the_file(made: Made) -> None:
    _, found, answers = made
    by_id = {one["id"]: one for one in found["incidents"]}
    listed = answers["incidents"]["incidents"]
    assert answers["incidents"]["total"] == len(by_id) == 2
    assert {one["id"] for one in listed} == set(by_id) == set(answers["incident"])
    for one in listed:
        said = by_id[one["id"]]
        assert (one["severity"], one["reason"], one["peak_score"]) == (
            *(said["severity"], said["reason"]),
            pytest.approx(said["peak_score"]),
        )
        evidence = answers["incident"][one["id"]]["evidence"]["channels"]
        assert evidence == said["channels"]


def test_the_summary_states_what_was_counted(made: Made) -> None:
    _, found, answers = made
    words = " ".join(answers["report"]["words"])
    judged, rows = found["coverage"]["judged"]["rows"], found["rows"]
    assert f"judged {judged:,} of {rows:,} rows" in words
    assert "2 incidents in 2 of 3 series" in words
    assert any(f"The worst: {one['sentence']}." in words for one in found["incidents"])
    beside = {one["id"] for one in found["incidents"]} - {
        one["incident"] for one in answers["report"]["labels"]["events"]
    }
    assert f" {len(beside)} false alarms; the budget" in words, "of the incidents, those beside every event"
    assert "Incidents found 2 of 3 labelled events." in words
    quality = dict(answers["report"]["quality"])
    assert quality["readings"] == f"{found['counted']['readings']:,}" == "2,700"
    assert quality["rows judged"] == f"{judged:,} of {rows:,}"


def test_labelled_events_agree_with_the_measures(made: Made) -> None:
    _, found, answers = made
    events = answers["report"]["labels"]["events"]
    measures = found["measures"]
    assert len(events) == measures["events"] == 3
    assert sum(one["found"] for one in events) == round(measures["event_recall"] * 3) == 2
    delays = [one["delay_rows"] for one in events if one["found"]]
    assert np.median(delays) == measures["median_delay_rows"]
    assert {one["incident"] for one in events} == {None, *(one["id"] for one in found["incidents"])}


def test_the_distribution_counts_every_score_of_the_file(made: Made) -> None:
    page, _, answers = made
    score = pq.read_table(page.parent / "out" / "scores.parquet")["score"].to_numpy()
    known = score[~np.isnan(score)]
    report = answers["report"]["scores"]
    edges = report["edges"]
    for at, num in enumerate(report["counts"]):
        low, high = edges[at], np.inf if edges[at + 1] is None else edges[at + 1]
        assert num == np.count_nonzero(((known > low) | ((at == 0) & (known == low))) & (known <= high))
    assert sum(report["counts"][report["limit"] :]) == np.count_nonzero(known > 1)


def test_a_series_keeps_its_extremes(made: Made) -> None:
    page, _, answers = made
    table = pq.read_table(page.parent / "out" / "scores.parquet").to_pandas()
    mine = table[table["series"] == JUMP]
    view = answers["series"][JUMP]
    flow = next(one for one in view["channels"] if one["name"] == "flow")
    spread = mine["actual_flow"].max() - mine["actual_flow"].min()
    assert max(flow["actual_max"]) == pytest.approx(mine["actual_flow"].max(), abs=1e-3 * spread)
    assert min(flow["actual_min"]) == pytest.approx(mine["actual_flow"].min(), abs=1e-3 * spread)
    assert sum(view["num_rows"]) == len(mine) == view["rows"]


def test_the_budgets_are_those_of_the_preview(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    page, found, answers = made
    directory = page.parent
    capsys.readouterr()
    command = ["calibrate", str(directory / "models" / "pump"), "--preview", str(directory / "data.parquet")]
    assert main([*command, "--json"]) == 0
    preview = json.loads(capsys.readouterr().out)["budgets"]
    budgets = answers["report"]["budgets"]["budgets"]
    assert [(one["alarm_budget"], one["alarms"]) for one in budgets] == [
        (one["alarm_budget"], one["alarms"]) for one in preview
    ]
    in_force = next(one for one in budgets if one["in_force"])
    assert {one["id"] for one in in_force["incidents"]} == {one["id"] for one in found["incidents"]}


def test_the_slider_has_the_named_budgets_or_none(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    directory = made[0].parent
    page = directory / "chosen.html"
    command = ["backtest", str(directory / "models" / "pump"), str(directory / "data.parquet")]
    assert main([*command, "--report", str(page), "--budgets", "2/day, 1/month"]) == 0
    budgets = answers_of(page)["report"]["budgets"]["budgets"]
    assert [one["alarm_budget"] for one in budgets] == ["1/month", "1/week", "2/day"]
    of_all = {one["alarm_budget"]: one for one in made[2]["report"]["budgets"]["budgets"]}
    assert budgets[:2] == [of_all["1/month"], of_all["1/week"]]
    assert main([*command, "--report", str(page), "--budgets", "none"]) == 0
    assert answers_of(page)["report"]["budgets"]["budgets"] is None
    capsys.readouterr()
    for words, message in (
        (["--report", str(page), "--budgets", "often"], "--budgets: alarm budget 'often' is not NUMBER/UNIT"),
        (["--budgets", "none"], "--budgets: chooses the slider of a report; name its file with --report"),
    ):
        assert main([*command, *words]) == 2
        assert message in capsys.readouterr().err


def test_a_second_model_is_compared_incident_by_incident(made: Made) -> None:
    page, found, answers = made
    directory = page.parent
    second = directory / "second"
    command = ["backtest", str(directory / "models" / "calm"), str(directory / "data.parquet")]
    assert main([*command, "--out", str(second)]) == 0
    other = json.loads((second / "incidents.json").read_text())["incidents"]
    comparison = answers["report"]["comparison"]
    firsts = [one["first"]["id"] for one in comparison["incidents"] if one["first"]]
    seconds = [one["second"]["id"] for one in comparison["incidents"] if one["second"]]
    assert sorted(firsts) == sorted(one["id"] for one in found["incidents"])
    assert sorted(seconds) == sorted(one["id"] for one in other)
    assert {one["kind"] for one in comparison["incidents"]} <= {"both", "first"}
    assert ["second", "another card"] in comparison["cards"]
    strength = {one["series"]: one for one in comparison["series"]}[JUMP]
    first, after = (np.array(strength[name], dtype=float) for name in ("first", "second"))
    assert np.nanmax(after) < np.nanmax(first)


def test_the_policy_allows_the_scripts_of_the_file_and_nothing_else(made: Made) -> None:
    text = made[0].read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    rules = dict(one.strip().split(" ", 1) for one in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    for name, pattern in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        texts = re.findall(pattern, text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in texts]
        assert rules[name].split() == [f"'sha256-{one}'" for one in digests]
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_without_the_extra_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = models(tmp_path)
    data = labelled_data(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["backtest", str(model), str(data), "--report", str(tmp_path / "r.html")]) != 0
    error = capsys.readouterr().err
    assert "pip install 'streamgauge[explore]'" in error
    assert not (tmp_path / "r.html").exists()


def test_compare_needs_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "m", "d", "--compare", "other"]) != 0
    assert "--report" in capsys.readouterr().err


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40))
@example([8.42556460948041e-200])
def test_shorter_numbers_stay_near(values: list[float]) -> None:
    given_values = np.array(values, dtype=np.float64)
    known = np.isfinite(given_values)
    digits = of_digits(given_values)
    assert (np.isfinite(digits) == known).all()
    assert np.allclose(digits[known], given_values[known], rtol=5.1e-4, atol=1e-200)
    ranged = of_range(given_values)
    assert (np.isfinite(ranged) == known).all()
    if known.any():
        with np.errstate(over="ignore"):
            spread = np.ptp(given_values[known]) or np.abs(given_values[known]).max()
        assert (np.abs(ranged[known] - given_values[known]) <= 1e-4 * spread).all()
