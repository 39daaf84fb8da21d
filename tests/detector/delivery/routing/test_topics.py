"""Models that have topics judge the series of these topics alone, however the stream is cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch
from connectors.wide_json.decoder import JsonWideCodec
from detector.delivery.routing.router import Router
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member
from tests.plant.kinds import batch_of, members, messages


def placed(batch: Batch, numbers: PartitionNumbers, topics: list[str]) -> Batch:
    """The batch with each message in the topic of its offset."""
    places = [numbers.number(topic, 0) for topic in topics]
    readings = batch.readings
    partition = np.array([places[at % len(places)] for at in readings.offset.tolist()], np.int32)
    rejects = tuple(
        replace(one, topic=topics[one.offset % len(topics)], partition=places[one.offset % len(places)])
        for one in batch.rejects
    )
    return replace(batch, readings=replace(readings, partition=partition), rejects=rejects)


@settings(max_examples=15)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 120), max_size=6),
    st.permutations(["pumps", "presses", "yard-1"]),
)
def test_no_reading_of_another_topic_reaches_a_model(seed: int, cuts: list[int], topics: list[str]) -> None:
    pump, press = members(patterns=False)
    own = {"pump": {"pumps"}, "press": {"presses", "yard-1"}}
    group = EngineGroup(
        [Member(pump.engine, (), 1, ("pumps",)), Member(press.engine, (), 1, ("presses", "yard-*"))]
    )
    numbers = PartitionNumbers()
    router, codec = Router(group, most_logged=0, numbers=numbers), JsonWideCodec(group.columns.names)
    values, found = messages(seed, 120), 0
    for start, stop in pairwise([0, *sorted(cuts), 120]):
        after = router.route(placed(batch_of(codec, values[start:stop], start), numbers, topics))
        found += len(after.readings)
        for part in group.step(after.readings):
            assert numbers.topics_of(part.readings.partition.tolist()) <= own[part.member.name]
    assert found > 0
    assert sum(router.unassigned.messages.values()) > 0


def test_a_name_of_another_topic_is_unassigned_by_its_topic() -> None:
    pump, _ = members()
    group = EngineGroup([Member(pump.engine, (), 1, ("pumps",))])
    numbers = PartitionNumbers()
    router, codec = Router(group, most_logged=0, numbers=numbers), JsonWideCodec(group.columns.names)
    value = [b'{"series": "pump-1", "timestamp": 1700000000000, "values": {"flow": 1}}'] * 4
    after = router.route(placed(batch_of(codec, value), numbers, ["pumps", "other"]))
    assert after.readings.offset.tolist() == [0, 2]
    assert router.unassigned.messages == {"name": 2, "channels": 0}
    assert [one.name for one in router.unassigned.most] == ["pump-1 in topic other"]
