"""Members that remember windows give what the members give, in every bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.spec import Artifact
from detector.offline.previews.shared_windows import SharedEnsemble, SharedMember
from tests.support.artifacts import in_numpy, make_artifact

WINDOW, CHANNELS, BATCH = 8, 2, 6
POOL = np.random.default_rng(5).normal(size=(9, WINDOW, CHANNELS)).astype(np.float32)
KNOWN = np.random.default_rng(6).random((9, WINDOW, CHANNELS)) > 0.2
ARTIFACT = make_artifact(window=WINDOW)
CALLS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 8), min_size=BATCH, max_size=BATCH),
        st.booleans(),
        st.integers(1, WINDOW),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
each_executor = pytest.mark.parametrize("artifact", [ARTIFACT, in_numpy(ARTIFACT)], ids=["torch", "numpy"])


@each_executor
@settings(max_examples=40, deadline=None)
@given(CALLS)
def test_the_outputs_are_those_of_the_member(
    artifact: Artifact, calls: list[tuple[list[int], bool, int, bool]]
) -> None:
    shared = SharedEnsemble(artifact.module)
    for chosen, has_holes, span, forgets in calls:
        known = KNOWN[chosen] if has_holes else None
        found, expected = (one[0].on("cpu")(POOL[chosen], known, span) for one in (shared, artifact.module))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        if forgets:
            shared.forget()


class Counted:
    """A member that counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self._runner = ARTIFACT.module[0].on("cpu")

    def on(self, device: str) -> Counted:
        return self

    def __call__(self, *given: object) -> object:
        self.runs += 1
        return self._runner(*given)


def test_windows_that_are_remembered_are_not_run_again() -> None:
    member = Counted()
    shared = SharedMember(member)
    run = shared.on("cpu")
    run(POOL[:BATCH], None, 1)
    run(POOL[:BATCH][::-1].copy(), None, 1)
    assert member.runs == 1
    run(POOL[:BATCH], None, 2)
    assert member.runs == 2
    shared.forget()
    shared.on("cpu")(POOL[:BATCH], None, 2)
    assert member.runs == 3
