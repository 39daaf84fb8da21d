"""A model that is out of use for a while, without a broker: nothing of it is published twice or missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Message, Position, Raw, RawColumns, Readings
from connectors.wide_json.decoder import JsonWideCodec
from detector.delivery.marks import MARK, decode_mark
from detector.delivery.messages import MessageEncoder
from detector.delivery.messages import Topics as OutputTopics
from detector.delivery.recovery import Recovery
from detector.delivery.routing.router import Router
from detector.delivery.sink import MessageSink
from detector.engine.group.group import EngineGroup
from detector.service.plant.group_sink import GroupSink
from detector.service.plant.last_save import save_at_stop
from tests.detector.delivery.test_recovery import TOPIC, Topics
from tests.plant.kinds import NOW_MS, PRESS, PUMP, members

SERIES = (*((f"pump-{at}", PUMP) for at in range(3)), *((f"press-{at}", PRESS) for at in range(3)))
BOTH, PUMPS = ("pump", "press"), ("pump",)
Published = Counter


def rows(num: int) -> list[bytes]:
    """Messages of three pumps and three presses; each row has six of them."""
    rng = np.random.default_rng(0)
    return [
        json.dumps(
            {
                "series": series,
                "timestamp": NOW_MS + 10 * row,
                "values": dict(zip(channels, rng.standard_normal(len(channels)).tolist(), strict=True)),
            }
        ).encode()
        for row in range(num)
        for series, channels in SERIES
    ]


ROWS = rows(180)


class Broker:
    """Commits state and position together, as a transaction does."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def deliver(self, messages: Sequence[Message], position: Position, state: Sequence[Message] = ()) -> None:
        self._topics.commit(position, state)


def run(
    topics: Topics, kinds: Sequence[str], cuts: Sequence[int], published: Published, stops: bool = True
) -> None:
    """Run a process with the models of these kinds up to the last cut; it is stopped cleanly, or killed."""
    group = EngineGroup([one for one in members() if one.name in kinds])
    recovery = Recovery(topics.read_state, "state", PartitionNumbers(TOPIC), 200)
    save = partial(recovery.save, group)
    encoder = MessageEncoder(OutputTopics.of("out"), "pump", "1", PUMP)
    sink = GroupSink(MessageSink(encoder, Broker(topics), save, recovery.standing), {})
    router, codec = Router(group, most_logged=0), JsonWideCodec(group.columns.names)
    nothing = Readings.empty(len(group.columns.names))
    recovery.prepare(topics, group, Batch(nothing, assigned=frozenset({0})))
    at = topics.starts.get(0, 0)
    for cut in [cut for cut in cuts if cut > at]:
        raw = [Raw(TOPIC, 0, offset, NOW_MS, None, ROWS[offset]) for offset in range(at, cut)]
        found = codec.decode_columns(RawColumns.of(raw))
        batch = router.route(Batch(found.readings, found.rejects, position={(TOPIC, 0): cut}))
        live = recovery.prepare(topics, group, batch)
        for part in group.step(live.readings):
            verdicts = part.result.verdicts
            times = ((verdicts.timestamp_ns // 10**6 - NOW_MS) // 10).tolist()
            published.update(
                zip([verdicts.names[one] for one in verdicts.series.tolist()], times, strict=True)
            )
        sink.commit(live.position or {})
        at = cut
    if stops:
        save_at_stop(group, recovery, sink)


def rows_of(published: Published, series: str) -> list[int]:
    return sorted(row for name, row in published.elements() if name == series)


STEPS = [(420,), (350, 420), tuple(range(10, 421, 10))]
LATER = [(840,), (600, 840), tuple(range(430, 841, 10))]


@pytest.mark.parametrize("first", STEPS, ids=len)
@pytest.mark.parametrize("second", LATER, ids=len)
def test_a_model_that_was_out_publishes_each_of_its_rows_once(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    topics, published = Topics(), Published()
    run(topics, BOTH, first, published)
    run(topics, PUMPS, second, published)
    run(topics, BOTH, (900, 1080), published)
    assert rows_of(published, "pump-1") == list(range(178))
    seen = rows_of(published, "press-1")
    assert [row for row in seen if row < 70] == list(range(70)), "nothing of before is doubled or missing"
    assert [row for row in seen if row >= 140] == list(range(140, 178)), "nor of after"


def test_no_replay_is_needed_after_a_clean_stop() -> None:
    topics = Topics()
    run(topics, BOTH, (200, 350, 420), Published())
    mark = decode_mark(topics.state[0][MARK])
    assert mark is not None
    assert mark.next == mark.replay_from == 420
    run(topics, BOTH, (), Published())
    assert topics.starts == {0: 420}
