"""Numbers of partitions: one topic keeps its own, several topics share them without a clash."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from connectors.partition_numbers import PartitionNumbers

PLACES = st.lists(st.tuples(st.sampled_from(["a", "b", "a-b"]), st.integers(0, 300)), max_size=40)


@given(PLACES)
def test_numbers_of_several_topics_are_dense_and_go_back_to_their_places(
    places: list[tuple[str, int]],
) -> None:
    numbers = PartitionNumbers()
    found = [numbers.number(*place) for place in places]
    assert [numbers.place(number) for number in found] == places
    assert sorted(set(found)) == list(range(len(set(places))))
    position = dict.fromkeys(places, 7)
    assert numbers.position(numbers.of(position)) == position
    assert numbers.topics_of(found) == {topic for topic, _ in places}


@given(st.lists(st.integers(0, 300)))
def test_the_numbers_of_one_topic_are_its_own(partitions: list[int]) -> None:
    numbers = PartitionNumbers("pumps")
    assert [numbers.number("pumps", one) for one in partitions] == partitions
    assert all(numbers.place(one) == ("pumps", one) for one in partitions)
    assert all(numbers.words(one) == {"partition": one} for one in partitions)


def test_threads_that_meet_the_same_partitions_agree() -> None:
    numbers = PartitionNumbers()
    places = [(topic, partition) for topic in "abcd" for partition in range(50)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: numbers.number(*place), places * 8))
    assert found == found[: len(places)] * 8
    assert len(set(found)) == len(places)
