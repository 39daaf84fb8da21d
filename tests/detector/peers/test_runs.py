"""The newest blocks of series in arrays: against lists of each series."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.artifact.peers.peers import RUN
from detector.peers.runs import Runs

OLD = 4
STEPS = st.lists(
    st.tuples(st.integers(1, 6), st.sets(st.sampled_from("abcd"), min_size=1), st.sets(st.just("a")))
)


@given(STEPS)
def test_the_newest_blocks_are_those_of_a_list_of_each_series(
    steps: list[tuple[int, set[str], set[str]]],
) -> None:
    runs, number = Runs(1, OLD), 0
    wanted: dict[str, list[int]] = {}
    for later, names, dropped in steps:
        number += later
        run = runs.add(sorted(names), number, np.full((len(names), 1), float(number)))
        for at, name in enumerate(sorted(names)):
            wanted[name] = [*wanted.get(name, []), number][-RUN:]
            young = [one for one in wanted[name] if number - one < OLD]
            assert run.number[at, run.known[at]].tolist() == young
            assert run.distance[at, run.known[at], 0].tolist() == young
        for name, own in wanted.items():
            assert runs.is_over(name, number) == (number - own[-1] >= OLD)
        runs.drop(dropped)
        for name in dropped:
            wanted.pop(name, None)
