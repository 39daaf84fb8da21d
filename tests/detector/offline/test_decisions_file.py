"""Decisions of a file: records or alerts, JSON lines or Parquet, with the place of what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.delivery.decision_records import DecisionError, decode_decision, encode_decision
from detector.delivery.messages import applied_json, decision_json
from detector.errors import ConfigError
from detector.incidents.decision import Applied, Decision, Learnt
from detector.offline.decisions_file import read_decisions

AT_NS = 1_790_856_000_000_000_000
ACCEPT = Decision(
    "a", "accept", "pump-1", AT_NS, "5d41", ("flow",), who="ada", why="new", decided_at_ns=AT_NS
)
MUTE = Decision("m", "mute", "pump-2", AT_NS, until_ns=AT_NS + 10**9, decided_at_ns=AT_NS)


def alert(event: str, applied: Applied) -> str:
    return json.dumps({"event": event, "id": "5d41", "decision": applied_json(applied)})


def test_lines_of_records_and_of_alerts_give_the_decisions_once_each(tmp_path: Path) -> None:
    applied = Applied(ACCEPT, AT_NS + 60 * 10**9, learnt=(Learnt("flow", 1.0, 2.0),))
    policy = Applied(replace(ACCEPT, id="p"), AT_NS, by="policy")
    lines = [
        encode_decision(MUTE).decode(),
        "",
        json.dumps({"event": "opened", "id": "5d41", "decision": None}),
        alert("accepted", applied),
        alert("accepted", policy),
        alert("resolved", applied),
    ]
    file = tmp_path / "decisions.jsonl"
    file.write_text("\n".join(lines))
    assert read_decisions(file) == [MUTE, replace(ACCEPT, at_ns=applied.at_ns)]


def test_parquet_gives_the_same_as_lines(tmp_path: Path) -> None:
    rows = [decision_json(one) for one in (ACCEPT, MUTE)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "decisions.parquet")
    assert read_decisions(tmp_path / "decisions.parquet") == [ACCEPT, MUTE]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"action": "forget"}, "line 2.*action"),
        ({"incident": None}, "line 2.*names no `incident`"),
        ({"action": "mute"}, "line 2.*no `until`"),
        ({"at": "yesterday"}, "line 2.*at"),
        ({"at": "9999-12-31T00:00:00Z"}, "line 2.*between the years"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "line 2"),
        ({"action": "mute", "until": "2262-05-01T00:00:00Z"}, "line 2.*between the years"),
        ({"decided_at": "1500-01-01T00:00:00Z"}, "line 2.*between the years"),
    ],
)
def test_what_is_no_decision_is_an_error_with_its_line(tmp_path: Path, change: dict, told: str) -> None:
    file = tmp_path / "decisions.jsonl"
    file.write_text(encode_decision(MUTE).decode() + "\n" + json.dumps(decision_json(ACCEPT) | change))
    with pytest.raises(ConfigError, match=told):
        read_decisions(file)


@pytest.mark.parametrize("field", ["at", "until", "decided_at"])
def test_a_time_that_no_state_can_hold_is_no_decision_in_a_table_either(tmp_path: Path, field: str) -> None:
    row = decision_json(MUTE) | {field: "9999-12-31T00:00:00Z"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "decisions.parquet")
    with pytest.raises(ConfigError, match="between the years"):
        read_decisions(tmp_path / "decisions.parquet")
    with pytest.raises(DecisionError, match="between the years"):
        decode_decision(json.dumps(row).encode())
