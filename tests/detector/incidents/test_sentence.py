"""The sentence about an incident: for every reason and shape, short, with units, times, related channels."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.incidents.incident import ChannelEvidence, Incident, Passage, Reason
from detector.incidents.shapes.explanation import SHAPES, Explanation, Shape
from detector.incidents.shapes.sentence import Wording, numbers, sentence

START_NS = 1_790_000_000_000_000_000 // 3_600_000_000_000 * 3_600_000_000_000
HOUR_NS = 3_600_000_000_000
NAN = float("nan")
VIBRATION = ChannelEvidence("vibration", 0.9, 7.912, 4.65, 4.1, 5.2)
SEEN = Explanation("level shift", 0.9, "vibration", 2, 4.1, 5.2, usual=("temperature",))
INCIDENT = Incident(
    *("id", "pump", "v1", "pump-17", "firing", "score", "warning"),
    *(START_NS, START_NS, None, 2.0, START_NS, (VIBRATION,)),
    explanation=SEEN,
)
WORDING = Wording({"vib*": "mm/s"}, "Europe/Berlin")


def test_a_level_shift_is_said_as_a_technician_would() -> None:
    said = sentence(INCIDENT, START_NS + 3 * HOUR_NS, WORDING)
    assert said == (
        "pump-17: vibration at 7.91 mm/s, expected 4.1 to 5.2, since 16:00 (3 h);"
        " rose within 2 rows and stayed: level shift; temperature as expected"
    )


def test_without_configuration_times_are_utc_and_values_have_no_unit() -> None:
    said = sentence(INCIDENT, START_NS)
    assert said.startswith("pump-17: vibration at 7.91, expected 4.1 to 5.2, since 14:00 UTC; rose")


def test_a_resolved_incident_has_its_end_and_a_later_day_is_named() -> None:
    over = replace(INCIDENT, state="resolved", end_ns=START_NS + 30 * HOUR_NS)
    assert "from 2026-09-21 14:00 UTC to 2026-09-22 20:00 UTC (30 h)" in sentence(over, over.end_ns or 0)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("cumulative", "vibration at 4.9, expected about 4.65 by the other channels"),
        ("season", "expected about 4.65 at this hour"),
        ("drift", "expected about 4.65 as in the history"),
        ("flatline", "vibration stuck at 4.9, since"),
        ("out_of_range", "vibration at 4.9, outside its valid range"),
        ("missing", "no value of vibration while other channels send"),
        ("silent", "pump-17: sends nothing"),
        ("stream_silent", "every series: sends nothing"),
    ],
)
def test_every_reason_has_its_words(reason: Reason, words: str) -> None:
    small = replace(VIBRATION, actual=4.9, lower=NAN, upper=NAN)
    seen = replace(SEEN, lower=None, upper=None)
    one = replace(INCIDENT, reason=reason, channels=(small,), explanation=seen)
    assert words in sentence(one, START_NS)


def test_a_change_of_mode_that_takes_long_is_a_late_start() -> None:
    late = replace(
        INCIDENT, reason="mode", passage=Passage("off", HOUR_NS), explanation=Explanation("late start", 1.0)
    )
    said = sentence(late, START_NS + HOUR_NS)
    assert (
        "the change from mode off takes 2 h, usual up to 60 min, since 14:00 UTC (60 min); late start" in said
    )


def test_a_constant_channel_and_an_edge_of_history_are_named() -> None:
    still = replace(VIBRATION, actual=8.0, expected=7.0, lower=7.0, upper=7.0)
    one = replace(INCIDENT, channels=(still,), explanation=None)
    assert "vibration at 8, never moved from 7 in its history" in sentence(one, START_NS)
    edge = replace(INCIDENT, channels=(replace(VIBRATION, clipped=True),))
    assert "expected 4.1 to 5.2, the edge of its history" in sentence(edge, START_NS)


@given(
    reason=st.sampled_from(get_args(Reason)),
    shape=st.sampled_from(SHAPES),
    values=st.lists(st.floats(allow_infinity=False, width=32), min_size=3, max_size=3),
    rose=st.integers(0, 200),
    hours=st.integers(0, 10_000),
    names=st.lists(st.sampled_from(["flow", "heat", "power"]), max_size=2, unique=True),
    state=st.sampled_from(["firing", "resolved"]),
)
def test_any_incident_has_one_short_sentence(
    reason: Reason,
    shape: Shape,
    values: list[float],
    rose: int,
    hours: int,
    names: list[str],
    state: str,
) -> None:
    top = ChannelEvidence("vibration", 0.9, values[0], values[1], *sorted((values[1], values[2])))
    seen = Explanation(shape, 0.5, "vibration", rose, top.lower, top.upper, tuple(names), tuple(names), 2.0)
    end_ns = START_NS + hours * HOUR_NS
    one = replace(INCIDENT, reason=reason, channels=(top,), explanation=seen)
    if state == "resolved":
        one = replace(one, state="resolved", end_ns=end_ns)
    said = sentence(one, end_ns, WORDING)
    assert len(said.split()) < 40
    assert "\n" not in said
    assert "nan" not in said.split()


@given(
    st.floats(-1e5, 1e5),
    st.floats(1e-2, 1e3),
)
def test_a_value_outside_its_range_never_looks_like_its_edge(low: float, width: float) -> None:
    actual = low + 1.5 * width
    text = numbers(actual, low, low + width, low + width / 2)
    assert text[0] != text[2]
    assert float(text[0]) == pytest.approx(actual, rel=5e-3)
