"""Which kind of evidence speaks loudest in a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.scoring.context.spoken import Spoken, loudest
from detector.scoring.kinds import Kind, checked_switches, switches_of

NAN = float("nan")


def said(kind: Kind, *cumulative: float, paged: bool = True) -> Spoken:
    values = np.array(cumulative)
    return Spoken(kind, values, (values > 1.0) & paged)


def test_the_window_speaks_first_then_what_counts_then_the_largest() -> None:
    score, level = np.array([3.0, 0.5, 0.5, 1.5, 0.2, NAN]), np.array([1.0, 1.0, 1.0, 2.0, 1.0, 1.0])
    spoken = [
        said(Kind.LEVEL, 5.0, 1.02, 1.09, 1.05, NAN, 9.0),
        said(Kind.SEASON, 5.0, 1.07, 1.2, NAN, 0.9, 9.0, paged=False),
    ]
    found = loudest(score, level, spoken)
    assert found.kind.tolist() == [Kind.WINDOW, Kind.LEVEL, Kind.LEVEL, Kind.LEVEL, Kind.WINDOW, Kind.WINDOW]
    assert found.paged.tolist() == [True, True, True, True, False, False]
    np.testing.assert_array_equal(found.cumulative, [5.0, 1.07, 1.2, 1.05, 0.9, NAN])


def test_evidence_above_its_threshold_speaks_where_nothing_counts() -> None:
    found = loudest(np.array([1.2, 0.3]), np.array([2.0, 1.0]), [said(Kind.DRIFT, 0.4, 1.3, paged=False)])
    assert (found.kind.tolist(), found.paged.tolist()) == ([Kind.WINDOW, Kind.DRIFT], [False, False])


@given(st.lists(st.tuples(*[st.floats(0, 3) | st.just(NAN)] * 4), min_size=1, max_size=8))
def test_a_row_counts_as_soon_as_one_kind_does(rows: list[tuple[float, ...]]) -> None:
    score, *others = np.array(rows).T
    spoken = [
        said(kind, *one.tolist())
        for kind, one in zip((Kind.LEVEL, Kind.SEASON, Kind.MODE), others, strict=True)
    ]
    found = loudest(score, np.ones(len(score)), spoken)
    known = ~np.isnan(score)
    any_counts = (score > 1) | np.stack([one.paged for one in spoken]).any(axis=0)
    assert found.paged.tolist() == (any_counts & known).tolist()
    assert not (found.kind[score > 1] != Kind.WINDOW).any()
    assert (found.kind[~known] == Kind.WINDOW).all()


def test_kinds_that_nobody_knows_are_refused() -> None:
    assert switches_of(" modes,level,level ") == ("level", "modes")
    with pytest.raises(ValueError, match="no such evidence: window; known: level, season, drift, modes"):
        checked_switches(["window"])
