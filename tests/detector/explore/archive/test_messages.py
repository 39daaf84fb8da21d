"""A message of another form is left out, whatever its form: nothing of it reaches the archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.explore.archive.messages import NotOursError, VerdictRows, decision_row, incident_row
from tests.detector.explore.archive.written import alert, archive_in, batch, mute, rows_of, scores_message
from tests.detector.explore.explored import CHANNELS

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.floats(allow_nan=False)
    | st.text(max_size=12),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("ms", [10**16, -(10**16), 9_214_646_400_000, -9_214_646_400_001])
def test_verdicts_of_impossible_times_are_refused(ms: int) -> None:
    rows = VerdictRows(CHANNELS)
    with pytest.raises(NotOursError, match="1678 to 2261"):
        rows.add(scores_message("a", [1], timestamp=[ms]))
    assert len(rows) == 0
    assert len(rows.take()["ns"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"why": ["a", "b"]},
        {"who": 7},
        {"incident": {}},
        {"at": "soon"},
        {"until": "9999-01-01T00:00:00Z"},
    ],
)
def test_decisions_of_another_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotOursError):
        decision_row(json.dumps(json.loads(mute("m1", "a", 3)) | change).encode())


@pytest.mark.parametrize(
    "change", [{"peak_score": [1]}, {"channels": [{"name": ["flow"]}]}, {"start": "soon"}, {"channels": 3}]
)
def test_incidents_of_another_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(NotOursError):
        incident_row(json.dumps(json.loads(alert("opened", "aa11", "a", 3)) | change).encode())


FIELDS = [
    *(("alert", key) for key in ("peak_score", "start", "end", "peak", "channels", "series", "reason")),
    *(("decision", key) for key in ("at", "until", "why", "who", "incident", "series", "action")),
    *(("verdict", key) for key in ("timestamp", "score", "state", "mode", "channels", "series", "paged")),
]


@given(field=st.sampled_from(FIELDS), value=JSON)
def test_what_is_taken_can_be_written(
    field: tuple[str, str], value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The archive takes a good message after each bad one, so a message can stop nothing."""
    store: Path = tmp_path_factory.mktemp("archive")
    kind, key = field
    verdicts, events = [scores_message("good", [5])], [mute("m2", "good", 5)]
    good = {"alert": alert("opened", "aa11", "a", 3), "decision": mute("m1", "a", 3)}
    body = json.loads(good.get(kind, scores_message("a", [1]))) | {key: value}
    try:
        message = json.dumps(body).encode()
        if kind == "verdict":
            VerdictRows(CHANNELS).add(message)
            verdicts.insert(0, message)
        elif (incident_row if kind == "alert" else decision_row)(message) is not None:
            events.insert(0, message)
    except NotOursError:
        pass
    archive = archive_in(store)
    archive.append(batch(verdicts, events))
    archive.close()
    assert ("good",) in rows_of(store, "verdicts", "series")
