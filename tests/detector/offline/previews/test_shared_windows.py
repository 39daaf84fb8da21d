"""Members that remember windows give what the members give, in every bit."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.models.ensemble import Ensemble
from detector.offline.previews.shared_windows import forget_windows, shared_ensemble
from tests.support.artifacts import make_artifact

WINDOW, CHANNELS, BATCH = 8, 2, 6
POOL = torch.from_numpy(np.random.default_rng(5).normal(size=(9, WINDOW, CHANNELS)).astype(np.float32))
KNOWN = torch.from_numpy(np.random.default_rng(6).random((9, WINDOW, CHANNELS)) > 0.2)
ENSEMBLE = Ensemble([make_artifact(window=WINDOW).module[0]]).eval()
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


@settings(max_examples=40, deadline=None)
@given(CALLS)
def test_the_outputs_are_those_of_the_member(calls: list[tuple[list[int], bool, int, bool]]) -> None:
    shared = shared_ensemble(ENSEMBLE)
    for chosen, has_holes, span, forgets in calls:
        known = KNOWN[chosen] if has_holes else None
        with torch.inference_mode():
            found, expected = (one[0](POOL[chosen], known, span) for one in (shared, ENSEMBLE))
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        if forgets:
            forget_windows(shared)


def test_windows_that_are_remembered_are_not_run_again() -> None:
    shared, runs = shared_ensemble(ENSEMBLE), []
    shared[0].autoencoder.register_forward_hook(lambda *given: runs.append(1))
    try:
        with torch.inference_mode():
            shared[0](POOL[:BATCH], None, 1)
            once = len(runs)
            shared[0](POOL[:BATCH].flip(0), None, 1)
            assert len(runs) == once > 0
            shared[0](POOL[:BATCH], None, 2)
            assert len(runs) == 2 * once
            forget_windows(shared)
            shared[0](POOL[:BATCH], None, 2)
            assert len(runs) == 3 * once
    finally:
        shared[0].autoencoder._forward_hooks.clear()
