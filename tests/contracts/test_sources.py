"""What every Source promises: order, completeness, an end, offsets, bounded waiting."""

from __future__ import annotations

import time

import numpy as np
import pytest

from connectors.records import Batch, Source
from tests.contracts.conftest import BATCH, CHANNELS, NUM, SourceKit, history

WAIT_SECONDS = 60.0


def read(source: Source, num: int = NUM) -> list[Batch]:
    """The batches until `num` readings have come."""
    batches: list[Batch] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while sum(len(batch.readings) for batch in batches) < num:
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s: {batches}"
        batch = source.poll(0.2)
        assert batch is not None, "the input has ended too early"
        batches.append(batch)
    return batches


def test_all_readings_come_once_and_in_order(source_kit: SourceKit) -> None:
    batches = read(source_kit.start())
    found, expected = [batch.readings for batch in batches], history()
    values = np.concatenate([one.values for one in found])
    names = [one.names[code] for one in found for code in one.series]
    assert values.tolist() == expected.values.tolist()
    assert names == [expected.names[code] for code in expected.series]
    times = [int(when) for one in found for when in one.timestamp_ns]
    assert times == expected.timestamp_ns.tolist()


def test_a_batch_is_bounded_and_its_columns_agree(source_kit: SourceKit) -> None:
    for batch in read(source_kit.start()):
        found = batch.readings
        assert len(found) <= BATCH
        assert found.values.shape == (len(found), len(CHANNELS))
        assert {len(found.series), len(found.partition), len(found.offset)} == {len(found)}
        assert sorted(set(found.series.tolist())) == list(range(len(found.names))), "only names in use"


def test_offsets_count_the_readings_and_the_position_is_behind_them(source_kit: SourceKit) -> None:
    batches = [batch for batch in read(source_kit.start()) if len(batch.readings)]
    assert [offset for batch in batches for offset in batch.readings.offset] == list(range(NUM))
    for batch in batches:
        for (_, partition), at in (batch.position or {}).items():
            mine = batch.readings.partition == partition
            assert at == batch.readings.offset[mine].max() + 1


def test_an_input_that_ends_returns_none_and_a_topic_returns_empty_batches(source_kit: SourceKit) -> None:
    source = source_kit.start()
    read(source)
    began = time.monotonic()
    for _ in range(3):
        batch = source.poll(0.1)
        assert (batch is None) == source_kit.ends
        assert batch is None or len(batch.readings) == 0
    assert time.monotonic() - began < 10.0, "poll waits for about its timeout"


@pytest.mark.parametrize("num", [0, BATCH, NUM])
def test_a_source_may_be_closed_at_any_time_and_twice(source_kit: SourceKit, num: int) -> None:
    source = source_kit.start()
    read(source, num)
    source.close()
    source.close()
