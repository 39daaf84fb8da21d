"""Messages: what readers of the output topics rely on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from connectors.records import Reject
from detector.calibration.p_values import PValues
from detector.delivery.messages import MessageEncoder, Topics, iso
from detector.incidents.incidents import Incidents
from detector.incidents.rules import IncidentRules
from detector.scoring.verdicts import State, Verdicts

MS = 1_000_000


def encoder(**options: Any) -> MessageEncoder:
    return MessageEncoder(Topics.of("plant"), "pump", "v1", ("flow", "pressure"), **options)


def verdicts() -> Verdicts:
    """Two series; the first has an unknown row, an ordinary one and an anomalous one."""
    nan = np.nan
    return Verdicts(
        names=("a", "b"),
        series=np.array([0, 0, 0, 1], np.int32),
        timestamp_ns=np.array([1000, 2000, 3000, 1000]) * MS,
        score=np.array([nan, 0.5, 1.5, 0.25]),
        state=np.array([State.WARMING, State.OK, State.ANOMALOUS, State.OK], np.uint8),
        actual=np.array([[1.0, nan], [1.0, 2.0], [9.0, 2.0], [1.0, 2.0]]),
        expected=np.array([[nan, nan], [1.5, 2.0], [1.5, 2.0], [1.0, 2.0]]),
        contribution=np.array([[nan, nan], [1, 0], [0.75, 0.25], [0.5, 0.5]], np.float32),
        threshold=np.ones(4),
        missing=np.zeros((4, 2), np.bool_),
        paged=np.array([False, False, True, False]),
        cumulative=np.full(4, np.nan),
        kind=np.zeros(4, np.uint8),
        mode=np.full(4, -1, np.int16),
        left=np.full(4, -1, np.int16),
        clipped=np.zeros((4, 2), np.bool_),
        lines=np.full(4, None, np.object_),
        cold=np.zeros(4, np.bool_),
    )


def bodies(messages: object) -> list[dict]:
    return [json.loads(message.value) for message in messages]


def test_scores_are_columns_of_one_series_a_message() -> None:
    messages = list(encoder().verdicts(verdicts()))
    assert [message.key for message in messages] == [b"a", b"b"]
    assert {message.topic for message in messages} == {"plant.scores"}
    assert bodies(messages)[0] == {
        "series": "a",
        "model": "pump",
        "version": "v1",
        "timestamp": [1000, 2000, 3000],
        "score": [None, 0.5, 1.5],
        "state": ["warming", "ok", "anomalous"],
    }


def test_only_anomalous_rows_or_none_may_be_asked_for() -> None:
    (only,) = bodies(encoder(scores="anomalous").verdicts(verdicts()))
    assert (only["series"], only["timestamp"]) == ("a", [3000])
    assert list(encoder(scores="none").verdicts(verdicts())) == []


def test_full_detail_has_each_channel_and_unknown_is_null() -> None:
    whole = bodies(encoder(detail="full").verdicts(verdicts()))[0]
    assert whole["paged"] == [False, False, True]
    assert min(one for one in whole["page_level"] if one is not None) >= 1
    first = whole["channels"]
    assert first["flow"]["actual"] == [1.0, 1.0, 9.0]
    assert first["pressure"]["expected"] == [None, 2.0, 2.0]
    assert first["flow"]["contribution"] == [None, 1.0, 0.75]


def test_full_detail_has_the_p_value_of_each_row() -> None:
    p_values = PValues(np.linspace(0, 2, 201), value=1.0, sharpness=1.0)
    (first, second) = bodies(encoder(detail="full", p_values=p_values).verdicts(verdicts()))
    assert first["p_value"][0] is None
    assert second["p_value"][0] > first["p_value"][1] > first["p_value"][2] > 0
    assert "p_value" not in bodies(encoder(p_values=p_values).verdicts(verdicts()))[0]


def test_alerts_carry_the_incident_with_evidence_in_physical_units() -> None:
    incidents = Incidents(
        IncidentRules(), "pump", "v1", ("flow", "pressure"), lambda _: np.array([0.5, 0.25])
    )
    (message,) = encoder().incidents(incidents.update(verdicts()))
    alert = json.loads(message.value)
    assert (message.topic, message.key) == ("plant.alerts", b"a")
    assert (alert["event"], alert["at"], alert["state"]) == ("opened", "1970-01-01T00:00:03.000Z", "firing")
    assert alert["end"] is None
    assert alert["channels"][0] == {
        "name": "flow", "contribution": 0.75, "actual": 9.0, "expected": 1.5, "lower": 1.0, "upper": 2.0,
        "clipped": False, "trend": None,
    }  # fmt: skip
    assert alert["shape"]["name"] == "unclear"  # one row may be a spike, or the first of many
    assert alert["sentence"].startswith("a: flow at 9, expected 1 to 2, since 00:00:03 UTC; shape unclear")


def test_dead_letters_are_the_original_bytes_with_their_coordinates() -> None:
    reject = Reject("not_json", "invalid at byte 1", "readings", 3, 17, b"key", b"\xff{")
    (message,) = encoder().dead_letters((reject,))
    assert (message.topic, message.key, message.value) == ("plant.dead-letters", b"key", b"\xff{")
    assert dict(message.headers) == {
        "reason": b"not_json", "detail": b"invalid at byte 1", "topic": b"readings",
        "partition": b"3", "offset": b"17",
    }  # fmt: skip


def test_times_are_utc_to_the_millisecond() -> None:
    assert iso(1_767_225_600_123 * MS) == "2026-01-01T00:00:00.123Z"


def test_only_a_message_with_a_cold_row_says_so() -> None:
    rows = verdicts()
    rows.cold[1] = True
    first, second = bodies(encoder().verdicts(rows))
    assert first["cold"] == [False, True, False]
    assert "cold" not in second
