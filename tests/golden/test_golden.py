"""Verdicts, incidents and snapshots are those that were recorded, whatever the code looks like meanwhile.

Other processors round differently, so scores are compared to 1e-4 and incidents exactly. On the machine
that recorded them, STREAMGAUGE_GOLDEN_EXACT=1 compares every bit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from detector.engine.snapshot import decode_state
from tests.golden.cases import CASES, engine_for, halves, second, summary

VERDICTS = Path(__file__).parent / "verdicts.json"
SNAPSHOTS = Path(__file__).parent / "snapshots.json"
EXACT = bool(os.environ.get("STREAMGAUGE_GOLDEN_EXACT"))


@pytest.mark.parametrize("name", CASES)
def test_verdicts_and_incidents_are_those_recorded(name: str) -> None:
    expected, actual = json.loads(VERDICTS.read_text())[name], summary(name)
    if EXACT:
        assert actual["digest"] == expected["digest"]
    assert actual["states"] == expected["states"]
    assert actual["events"] == expected["events"]
    scores = [np.array(one["scores"], dtype=float) for one in (actual, expected)]
    np.testing.assert_allclose(*scores, rtol=1e-4)


def test_the_recording_holds_scores_incidents_and_gaps() -> None:
    recorded = json.loads(VERDICTS.read_text())
    assert set(recorded) == set(CASES)
    assert all(len(one["events"]) > 0 for one in recorded.values())
    assert {"0", "1", "2", "3"} <= set("".join(one["states"] for one in recorded.values()))


def test_recorded_snapshots_restore_and_go_on_with_the_same_verdicts() -> None:
    _, _, expected = halves(engine_for("ensemble"))
    engine = engine_for("ensemble")
    for partition, data in enumerate(json.loads(SNAPSHOTS.read_text())):
        decoded = decode_state(f"pump-{partition + 1}", bytes.fromhex(data))
        assert decoded is not None
        engine.restore([decoded[0]], partition, None)
    actual = second(engine)
    for mine, theirs in zip(actual, expected, strict=True):
        assert mine.verdicts.names == theirs.verdicts.names
        np.testing.assert_allclose(mine.verdicts.score, theirs.verdicts.score, rtol=1e-4)
        assert [event.incident.id for event in mine.incidents] == [e.incident.id for e in theirs.incidents]
