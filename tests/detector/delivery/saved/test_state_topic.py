"""Whose state is whose in the state topic, with one input topic and with several."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from connectors.partition_numbers import PartitionNumbers
from detector.delivery.marks import MARK, Mark
from detector.delivery.saved.state_topic import StateTopic

TOPICS = ("pumps", "pumps-2", "presses")


def several() -> StateTopic:
    return StateTopic("state", PartitionNumbers())


def mark(following: int, topic: str) -> bytes:
    return msgspec.json.encode(Mark(following, following, following, topic))


@given(
    st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(0, 2), st.text(min_size=1, max_size=5))),
    st.permutations(TOPICS),
)
def test_another_process_finds_what_was_saved_whatever_order_it_meets_the_topics_in(
    saved: list[tuple[str, int, str]], order: list[str]
) -> None:
    writer, reader = several(), several()
    lying: dict[int, dict[bytes, bytes]] = {0: {}, 1: {}, 2: {}}
    for topic, partition, series in saved:
        message = writer.message(writer.numbers.number(topic, partition), series.encode(), b"x")
        assert (message.topic, message.partition) == ("state", partition)
        assert message.key is not None
        lying[partition][message.key] = b"x"
    for topic in order:
        for partition in range(3):
            number = reader.numbers.number(topic, partition)
            found = reader.records(number, lying, "")
            assert set(found.own) == {
                series.encode() for of, at, series in saved if (of, at) == (topic, partition)
            }
            assert not found.is_foreign


def test_the_keys_of_one_topic_are_plain() -> None:
    one = StateTopic("state", PartitionNumbers("pumps"))
    message = one.message(3, b"pump-1", b"x")
    assert (message.key, message.partition) == (b"pump-1", 3)
    found = {b"pump-1": b"x", b"\0presses\0press-1": b"y", MARK: mark(5, "id")}
    assert one.records(3, {3: found}, "id").own == {b"pump-1": b"x", MARK: found[MARK]}


def test_records_of_the_other_form_count_where_their_mark_is_of_this_very_topic_and_newer() -> None:
    plain = {b"pump-1": b"old", b"gone": b"old", MARK: mark(10, "id")}
    named = {b"\0pumps\0pump-1": b"new", b"\0pumps\0": mark(20, "id")}
    one, many = StateTopic("state", PartitionNumbers("pumps")), several()
    number = many.numbers.number("pumps", 0)
    taken = many.records(number, {0: plain}, "id")
    assert (taken.own, taken.is_foreign, taken.obsolete) == (plain, True, {MARK})
    assert not many.records(number, {0: plain}, "another").own
    assert not many.records(number, {0: plain}, "").own
    assert not many.records(many.numbers.number("presses", 0), {0: plain}, "id of presses").own
    back = one.records(0, {0: plain | named}, "id")
    assert (back.own, back.is_foreign) == ({b"pump-1": b"new", MARK: mark(20, "id")}, True)
    assert back.obsolete == {b"gone", b"\0pumps\0"}
    assert one.deletion(0, b"gone").key == b"gone"
    older = many.records(number, {0: {**plain, MARK: mark(30, "id")} | named}, "id")
    assert older.is_foreign
    kept = many.records(number, {0: plain | named}, "id")
    assert (kept.is_foreign, kept.obsolete) == (False, {MARK})
    recreated = {b"\0pumps\0pump-1": b"x", b"\0pumps\0": mark(99, "before")}
    assert many.records(number, {0: plain | recreated}, "id").own == plain
