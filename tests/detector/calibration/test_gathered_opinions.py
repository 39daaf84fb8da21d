"""Opinions of people, from a topic or beside a backtest, as feedback for `calibrate`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact, Threshold
from detector.calibration.feedback import OPINIONS, feedback_on, read_feedback
from detector.calibration.gathered_opinions import OTHER_VERSION, RULE, UNKNOWN_INCIDENT, gathered, with_newer
from detector.explore.deciding.backtest_ledger import BacktestLedger
from detector.incidents.decision import Decision
from streamgauge import main
from tests.detector.calibration.test_feedback import INCIDENT, with_held_out
from tests.detector.explore.explored import incident, scores_of, write_backtest

THRESHOLDS = {
    "one": Threshold(4.0, "fixed", "1/week"),
    "two": Threshold(0.5, "fixed", "1/week", sharpness=3.0),
}
SHAKY = "4be1c0ffee000000"
NAMES = st.sampled_from("abcdef")
INCIDENTS = st.fixed_dictionaries(
    {
        "id": NAMES,
        "series": st.text(max_size=5),
        "version": st.sampled_from(["one", "two", "elsewhere"]),
        "reason": st.sampled_from(["score", "flatline", "level"]),
        "start": st.just("2026-10-01T12:00:00.000Z"),
        "peak_score": st.none() | st.floats(0.01, 1e6),
    }
)


@given(st.dictionaries(NAMES, st.sampled_from(OPINIONS)), st.lists(INCIDENTS, max_size=12))
def test_each_opinion_is_used_or_counted_with_its_reason(
    opinions: dict[str, Any], incidents: list[dict[str, Any]]
) -> None:
    found = gathered(opinions, incidents, THRESHOLDS.get)
    newest = {one["id"]: one for one in incidents}
    expected, unused = [], Counter[str]()
    for name, opinion in opinions.items():
        one = newest.get(name)
        if one is None:
            unused[UNKNOWN_INCIDENT] += 1
        elif one["reason"] != "score" or one["peak_score"] is None:
            unused[RULE] += 1
        elif one["version"] == "elsewhere":
            unused[OTHER_VERSION] += 1
        else:
            expected.append(feedback_on(one, opinion, THRESHOLDS[one["version"]]))
    assert found.feedback == tuple(expected)
    assert found.unused == unused
    for one in found.feedback:
        threshold = THRESHOLDS[newest[one.incident]["version"]]
        score = (one.peak_error / threshold.value) ** threshold.sharpness
        assert score == pytest.approx(newest[one.incident]["peak_score"])


@given(
    st.dictionaries(NAMES, st.sampled_from(OPINIONS)),
    st.dictionaries(NAMES, st.sampled_from(OPINIONS)),
    st.dictionaries(NAMES, st.floats(0.1, 100.0), min_size=6, max_size=6),
)
def test_the_newer_opinion_counts_and_a_second_time_changes_nothing(
    before: dict[str, Any], after: dict[str, Any], peaks: dict[str, float]
) -> None:
    incidents = [
        {**INCIDENT, "id": name, "version": "one", "peak_score": peak} for name, peak in peaks.items()
    ]
    kept, newer = (gathered(one, incidents, THRESHOLDS.get).feedback for one in (before, after))
    merged = with_newer(kept, newer)
    assert {one.incident: one.opinion for one in merged} == before | after
    assert with_newer(merged, newer) == merged


def test_calibrate_uses_the_opinions_beside_a_backtest_and_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = tmp_path / "pump"
    first: Artifact = publish(with_held_out(), entry)
    when = "2026-01-01T00:00:00.000Z"
    listed = [
        incident(SHAKY, "a", when, None, version=first.version, peak_score=30.0),
        incident("77aa", "a", when, None, version=first.version, reason="flatline", peak_score=None),
    ]
    times = 1_767_225_600_000_000_000 + np.arange(3) * 60_000_000_000
    out = write_backtest(
        tmp_path / "out", scores_of(np.array(["a"] * 3, dtype=object), times, 1, 0.0), listed
    )
    ledger = BacktestLedger(out)
    for number, (name, action) in enumerate(
        [
            (SHAKY, "real"),
            (SHAKY, "false-alarm"),
            ("77aa", "real"),
            ("gone", "real"),
        ]
    ):
        ledger.write(Decision(str(number), action, "a", 10**18, name))  # type: ignore[arg-type]
    words = ["calibrate", str(entry), "--opinions", str(out), "--promote"]
    assert main([*words, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["feedback"] == {"false-alarm": 1}
    assert json.loads(told.out)["threshold"] > 30.0
    assert (
        f"opinions of {out}: 1 new, 0 known; 1 not used: {RULE}; 1 not used: {UNKNOWN_INCIDENT}" in told.err
    )
    assert [(one.incident, one.opinion) for one in read_feedback(entry)] == [(SHAKY, "false-alarm")]
    version = open_artifact(entry).version
    assert main(words) == 0
    told = capsys.readouterr()
    assert "0 new, 1 known" in told.err
    assert (open_artifact(entry).version, len(read_feedback(entry))) == (version, 1)
    assert version != first.version


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--opinions", "nowhere"], "--opinions: nowhere does not exist; give the configuration of a daemon"),
        (["--opinions", "EMPTY"], "cannot be read"),
        (["--opinions", "EMPTY", "--no-feedback"], "--opinions and --no-feedback contradict each other"),
    ],
)
def test_a_source_that_has_no_opinions_is_refused(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, empty = tmp_path / "pump", tmp_path / "empty"
    publish(with_held_out(), entry)
    empty.mkdir()
    assert main(["calibrate", str(entry), *(str(empty) if one == "EMPTY" else one for one in more)]) == 2
    assert message in capsys.readouterr().err
