"""The backlog: order within a series, turns between series, positions that pass nothing undelivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detector.notify.backlog import Backlog, Pending

MESSAGES = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40)
STEPS = st.lists(st.booleans(), max_size=200)


@given(MESSAGES, STEPS)
def test_each_entry_comes_once_in_order_and_no_position_passes_a_pending_one(
    messages: list[tuple[str, bool]], steps: list[bool]
) -> None:
    """Each series has a partition of its own, as its key would give it. Unwanted ones are only marked."""
    backlog: Backlog[int] = Backlog(1_000)
    wanted: dict[str, list[int]] = {series: [] for series in "abc"}
    read: dict[str, int] = {}
    done: dict[str, list[int]] = {series: [] for series in "abc"}

    def check() -> None:
        positions = backlog.positions()
        for series, offset in read.items():
            left = wanted[series][len(done[series]) :]
            assert positions["abc".index(series)] == (left[0] if left else offset + 1)

    def deliver(works: bool) -> None:
        head = backlog.head()
        if head is None:
            return
        if works:
            done[head.series].append(head.offset)
            backlog.finish_head()
        else:
            backlog.rotate()
        check()

    pending_steps = iter(steps)
    for number, (series, is_wanted) in enumerate(messages):
        partition = "abc".index(series)
        if is_wanted:
            backlog.add(Pending(series, partition, number, number))
            wanted[series].append(number)
        backlog.mark_read(partition, number)
        read[series] = number
        check()
        deliver(next(pending_steps, True))
    while len(backlog):
        deliver(True)
    assert done == wanted


def test_a_failing_series_does_not_delay_the_others() -> None:
    backlog: Backlog[str] = Backlog(10)
    for offset, series in enumerate("aab"):
        backlog.add(Pending(series, 0, offset, series))
        backlog.mark_read(0, offset)
    backlog.rotate()
    assert backlog.head().series == "b"
    backlog.finish_head()
    assert (backlog.head().offset, backlog.positions()) == (0, {0: 0})


def test_room_shrinks_to_zero_and_grows_again() -> None:
    backlog: Backlog[int] = Backlog(2)
    for offset in range(3):
        backlog.add(Pending("a", 0, offset, offset))
    assert (len(backlog), backlog.room) == (3, 0)
    backlog.finish_head()
    backlog.finish_head()
    assert backlog.room == 1
    backlog.clear()
    assert (len(backlog), backlog.room, backlog.head(), backlog.positions()) == (0, 2, None, {})
