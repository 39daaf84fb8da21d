"""All shares of the alarm budget together are at most the budget, whatever evidence a model has."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from unittest.mock import Mock

import pytest

from detector.artifact.budget_shares import budget_shares, limit_of, num_sums
from detector.artifact.spec import PageLimit
from tests.support.artifacts import make_artifact


@pytest.mark.parametrize("has", [*product([False, True], repeat=6)])
def test_the_shares_of_all_kinds_add_up_to_the_budget(has: tuple[bool, ...]) -> None:
    has_reference, has_season, has_drift, moves, stuck, jobs = has
    spec = make_artifact(("a", "b")).spec
    channels = tuple(
        replace(one, law="constant" if moves and at else "plain", flatline_rows=30 * stuck)
        for at, one in enumerate(spec.channels)
    )
    spec = replace(
        spec,
        channels=channels,
        reference=Mock() if has_reference else None,
        season=Mock(jobs=(Mock(),) * jobs) if has_season else None,
        drift=Mock() if has_drift else None,
    )
    found = budget_shares(spec)
    every = (found.score, found.sums * num_sums(spec), found.drift, found.moves, found.stuck, found.jobs)
    assert sum(every) == pytest.approx(1.0) if num_sums(spec) else sum(every) <= 1.0
    assert [one > 0 for one in every[2:]] == [has_drift, moves, stuck, has_season and jobs]
    assert found.score == 0.5


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_page_level_falls_at_the_rate_of_its_share(share: float) -> None:
    limit = limit_of(PageLimit(0.5 / 10_080), share)
    assert limit is not None
    assert limit.alarms_a_row == pytest.approx(share / 10_080)
    assert limit_of(None, share) is None
