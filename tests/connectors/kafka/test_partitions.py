"""Bookkeeping of partitions, without a broker."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.partitions import GroupView, Lag, Partitions

BEGIN = 100
"""Where a group without committed offsets begins: offsets need not start at 0."""


def view(*held: int, lost: tuple[int, ...] = (), is_new: bool = False) -> GroupView:
    return GroupView(frozenset(held), frozenset(lost), is_new)


def test_a_new_partition_is_started_at_once_and_its_first_records_are_fetched_again() -> None:
    partitions = Partitions(awaits_start=False)
    change = partitions.follow(view(0, is_new=True), {0: 7})
    assert change.assigned == {0}
    assert change.seek == {0: 7}
    assert change.usable == frozenset()
    assert partitions.follow(view(0), {0: 7}).usable == {0}


def test_a_partition_that_awaits_its_start_is_not_used_before_it() -> None:
    partitions = Partitions(awaits_start=True)
    assert partitions.follow(view(0, 1, is_new=True), {}).assigned == {0, 1}
    change = partitions.follow(view(0, 1), {0: 7})
    assert (change.assigned, change.usable) == ({0, 1}, frozenset())
    assert partitions.is_waiting
    assert partitions.start({1: 40}, held={0, 1}) == {0: 7, 1: 40}
    assert not partitions.is_waiting
    assert partitions.follow(view(0, 1), {}).usable == {0, 1}


def test_a_partition_that_was_taken_away_before_its_start_is_not_started() -> None:
    partitions = Partitions(awaits_start=True)
    partitions.follow(view(0, 1, is_new=True), {})
    assert partitions.start({0: 1, 1: 1}, held={1}) == {1: 1}
    assert partitions.started == {1}


def test_a_kept_partition_is_read_on_from_where_it_was_after_a_rebalance() -> None:
    partitions = Partitions(awaits_start=False)
    partitions.follow(view(0, is_new=True), {0: 5})
    partitions.advance({0: 25})
    change = partitions.follow(view(0, 1, is_new=True), {0: 10, 1: 3})
    assert change.seek == {0: 25, 1: 3}
    assert change.assigned == {1}


@pytest.mark.parametrize(("committed", "expected"), [(20, 20), (None, 5)])
def test_a_partition_that_starts_over_is_read_from_its_committed_offset(
    committed: int | None, expected: int
) -> None:
    """Also without saved state: what could not be committed must not be skipped."""
    partitions = Partitions(awaits_start=False)
    partitions.follow(view(0, is_new=True), {0: 5})
    partitions.advance({0: 25})
    change = partitions.follow(view(0, lost=(0,)), {0: 25})
    assert (change.assigned, change.restart, change.usable) == ({0}, {0}, frozenset())
    assert partitions.resume({0: committed}) == {0: expected}
    assert partitions.follow(view(0), {0: expected}).usable == {0}


def test_a_partition_that_another_process_read_meanwhile_is_overtaken() -> None:
    partitions = Partitions(awaits_start=False)
    partitions.follow(view(0, 1, is_new=True), {})
    partitions.note_committed({0: 10, 1: 10})
    assert partitions.kept(view(0, 1, 2, lost=(1,), is_new=True)) == {0}
    assert partitions.overtaken({0: 10, 1: 11}) == {1}


def test_a_failed_commit_is_repeated_unless_the_partition_was_lost() -> None:
    partitions = Partitions(awaits_start=False)
    partitions.follow(view(0, 1, is_new=True), {})
    assert partitions.to_commit({0: 5, 1: 5}) == {0: 5, 1: 5}
    assert partitions.to_commit({1: 8}) == {0: 5, 1: 8}
    partitions.follow(view(1, lost=(0,)), {})
    assert partitions.to_commit({}) == {1: 8}
    partitions.commit_done()
    assert partitions.to_commit({}) == {}
    assert partitions.overtaken({1: 8}) == frozenset()


class Group:
    """A broker and a client that follow the rules of Kafka, and the next offset to expect by partition."""

    def __init__(self, awaits_start: bool) -> None:
        self.awaits_start = awaits_start
        self.partitions = Partitions(awaits_start)
        self.held: frozenset[int] = frozenset()
        self.committed: dict[int, int] = {}
        self.ends = dict.fromkeys(range(3), BEGIN)
        self.position: dict[int, int] = {}
        self.first: dict[int, int] = {}
        self.expected: dict[int, int] = {}

    def poll(self, num_records: int, assignment: frozenset[int] | None, starts_over: bool) -> None:
        lost: frozenset[int] = self.partitions.started if starts_over else frozenset()
        if assignment is not None:
            lost |= self.held - assignment
            self.held = assignment
            self.position = {n: self.committed.get(n, self.ends[n]) for n in assignment}
        fetched = {n: self.position[n] for n in self.held if num_records}
        for number, offset in fetched.items():
            self._seek({number: offset + num_records})
            self.first.setdefault(number, offset)
        group = GroupView(self.held, lost, assignment is not None)
        if group.is_new:
            overtaken = self.partitions.overtaken(
                {n: self.committed.get(n) for n in self.partitions.kept(group)}
            )
            group = GroupView(self.held, lost | overtaken, True)
        change = self.partitions.follow(group, fetched)
        self._seek(change.seek)
        self._seek(self.partitions.resume({n: self.committed.get(n) for n in change.restart}))
        for number in group.lost:
            self.expected.pop(number, None)
        for number in group.lost - group.held:
            self.first.pop(number, None)
        for number in change.assigned:
            begin = self.first.get(number, self.position[number])
            self.expected[number] = self.committed.get(number, begin)
        for number in change.usable & fetched.keys():
            assert fetched[number] == self.expected[number], "records were skipped or came twice"
            self.expected[number] += num_records
            self.partitions.advance({number: self.expected[number]})
        if self.awaits_start:
            known = {n: self.committed[n] for n in change.assigned & self.committed.keys()}
            self.partitions.note_committed({n: self.committed.get(n) for n in change.assigned})
            begins = self.partitions.start(known, self.held)
            self._seek({number: at for number, at in begins.items() if at is not None})
        assert self.partitions.started == self.held == self.expected.keys()
        assert {n: self.position[n] for n in self.held} == self.expected

    def commit(self) -> None:
        self.committed |= self.partitions.to_commit(self.expected)
        self.partitions.commit_done()

    def read_elsewhere(self, num_records: int) -> None:
        """The other processes of the group read and commit the partitions that are not held here."""
        for number in self.ends.keys() - self.held:
            self.committed[number] = self.committed.get(number, self.ends[number]) + num_records
            self.ends[number] = max(self.ends[number], self.committed[number])

    def _seek(self, offsets: dict[int, int]) -> None:
        self.position |= offsets
        for number, offset in offsets.items():
            self.ends[number] = max(self.ends[number], offset)


assignments = st.sampled_from([frozenset(), *map(frozenset, ([0], [0, 1], [0, 1, 2], [1, 2]))])
polls = st.tuples(st.integers(0, 3), st.none() | assignments, st.sampled_from([False, False, False, True]))
steps = polls | polls | st.sampled_from(["commit", "read elsewhere"])


@settings(max_examples=300)
@given(awaits_start=st.booleans(), schedule=st.lists(steps, max_size=30))
def test_every_record_behind_the_committed_offset_is_read_in_order(
    awaits_start: bool, schedule: list[tuple[int, frozenset[int] | None, bool] | str]
) -> None:
    """However the group assigns partitions, and however often their state is thrown away."""
    group = Group(awaits_start)
    group.poll(0, frozenset({0}), starts_over=False)
    for step in schedule:
        if step == "commit":
            group.commit()
        elif isinstance(step, tuple):
            group.poll(*step)
        else:
            group.read_elsewhere(2)


def test_lag_is_the_distance_to_the_end_and_the_age_of_the_newest_record() -> None:
    lag = Lag()
    now = 1_700_000_000_000
    lag.read({0: now - 3_000, 1: now - 2_000, 2: -1})
    lag.measure({0: 10, 1: 10, 2: 10, 3: 10}, {0: 15, 1: 9, 2: 11, 3: None})
    assert lag.messages == {0: 5, 1: 0, 2: 1}
    assert lag.seconds(now) == {0: 3.0, 1: 0.0}
    lag.forget({0})
    assert lag.seconds(now) == {1: 0.0}


@pytest.mark.parametrize("stamp_ms", [-1, 0, 1, 1_700_000_000, 631_151_999_999])
def test_a_stamp_before_1990_is_no_age(stamp_ms: int) -> None:
    lag = Lag()
    lag.read({0: stamp_ms})
    lag.measure({0: 10}, {0: 15})
    assert lag.seconds(1_700_000_000_000) == {}
