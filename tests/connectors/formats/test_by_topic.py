"""Each topic in its own form: the same readings as its own codec alone gives, however the stream is cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import WaitingError
from connectors.formats.by_topic import TopicCodecs
from connectors.formats.channels import Selection
from connectors.formats.codec import codec_of
from connectors.formats.form import Form
from connectors.records import Decoded, Raw, RawColumns
from connectors.times import Clock

CHANNELS = ("flow", "heat")
NOW_MS = 1_700_000_000_000
WIDE = codec_of(CHANNELS, Form())
RENAMED = Selection(rename={"m_flow": "flow", "m_heat": "heat"})
LINES = codec_of(CHANNELS, Form("line_protocol", ("$.host",), clock=Clock("ms"), selection=RENAMED))
BOTH = TopicCodecs([(("plant-*",), LINES), (("plant-1",), WIDE)], WIDE)


def value_of(topic: str, at: int, kind: int) -> bytes:
    if kind == 0:
        return b"{oops"
    if topic.startswith("plant"):
        return f"m,host=s{at % 3} {'flow' if kind < 4 else 'mood'}={at} {NOW_MS + at}".encode()
    body = {"series": f"s{at % 3}", "timestamp": NOW_MS + at, "values": {"heat": at}}
    return json.dumps(body).encode()


def rows(decoded: Decoded, topic_of: list[str]) -> dict[str, list[tuple]]:
    """Topic -> what it gave, in order."""
    found: dict[str, list[tuple]] = {}
    one = decoded.readings
    for at in range(len(one)):
        cells = tuple(np.nan_to_num(one.values[at], nan=-1.0).tolist())
        row = (one.names[one.series[at]], int(one.timestamp_ns[at]), cells, int(one.offset[at]))
        found.setdefault(topic_of[int(one.partition[at])], []).append(row)
    for reject in decoded.rejects:
        found.setdefault(f"{reject.topic} rejects", []).append((reject.reason, reject.offset))
    return found


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_every_topic_gives_what_its_own_codec_gives(messages: list[tuple[int, int]], cuts: list[int]) -> None:
    topics = ["pumps", "plant-1", "plant-2", "other"]
    raws = [
        Raw(topics[of], of, at, NOW_MS, None, value_of(topics[of], at, kind))
        for at, (of, kind) in enumerate(messages)
    ]
    found: dict[str, list[tuple]] = {}
    unknown = 0
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(raws)], strict=True):
        decoded = BOTH.decode_columns(RawColumns.of(raws[start:stop]))
        unknown += decoded.unknown_values
        for topic, more in rows(decoded, topics).items():
            found.setdefault(topic, []).extend(more)
    wanted: dict[str, list[tuple]] = {}
    counted = 0
    for of, topic in enumerate(topics):
        codec = LINES if topic.startswith("plant") else WIDE
        decoded = codec.decode_columns(RawColumns.of([raw for raw in raws if raw.partition == of]))
        wanted |= rows(decoded, topics)
        counted += decoded.unknown_values
    assert (found, unknown) == (wanted, counted)


def test_strangers_of_all_forms_are_added_up() -> None:
    twice = TopicCodecs([(("a",), LINES)], LINES)
    raws = [
        Raw(topic, 0, at, NOW_MS, None, b"m,host=s mood=1 1700000000000") for at, topic in enumerate("ab")
    ]
    assert twice.decode_columns(RawColumns.of(raws)).strangers == {"s": 2}


def test_what_must_wait_says_so() -> None:
    class Waits:
        channels = CHANNELS

        def decode_columns(self, raw: RawColumns) -> Decoded:
            raise WaitingError("no schema", {("a", 5): int(raw.offset[0])}, 0.1)

    codec = TopicCodecs([(("a",), Waits())], WIDE)
    raws = [Raw("b", 0, 3, NOW_MS, None, b"{}"), Raw("a", 5, 9, NOW_MS, None, b"")]
    with pytest.raises(WaitingError) as caught:
        codec.decode_columns(RawColumns.of(raws))
    assert caught.value.begins == {("a", 5): 9}
