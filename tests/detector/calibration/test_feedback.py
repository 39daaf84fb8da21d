"""Feedback of people on incidents, and a threshold that is calibrated again with it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.artifact.description.manifest import MANIFEST
from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact, Threshold
from detector.calibration.feedback import (
    Feedback,
    add_feedback,
    adjust_to_feedback,
    feedback_on,
    find_incident,
    read_feedback,
)
from detector.calibration.recalibrate import recalibrated
from detector.errors import ArtifactError, DetectorError
from detector.journal import read_journal
from streamgauge import main
from tests.support.artifacts import make_artifact

THRESHOLD = Threshold(4.0, "fixed", "1/week")
INCIDENT = {
    "id": "4be1c0ffee000000",
    "series": "pump-1",
    "version": "0123456789ab",
    "reason": "score",
    "start": "2026-10-01T12:00:00.000Z",
    "peak_score": 1.5,
}


def opinion(peak_error: float, verdict: str, incident: str = "") -> Feedback:
    name = incident or f"{verdict}-{peak_error}"
    return Feedback(name, verdict, "pump-1", "2026-10-01T12:00:00.000Z", "0" * 12, peak_error)  # type: ignore[arg-type]


def with_held_out(num: int = 4_000) -> Artifact:
    """Return an artifact whose held-out errors are exponential, the largest near 8."""
    errors = np.random.default_rng(0).exponential(1.0, num)
    artifact = make_artifact(interval_ns=60 * 10**9)
    return Artifact(
        artifact.spec, artifact.module, held_out={"segment": np.zeros(num), "error": errors}, card="# pump\n"
    )


def test_the_newest_opinion_on_an_incident_counts(tmp_path: Path) -> None:
    assert read_feedback(tmp_path) == ()
    for verdict in ("false-alarm", "real"):
        add_feedback(tmp_path, opinion(2.0, verdict, "one"))
    add_feedback(tmp_path, opinion(3.0, "false-alarm", "two"))
    assert [(one.incident, one.opinion) for one in read_feedback(tmp_path)] == [
        ("one", "real"),
        ("two", "false-alarm"),
    ]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "feedback.jsonl").write_text('{"incident": "one"}\n')
    with pytest.raises(DetectorError, match=r"feedback.jsonl, line 1: damaged"):
        read_feedback(tmp_path)


def test_an_incident_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    report = tmp_path / "incidents.json"
    other = {**INCIDENT, "id": "77aa"}
    report.write_text(json.dumps({"rows": 9, "incidents": [INCIDENT, other], "measures": {}}))
    assert find_incident(report, "4be1") == INCIDENT
    with pytest.raises(DetectorError, match=r"no incident begins with 'ff'; the file has 4be1c"):
        find_incident(report, "ff")
    lines = tmp_path / "alerts.jsonl"
    lines.write_text("\n".join(json.dumps({**INCIDENT, "peak_score": peak}) for peak in (1.1, 1.9)))
    assert find_incident(lines, "4be1")["peak_score"] == 1.9


def report_of(path: Path, *identifiers: str) -> Path:
    path.write_text(json.dumps({"incidents": [{**INCIDENT, "id": one} for one in identifiers]}))
    return path


def test_an_ambiguous_beginning_lists_the_incidents_that_have_it(tmp_path: Path) -> None:
    report = report_of(tmp_path / "incidents.json", "1a", "2b", "3c", "4d", "5e", "6f01", "6f02", "77")
    with pytest.raises(DetectorError) as refused:
        find_incident(report, "6")
    assert str(refused.value) == (
        f"{report}: 2 incidents begin with '6': 6f01, 6f02; give more characters of the id"
    )
    assert find_incident(report, "6f02")["id"] == "6f02"


def test_a_beginning_of_many_incidents_lists_five_and_counts_the_others(tmp_path: Path) -> None:
    report = report_of(tmp_path / "incidents.json", *(f"6{number:02}" for number in range(9)))
    with pytest.raises(DetectorError, match=r"9 incidents .*: 600, 601, 602, 603, 604 and 4 more; give more"):
        find_incident(report, "6")


def test_a_beginning_of_no_incident_lists_those_most_alike_first(tmp_path: Path) -> None:
    report = report_of(tmp_path / "incidents.json", "1a", "2b", "3c", "4d", "5e", "6f01", "6f02")
    with pytest.raises(
        DetectorError, match=r"no incident begins with '6f1'; the file has 6f01, 6f02, 1a, 2b, 3c and 2 more$"
    ):
        find_incident(report, "6f1")
    with pytest.raises(DetectorError, match=r"no incident begins with '6'; the file holds no incident$"):
        find_incident(report_of(tmp_path / "empty.json"), "6")


def test_a_whole_id_is_found_though_another_begins_with_it(tmp_path: Path) -> None:
    report = report_of(tmp_path / "incidents.json", "6f", "6f01")
    assert find_incident(report, "6f")["id"] == "6f"


def test_feedback_keeps_the_error_and_refuses_incidents_without_a_score() -> None:
    assert feedback_on(INCIDENT, "real", THRESHOLD).peak_error == 6.0
    sharp = replace(THRESHOLD, sharpness=2.0)
    assert feedback_on({**INCIDENT, "peak_score": 9.0}, "real", sharp).peak_error == pytest.approx(12.0)
    with pytest.raises(DetectorError, match="raised by the rule 'flatline'"):
        feedback_on({**INCIDENT, "reason": "flatline"}, "real", THRESHOLD)
    with pytest.raises(DetectorError, match="not an incident"):
        feedback_on({"id": "x", "reason": "score"}, "real", THRESHOLD)


@pytest.mark.parametrize(
    ("opinions", "low", "high"),
    [
        ([], 2.0, 2.0),
        ([opinion(2.5, "false-alarm")], 2.5, 2.7),
        ([opinion(1.5, "real")], 1.4, 1.5),
        ([opinion(2.5, "false-alarm"), opinion(9.0, "real")], 2.5, 2.7),
        ([opinion(3.0, "false-alarm"), opinion(2.5, "real"), opinion(2.6, "real")], 2.0, 2.0),
    ],
)
def test_the_threshold_moves_as_little_as_agrees_with_most(
    opinions: list[Feedback], low: float, high: float
) -> None:
    assert low <= adjust_to_feedback(2.0, opinions) <= high


def test_another_budget_moves_the_threshold_and_keeps_the_weights() -> None:
    artifact = with_held_out()
    strict, loose = (recalibrated(artifact, budget, adaptive=False) for budget in ("1/month", "10/day"))
    assert strict.spec.threshold.value > loose.spec.threshold.value
    assert strict.spec.threshold.alarm_budget == "1/month"
    assert strict.module is artifact.module
    # The score has half of 10 a day of one-minute rows: once in 288 rows of independent noise.
    assert loose.spec.threshold.value == pytest.approx(np.log(288), rel=0.15)


def test_an_artifact_without_held_out_errors_is_refused() -> None:
    with pytest.raises(ArtifactError, match="keeps no held-out errors to calibrate with; train it again"):
        recalibrated(make_artifact(), "1/day")


def test_the_commands_from_a_report_to_a_new_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    first = publish(with_held_out(), entry)
    report = tmp_path / "incidents.json"
    report.write_text(json.dumps({"incidents": [{**INCIDENT, "version": first.version, "peak_score": 30.0}]}))
    arguments = ["feedback", "4be1", "false-alarm", "--artifact", str(entry), "--incidents", str(report)]
    assert main(arguments) == 0
    assert "4be1c0ffee000000 of pump-1" in capsys.readouterr().out
    assert main(["calibrate", str(entry), "--alarm-budget", "1/day", "--json", "--promote"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["feedback"] == {"false-alarm": 1}
    assert summary["threshold"] > 30.0
    assert open_artifact(entry).version == summary["version"] != first.version
    assert main(["calibrate", str(entry), "--no-feedback", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] < 30.0


def test_a_calibration_that_changes_nothing_is_reported_and_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    publish(with_held_out(), entry)
    assert main(["calibrate", str(entry), "--alarm-budget", "1/day", "--promote"]) == 0
    assert " -> " in capsys.readouterr().out
    version = open_artifact(entry).version
    assert main(["calibrate", str(entry), "--alarm-budget", "1/day", "--promote"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("nothing changed: the threshold is ")
    assert printed.endswith(f"not published: {entry} keeps version {version}\n")
    assert open_artifact(entry).version == version


def test_a_calibration_of_a_version_that_was_replaced_meanwhile_is_not_put_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, newer = tmp_path / "pump", []
    first = publish(with_held_out(), entry).version

    def measured_meanwhile(artifact: Artifact) -> Artifact:
        newer.append(publish(make_artifact(seed=1), entry).version)
        return artifact

    monkeypatch.setattr("detector.selfcheck.detectability.measured_again", measured_meanwhile)
    assert main(["calibrate", str(entry), "--alarm-budget", "1/day", "--promote"]) == 2
    error = capsys.readouterr().err
    assert f"somebody made {newer[0]} the current version in the meantime" in error
    assert open_artifact(entry).version == newer[0]
    assert {one.parent.name for one in entry.glob(f"*/{MANIFEST}")} == {first, newer[0]}


def test_a_calibrated_version_is_a_candidate_as_old_as_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    first = publish(with_held_out(), entry)
    os.utime(entry / first.version / MANIFEST, (1.7e9, 1.7e9))
    for _ in range(2):  # the second time it is there already
        assert main(["calibrate", str(entry), "--alarm-budget", "1/day", "--who", "ann", "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert not summary["in_use"]
        assert open_artifact(entry).version == first.version == summary["version_before"]
    candidate = open_artifact(entry / summary["version"])
    assert candidate.written_at == 1.7e9
    (event,) = read_journal(entry).about(candidate.version)
    assert (event.action, event.who) == ("published", "ann")
    assert event.figures["calibrated_from"] == first.version
    assert main(["calibrate", str(entry), "--alarm-budget", "2/day", "--promote"]) == 0
    assert "in use" in capsys.readouterr().out
    assert open_artifact(entry).written_at == 1.7e9
    assert main(["calibrate", str(entry), "--alarm-budget", "2/day"]) == 0
    assert capsys.readouterr().out.startswith("nothing changed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alarm-budget", "often"], "--alarm-budget: alarm budget 'often' is not NUMBER/UNIT"),
        ([], "is one version; give its registry entry"),
    ],
)
def test_wrong_calibrations_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    saved = publish(with_held_out(), entry)
    target = entry if arguments else entry / saved.version
    assert main(["calibrate", str(target), *arguments]) == 2
    assert message in capsys.readouterr().err


GOOD_LINE = {"incident": "i", "opinion": "real", "series": "a", "start": "", "version": "", "peak_error": 1.5}


@pytest.mark.parametrize(
    "change",
    [
        {"peak_error": "high"},
        {"peak_error": None},
        {"peak_error": float("nan")},
        {"peak_error": -1.0},
        {"peak_error": 10**400},
        {"incident": ["i"]},
        {"version": 1},
    ],
)
def test_feedback_that_no_threshold_can_be_learnt_from_is_refused_when_read(
    tmp_path: Path, change: dict[str, object]
) -> None:
    (tmp_path / "feedback.jsonl").write_text(
        json.dumps(GOOD_LINE) + "\n" + json.dumps({**GOOD_LINE, **change})
    )
    with pytest.raises(DetectorError, match=r"feedback.jsonl, line 2: damaged"):
        read_feedback(tmp_path)


def test_feedback_that_is_no_text_or_nested_without_end_is_refused(tmp_path: Path) -> None:
    for content, words in ((b"\xff\xfe", "cannot be read"), (b"[" * 100_000, "line 1: damaged")):
        (tmp_path / "feedback.jsonl").write_bytes(content)
        with pytest.raises(DetectorError, match=words):
            read_feedback(tmp_path)


@pytest.mark.parametrize(
    "content", [b'{"incident": "x"}', b"[1]", b"\xff", b"[" * 100_000, b'{"incidents": 1}']
)
def test_a_file_without_incidents_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "incidents.json").write_bytes(content)
    with pytest.raises(DetectorError, match=r"incidents\.json"):
        find_incident(tmp_path / "incidents.json", "4be1")


def test_a_line_of_alerts_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path: Path) -> None:
    lines = tmp_path / "alerts.jsonl"
    texts = [json.dumps({**INCIDENT, "series": "a\u2028b", "id": one}, ensure_ascii=False) for one in "xy"]
    lines.write_text("\n".join(texts), encoding="utf-8")
    assert find_incident(lines, "y")["series"] == "a\u2028b"


@pytest.mark.parametrize("peak", [-4.0, float("nan"), 1e308, 10**400, 0])
def test_a_peak_that_is_no_score_is_refused(peak: float) -> None:
    flat = replace(THRESHOLD, sharpness=0.5)
    with pytest.raises(DetectorError, match="not an incident"):
        feedback_on({**INCIDENT, "peak_score": peak}, "real", flat)
