"""An incident none of whose rows had a score: its peak is unknown wherever it is shown, and never 0."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from detector.commands.backtest import _cells
from detector.delivery.messages import incident_json
from detector.incidents.incident import Incident, IncidentEvent
from detector.notify.notice import description, parse, template_values
from detector.offline.frames import incidents_frame
from detector.service.incident_log import log_incident
from detector.status.status import _firing

UNSCORED = Incident(
    "id", "pump", "1", "pump-1", "firing", "missing", "warning", 10**18, 10**18, None, 0.0, 10**18, ()
)  # fmt: skip
SCORED = replace(UNSCORED, reason="score", peak_score=2.5)


@pytest.mark.parametrize("reason", ["missing", "silent", "stream_silent", "flatline"])
def test_a_peak_without_a_score_is_unknown_everywhere(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    one = replace(UNSCORED, reason=reason)  # type: ignore[arg-type]  # from the list above
    body = incident_json(one)
    assert body["peak_score"] is None
    notice = parse(orjson.dumps({"event": "opened", "at": body["start"], **body}))
    assert "peak score" not in description(notice)
    assert template_values(notice, {}, "")["peak_score"] is None
    assert _firing(one)["peak_score"] is None
    assert incidents_frame([one]).peak_score.isna().all()
    assert _cells(one)[5] == "unknown"
    with caplog.at_level("INFO"):
        log_incident(IncidentEvent("opened", one.opened_ns, one))
    assert "unknown" in str([record.__dict__ for record in caplog.records])


def test_a_known_peak_is_shown() -> None:
    body = incident_json(SCORED)
    assert body["peak_score"] == 2.5
    notice = parse(orjson.dumps({"event": "opened", "at": body["start"], **body}))
    assert "highest score since its start: 2.5" in description(notice)
    assert _firing(SCORED)["peak_score"] == 2.5
    assert incidents_frame([SCORED]).peak_score.tolist() == [2.5]
    assert _cells(SCORED)[5] == "2.50"
