"""A verification that reads all readings in one batch, of a service that changed its version among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from connectors.records import Message
from detector.artifact.registry import publish
from detector.config.load import load_config
from detector.engine.engine import Engine
from detector.verify.rescoring import Judging, Rescoring
from detector.verify.rows import Published, rows_of
from detector.verify.versions import Model, Versions
from tests.plant.kinds import PUMP
from tests.support.artifacts import make_artifact
from tests.support.strategies import readings_of

SECOND_NS = 10**9
NUM = 60
READINGS = readings_of(
    np.arange(NUM) % 3,
    np.arange(NUM) // 3 * SECOND_NS + 1_700_000_000 * SECOND_NS,
    np.random.default_rng(3).standard_normal((NUM, len(PUMP))),
)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """A registry with versions of windows 8 and 10; the one of window 8 is in use."""
    for window in (10, 8):
        made = make_artifact(PUMP, threshold=0.8, window=window, interval_ns=SECOND_NS, seed=window)
        publish(replace(made, spec=replace(made.spec, name="pump")), tmp_path / "pump")
    path = tmp_path / "streamgauge.toml"
    path.write_text(
        f'[model]\npath = "{tmp_path / "pump"}"\n[kafka]\nbootstrap_servers = ["localhost:1"]\ntopic = "t"\n'
    )
    config = load_config(path, {})
    return Versions(config, config.model)


def judged_by(models: Sequence[Model], cuts: Sequence[int]) -> list[Message]:
    """What a service publishes that judges with each of the models up to the next cut."""
    engine = Engine(models[0].artifact, models[0].options)
    found: list[Message] = []
    number = np.arange(NUM)
    for at, (model, first, stop) in enumerate(zip(models, (0, *cuts), (*cuts, NUM), strict=True)):
        if at:
            fresh = Engine(model.artifact, model.options)
            if fresh.origin.layout != engine.origin.layout:
                found += models[at - 1].encoder.verdicts(engine.finish_waiting().verdicts)
            engine.take_over(fresh)
        taken = READINGS.take((first <= number) & (number < stop))
        found += model.encoder.verdicts(engine.step(taken).verdicts)
    return found


def rescoring(versions: Versions, first: Model, published: Published) -> Rescoring:
    return Rescoring(Judging(versions.name, first, versions.of, PUMP, published, ()))


@pytest.mark.parametrize("cuts", [(30, 45), (7, 8), (31, 59), (1, 58)])
def test_a_version_that_comes_back_by_a_rollback_is_found_within_one_batch(
    versions: Versions, cuts: tuple[int, int]
) -> None:
    first = versions.current
    second = other_of(versions)
    messages = judged_by((first, second, first), cuts)
    expected = [row for message in messages for row in rows_of(message.value or b"")]
    found = list(rescoring(versions, first, Published.of(messages, 0)).judged(READINGS))
    assert {row.version for row in expected} == {row.version for row in found}
    assert sorted((row.series, row.time_ms, row.digest) for row in found) == sorted(
        (row.series, row.time_ms, row.digest) for row in expected
    )


def other_of(versions: Versions) -> Model:
    """The version that is not in use."""
    (name,) = {path.name for path in Path(versions.entry.path).iterdir() if path.is_dir()} - {
        versions.current.artifact.version,
        "feedback",
    }
    found = versions.of(name)
    assert found is not None
    return found


def test_a_version_that_no_change_explains_ends_and_differs(versions: Versions) -> None:
    """Rows of one series alone name the other version: no change of all series gives them."""
    first, second = versions.current, other_of(versions)
    messages = judged_by((first,), ())
    name, (old, new) = READINGS.names[0], (first.artifact.version, second.artifact.version)
    swapped = [
        replace(one, value=(one.value or b"").replace(old.encode(), new.encode()))
        if one.key == name.encode()
        else one
        for one in messages
    ]
    rows = [row for message in swapped for row in rows_of(message.value or b"")]
    found = list(rescoring(versions, first, Published.of(swapped, 0)).judged(READINGS))
    assert {(row.series, row.time_ms) for row in found} == {(row.series, row.time_ms) for row in rows}
    assert {row.digest for row in found} != {row.digest for row in rows}
