"""What a training learns of the distances between series, and what a description may say of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.artifact.description.fields import spec_from
from detector.artifact.peers.peers import peers_section
from detector.artifact.spec import Spec
from detector.errors import ArtifactError
from detector.peers.crowd import backtested
from tests.detector.peers.machines import DAY_ROWS, Crowd, verdicts_of
from trainer.data.history import build_history
from trainer.peers.fit_peers import _limits, fit_peers

HISTORY = Crowd(1)


def learnt(spec: Spec, values: np.ndarray, machines: Crowd = HISTORY) -> Spec:
    """Return the model with the peers of a history, float64 [machines, rows, 2]."""
    chunk = machines.chunk(values)
    with build_history(lambda: iter([chunk]), spec.channel_names, spec.interval_ns, 3) as history:
        return replace(spec, peers=fit_peers(spec, history))


@pytest.mark.parametrize(
    ("minutes", "rows", "block_minutes"),
    [(15, 14 * 96, 360), (15, 10 * 96, 360), (5, 14 * 96, 180), (1, 14 * 96, 30), (15, 5 * 96, None)],
)
def test_blocks_are_a_quarter_of_a_day_or_shorter_where_the_history_is_short(
    minutes: int, rows: int, block_minutes: int | None
) -> None:
    peers = Crowd(1, rows=rows, row_ns=minutes * 60 * 10**9).spec().peers
    assert (None if peers is None else peers.block_ns / 60e9) == block_minutes


def test_what_is_learnt_survives_a_file_and_the_card_says_it() -> None:
    spec = HISTORY.spec()
    assert spec.peers is not None
    again = spec_from(json.loads(json.dumps(asdict(spec))), Path("manifest.json"))
    assert again.peers == spec.peers
    said = peers_section(spec.peers, spec.channel_names, 8)
    assert "8 series are compared with each other, in blocks of 6 h" in said
    assert "not compared" in peers_section(None, spec.channel_names, 3)
    assert peers_section(None, spec.channel_names, 1) == ""


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("block_ns", 0, "block_ns"),
        ("limits", [1.0], "lists of 4"),
        ("limits", [1.0, 1.0, 1.0, -1.0], "not below 0"),
        ("share", [0.5, 2.0], "at most 1"),
        ("weights", [[0.0, 1.0]], "needed 2"),
        ("levels", {}, "the same series"),
        ("units", {f"pump-{at}": [0.0] * 4 for at in range(8)}, "positive"),
        ("units", {f"pump-{at}": [float("nan")] * 4 for at in range(8)}, "finite"),
    ],
)
def test_a_description_with_wrong_numbers_is_refused(field: str, value: Any, words: str) -> None:
    raw = asdict(HISTORY.spec())
    raw["peers"][field] = value
    with pytest.raises(ArtifactError, match=words):
        spec_from(raw, Path("manifest.json"))


def test_an_older_description_has_no_peers() -> None:
    raw = asdict(HISTORY.spec())
    del raw["peers"]
    assert spec_from(raw, Path("manifest.json")).peers is None


def test_a_fault_of_one_machine_in_the_history_hides_no_fault_of_another() -> None:
    spec, values = HISTORY.spec(), HISTORY.values()
    values[5, 9 * DAY_ROWS : 12 * DAY_ROWS, 1] += 8.0
    faulty = learnt(spec, values)
    assert faulty.peers is not None
    np.testing.assert_allclose(faulty.peers.limits, spec.peers.limits, rtol=0.35)
    live = Crowd(1, rows=6 * DAY_ROWS, start=14 * DAY_ROWS)
    now = live.values()
    now[3, DAY_ROWS:, 1] += np.linspace(0.0, 4.0, 5 * DAY_ROWS)
    found = backtested(faulty, [verdicts_of(live.names, live.timestamp_ns, now)])
    assert {one.series for one in found} == {"pump-3"}


def test_a_channel_that_never_moves_is_not_compared() -> None:
    spec, values = HISTORY.spec(), HISTORY.values()
    values[:, :, 1] = 7.0
    still = replace(spec, channels=(spec.channels[0], replace(spec.channels[1], law="constant")))
    peers = learnt(still, values).peers
    assert peers is not None
    assert [limit > 0 for limit in peers.limits] == [True, False, True, False]
    assert "Not in heat" in peers_section(peers, spec.channel_names, 8)


def test_a_limit_is_that_of_the_largest_distance_that_lasted_in_any_series_but_one() -> None:
    rng = np.random.default_rng(4)
    distance = rng.normal(0.0, 20.0, (40, 5, 3))
    distance[rng.random(distance.shape) < 0.1] = np.nan
    distance[rng.random((40, 5)) < 0.3] = np.nan
    distance[:38, 4] = np.nan
    largest = np.zeros((5, 3))
    for series, feature in np.ndindex(5, 3):
        known = [row[feature] for row in distance[:, series] if not np.isnan(row).all()]
        for run in zip(known, known[1:], known[2:], strict=False):
            if not np.isnan(run).any() and abs(np.sign(run).sum()) == 3:
                largest[series, feature] = max(largest[series, feature], np.abs(run).min())
    wanted = np.maximum(3.5, 1.5 * np.sort(largest, axis=0)[-2])
    np.testing.assert_array_equal(_limits(distance), wanted)


def test_rows_before_the_newest_400_blocks_are_not_read() -> None:
    long = Crowd(1, 5, rows=430 * DAY_ROWS // 4)
    values = long.values()
    spec = long.spec()
    values[:, : 30 * DAY_ROWS // 4] = 50.0
    assert learnt(spec, values, long).peers == spec.peers
    values[:, : 31 * DAY_ROWS // 4] = 50.0
    assert learnt(spec, values, long).peers != spec.peers


def test_machines_that_never_send_at_the_same_time_are_not_compared() -> None:
    values = HISTORY.values()
    for machine in range(8):
        values[machine, np.arange(14 * DAY_ROWS) // (2 * DAY_ROWS) != machine % 7] = np.nan
    assert learnt(HISTORY.spec(), values).peers is None
