"""What a soak does and when, and what would make its figures worthless."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.groups.course import parse
from tests.faults.groups.events import EVENTS
from tests.faults.soak import Minute, growth, problems_of_alerts


@pytest.mark.parametrize("flag", ["--long", "--slice"])
def test_each_event_happens_once_and_rebalances_come(flag: str) -> None:
    course = parse([flag], "")
    happened = [name for minute in range(course.minutes) for name in course.due(minute)]
    assert sorted(happened) == sorted(EVENTS)
    assert 0 < course.joins <= course.minutes
    assert course.kills == 0


def test_the_long_one_is_two_hours_at_a_third_with_hourly_rebalances() -> None:
    course = parse(["--long"], "")
    assert (course.minutes, course.joins, course.quiet_minutes, course.disk_minutes) == (120, 60, 3.0, 1.0)
    assert course.share == pytest.approx(1 / 3)


def test_an_alert_that_nothing_explains_is_a_problem() -> None:
    course = parse(["--slice"], "")
    expected = ["StreamgaugeDown", "StreamgaugeSeriesSilent", "StreamgaugeStreamSilent"]
    assert problems_of_alerts(expected, course, has_disk=True) == []
    assert problems_of_alerts([*expected, "StreamgaugeDeadLetters"], course, has_disk=True) == [
        "StreamgaugeDeadLetters fired"
    ]
    only_disk = replace(course, events=("full-disk",))
    assert problems_of_alerts(["StreamgaugeStreamSilent"], only_disk, has_disk=True) == []
    assert problems_of_alerts(["StreamgaugeStreamSilent"], only_disk, has_disk=False) == [
        "StreamgaugeStreamSilent fired"
    ]


def test_what_grows_in_member_0_is_a_problem() -> None:
    flat = [Minute(at, 500.0, 40, 12, 0, None) for at in range(8)]
    assert growth(flat) == []
    grown = [*flat[:7], Minute(7, 700.0, 50, 20, 0, None)]
    assert [one.split()[0] for one in growth(grown)] == ["memory", "files", "threads"]
