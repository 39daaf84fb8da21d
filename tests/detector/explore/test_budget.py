"""The use of the alarm budget against brute force."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.calibration.alarm_budget import parse_budget
from detector.delivery.messages import iso
from detector.explore.queries.budget import budget_used
from detector.explore.store.layout import DAY_NS
from detector.incidents.incident import MODEL_REASONS
from tests.detector.explore.explored import START_NS, incident, scores_of
from tests.detector.explore.test_store import SLOW, store

DAYS = 4
REASONS = [*MODEL_REASONS, "flatline", "out_of_range", "silent"]


@st.composite
def opened(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Incidents of any reason that opened at some time of four days."""
    told = draw(
        st.lists(
            st.tuples(st.integers(0, DAYS * 86_400 - 1), st.sampled_from(REASONS), st.sampled_from("abc")),
            max_size=25,
        )
    )
    times = [iso(START_NS + second * 1_000_000_000) for second, *_ in told]
    return [
        incident(f"{at:04x}", series, when, None, reason=reason)
        for at, (when, (_, reason, series)) in enumerate(zip(times, told, strict=True))
    ]


@SLOW
@given(opened(), st.integers(0, DAYS - 1), st.integers(1, DAYS))
def test_alarms_of_the_model_count_and_others_do_not(
    told: list[dict[str, Any]], begin: int, length: int
) -> None:
    num = DAYS * 24
    series = np.repeat(np.array(["a", "b"], dtype=object), num)
    frame = scores_of(series, np.tile(START_NS + np.arange(num) * DAY_NS // 24, 2), 1, 0.0)
    span = (START_NS + begin * DAY_NS, START_NS + min(DAYS, begin + length) * DAY_NS)
    with store(frame, told) as (database, about):
        real = [one["id"] for one in told[::2]]
        found = budget_used(database, about, span, real)
    mine = [
        one for one in told if one["reason"] in MODEL_REASONS and iso(span[0]) <= one["opened"] < iso(span[1])
    ]
    assert found["alarms"] == len(mine)
    assert found["real"] == sum(one["id"] in real for one in mine)
    assert {one["reason"]: one["alarms"] for one in found["evidence"]} == Counter(
        one["reason"] for one in mine
    )
    assert {one["series"]: one["alarms"] for one in found["series"]} == Counter(one["series"] for one in mine)
    for listed in ("evidence", "series"):
        nums = [one["alarms"] for one in found[listed]]
        assert nums == sorted(nums, reverse=True)
    rows = 2 * 24 * (span[1] - span[0]) // DAY_NS
    assert found["allowed"] == pytest.approx(rows * about.interval_ns / 1e9 * parse_budget("1/week"))


def test_the_list_of_series_has_those_with_most_alarms() -> None:
    frame = scores_of(np.array(["a"], dtype=object), np.array([START_NS]), 1, 0.0)
    told = [
        incident(f"{at}-{one}", f"s{at:02d}", iso(START_NS), None)
        for at in range(25)
        for one in range(at + 1)
    ]
    with store(frame, told) as (database, about):
        found = budget_used(database, about, (START_NS, START_NS + DAY_NS))
    assert found["alarms"] == sum(range(1, 26))
    assert [one["series"] for one in found["series"]] == [f"s{at:02d}" for at in range(24, 4, -1)]
