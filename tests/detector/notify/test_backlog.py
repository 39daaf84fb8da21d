"""The backlog: order within a series, turns between them, positions that pass nothing undelivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detector.notify.backlog import Backlog, Pending

MESSAGES = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40)
STEPS = st.lists(st.booleans(), max_size=200)


@given(MESSAGES, STEPS)
def test_everything_comes_once_in_order_per_series_and_no_position_passes_what_is_pending(
    messages: list[tuple[str, bool]], steps: list[bool]
) -> None:
    """Each series has a partition of its own, as its key would give it; what is not wanted is passed over."""
    backlog: Backlog[int] = Backlog(1_000)
    wanted: dict[str, list[int]] = {series: [] for series in "abc"}
    read: dict[str, int] = {}
    done: dict[str, list[int]] = {series: [] for series in "abc"}

    def check() -> None:
        position = backlog.position()
        for series, offset in read.items():
            left = wanted[series][len(done[series]) :]
            assert position["abc".index(series)] == (left[0] if left else offset + 1)

    def deliver(works: bool) -> None:
        head = backlog.head()
        if head is None:
            return
        if works:
            done[head.series].append(head.offset)
            backlog.done()
        else:
            backlog.turn()
        check()

    pending_steps = iter(steps)
    for number, (series, is_wanted) in enumerate(messages):
        partition = "abc".index(series)
        if is_wanted:
            backlog.add(Pending(series, partition, number, number))
            wanted[series].append(number)
        backlog.passed(partition, number)
        read[series] = number
        check()
        deliver(next(pending_steps, True))
    while len(backlog):
        deliver(True)
    assert done == wanted


def test_a_series_that_fails_holds_nobody_else_back() -> None:
    backlog: Backlog[str] = Backlog(10)
    for offset, series in enumerate("aab"):
        backlog.add(Pending(series, 0, offset, series))
        backlog.passed(0, offset)
    backlog.turn()
    assert backlog.head().series == "b"
    backlog.done()
    assert (backlog.head().offset, backlog.position()) == (0, {0: 0})


def test_room_shrinks_to_nothing_and_comes_back() -> None:
    backlog: Backlog[int] = Backlog(2)
    for offset in range(3):
        backlog.add(Pending("a", 0, offset, offset))
    assert (len(backlog), backlog.room) == (3, 0)
    backlog.done()
    backlog.done()
    assert backlog.room == 1
    backlog.clear()
    assert (len(backlog), backlog.room, backlog.head(), backlog.position()) == (0, 2, None, {})
