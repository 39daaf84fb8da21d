"""What a comparison says of series that cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from connectors.records import Batch, Message
from detector.verify.comparing import Comparing
from detector.verify.inputs import PartitionInput
from detector.verify.rows import Published, Row, rows_of


def message(series: str, *times: int, score: float = 0.5) -> Message:
    body = {
        "series": series,
        "model": "pump",
        "version": "0" * 12,
        "timestamp": list(times),
        "score": [score for _ in times],
        "state": ["normal" for _ in times],
    }
    return Message("scores", series.encode(), orjson.dumps(body))


def rows(series: str, *times: int) -> list[Row]:
    return list(rows_of(message(series, *times).value or b""))


def part(label: str, number: int) -> PartitionInput:
    def read(channels: tuple[str, ...]) -> Iterator[Batch]:
        return iter(())

    return PartitionInput(label, number, True, True, read)


def test_series_from_two_topics_or_two_partitions_are_not_compared_and_the_others_are() -> None:
    names = ("alone", "in-topics", "in-partitions", "created-again")
    published = Published.of([message(name, 1, 2) for name in names], 1)
    comparing = Comparing(published, (0, 10), {"pump": 1})
    for where, name, time in (
        (part("a", 0), "alone", 1),
        (part("a", 0), "alone", 2),
        (part("a", 0), "in-topics", 1),
        (part("b", 0), "in-topics", 2),
        (part("a", 0), "in-partitions", 1),
        (part("a", 1), "in-partitions", 2),
        (part("a", 0), "created-again", 1),
        (part("a~2", 1), "created-again", 2),
    ):
        comparing.meet(where, [name])
        comparing.add(where, rows(name, time))
    found = comparing.finish()
    assert (found.equal, found.series) == (4, {"alone", "created-again"})
    assert found.uncompared == {"several partitions": 4}
    assert found.faults.total() == 0


def test_rows_of_series_that_are_left_out_are_counted_with_the_reason_and_never_matched() -> None:
    published = Published.of([message("mine", 1, 2), message("other", 1, 2, 30)], 1)
    comparing = Comparing(published, (0, 10), {"pump": 1}, {"other": "fallback"})
    comparing.add(part("a", 0), [*rows("mine", 1, 2), *rows("other", 1)])
    found = comparing.finish()
    assert (found.equal, found.compared, found.uncompared) == (2, 2, {"fallback": 2})


def test_rows_settle_by_the_window_of_their_own_model_and_not_by_the_longest_of_all() -> None:
    """The topic lacks the rows 0 to 9 of a series; other scores at the rows 12 and 30."""
    wrong = [message("mine", time, score=0.75) for time in (12, 30)]
    right = [message("mine", time) for time in range(10, 40) if time not in (12, 30)]
    messages = sorted([*wrong, *right], key=lambda one: next(rows_of(one.value or b"")).time_ms)
    comparing = Comparing(Published.of(messages, 500), (0, 100), {"pump": 3, "press": 500})
    comparing.add(part("a", 0), rows("mine", *range(40)))
    found = comparing.finish()
    assert [one.published.time_ms for one in found.examples if one.published] == [30]
    assert (found.faults, found.uncompared) == ({"differs": 1}, {"retention": 10, "settling": 1})
    assert found.equal == 28
