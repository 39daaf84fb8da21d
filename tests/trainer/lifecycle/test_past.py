"""The past of a model from a file, a backtest or decisions: incidents, known faults, open ones, mutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.calibration.feedback import OPINIONS, Feedback
from detector.delivery.decision_records import encode_decision
from detector.errors import ConfigError
from detector.incidents.decision import Action, Decision
from trainer.data.stretches import read_incidents
from trainer.lifecycle.past import (
    FOREVER,
    Stretch,
    faults_of_feedback,
    past_from,
    past_of,
    write_stretches,
)

SECOND = 10**9
ACTIONS: tuple[Action | None, ...] = (None, "accept", "reject", "false-alarm", "real")


def incident(name: str, end: str | None = "2026-01-01T01:00:00Z", **more: Any) -> dict[str, Any]:
    state = "resolved" if end else "firing"
    body = {"id": name, "series": "a", "model": "pump", "start": "2026-01-01T00:00:00Z", "end": end}
    return body | {"state": state} | more


def decision(action: Action, name: str, at_ns: int = 0, until_ns: int | None = None) -> Decision:
    return Decision(f"{action}-{name}-{at_ns}", action, "a", at_ns, name, until_ns=until_ns)


@given(st.lists(st.sampled_from(ACTIONS), max_size=6), st.booleans())
def test_opinions_decide_what_is_a_fault_and_what_must_not_be_learnt(
    said: list[Action | None], is_group: bool
) -> None:
    incidents = [incident(str(at)) for at in range(len(said))]
    decisions = [decision(action, str(at)) for at, action in enumerate(said) if action is not None]
    past = past_from(incidents, decisions, "pump", is_group)
    faults = {at for at, action in enumerate(said) if action in ("real", "reject")}
    normal = {at for at, action in enumerate(said) if action in ("accept", "false-alarm")}
    every = set(range(len(said)))
    assert {int(one.name) for one in past.faults} == (faults if is_group else every - normal)
    assert {int(one.name) for one in past.incidents} == every - normal
    assert past.open == ()


def test_the_newest_state_of_an_incident_counts_and_other_models_do_not() -> None:
    lines = [incident("a", None), incident("a"), incident("b", None), incident("c", None, model="valve")]
    past = past_from(lines, [decision("false-alarm", "b")], "pump", is_group=False)
    assert past.open == (), "what is called normal may be learnt"
    assert [one.name for one in past.incidents] == ["a"]


@pytest.mark.parametrize("said", ACTIONS)
@pytest.mark.parametrize("reason", ["score", "no_data"])
def test_an_open_incident_blocks_if_the_model_raises_it_and_nobody_called_it_normal(
    said: Action | None, reason: str
) -> None:
    decisions = [] if said is None else [decision(said, "a")]
    past = past_from([incident("a", None, reason=reason)], decisions, "pump", is_group=True)
    is_blocking = reason == "score" and said not in ("accept", "false-alarm")
    assert [one.name for one in past.open] == (["a"] if is_blocking else [])


def test_what_is_open_at_the_end_of_a_backtest_is_over(tmp_path: Path) -> None:
    (tmp_path / "incidents.json").write_text(json.dumps({"incidents": [incident("a", None)]}))
    past = past_of(str(tmp_path / "incidents.json"), "pump")
    assert (past.open, [one.name for one in past.incidents]) == ((), ["a"])


def test_a_mute_lasts_until_its_end_or_until_it_is_ended() -> None:
    mutes = [decision("mute", "", 10, 50), decision("mute", "", 30, 30), decision("mute", "", 60, 90)]
    found = past_from([], mutes, "pump", is_group=True).mutes
    assert sorted((one.series, one.start_ns, one.end_ns) for one in found) == [("a", 10, 30), ("a", 60, 90)]


def test_a_mute_that_is_over_stays_when_the_series_is_muted_again() -> None:
    for second in (decision("mute", "", 60, 90), decision("mute", "", 60, 60)):
        found = past_from([], [decision("mute", "", 10, 50), second], "pump", is_group=True).mutes
        later = [(60, 90)] if second.until_ns == 90 else []
        assert [(one.start_ns, one.end_ns) for one in found] == [(10, 50), *later]


def test_a_file_has_incidents_and_decisions_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    lines = [json.dumps(incident("a", None)), json.dumps({"event": "resolved", **incident("a")})]
    lines += [json.dumps(incident("b")), encode_decision(decision("false-alarm", "b")).decode()]
    path.write_text("\n".join(lines) + "\n")
    past = past_of(str(path), "pump")
    assert [one.name for one in past.faults] == ["a"]
    assert past.faults[0].end_ns - past.faults[0].start_ns == 3600 * SECOND
    with pytest.raises(ConfigError, match="nowhere does not exist; give the configuration of a daemon"):
        past_of(str(tmp_path / "nowhere"), "pump")
    path.write_text(json.dumps(incident("a", start="soon")) + "\n")
    with pytest.raises(ConfigError, match="incident a needs a series and times: 'soon' is no time"):
        past_of(str(path), "pump")


def test_feedback_beside_the_model_names_faults_of_a_length() -> None:
    said = [Feedback(name, name, "a", "2026-01-01T00:00:00Z", "v", 2.0) for name in OPINIONS]
    (one,) = faults_of_feedback(said, 5 * SECOND)
    assert (one.name, one.series, one.end_ns - one.start_ns) == ("real", "a", 5 * SECOND)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b"]),
            st.integers(0, 2 * 10**9),
            st.one_of(st.just(None), st.integers(0, 10**6)),
        )
    )
)
def test_what_is_written_is_what_a_training_leaves_out(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int | None]]
) -> None:
    path = tmp_path_factory.mktemp("left") / "left_out.json"
    stretches = [
        Stretch("x", series, start * SECOND, FOREVER if length is None else (start + length) * SECOND)
        for series, start, length in rows
    ]
    write_stretches(stretches, path)
    found = read_incidents(path).found
    assert found == tuple((one.series or None, one.start_ns, one.end_ns) for one in stretches)
