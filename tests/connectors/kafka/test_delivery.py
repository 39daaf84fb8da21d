"""Exactly once tells whoever watches how each transaction ended."""

from __future__ import annotations

import pytest

from connectors.errors import KafkaError, TransactionAbortedError
from connectors.kafka.delivery import ExactlyOnce
from connectors.records import Membership


class Transactions:
    """Ends as it is told to."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def deliver(self, messages: object, position: object, membership: object) -> None:
        if self.error is not None:
            raise self.error


class Source:
    """Remembers what it was told."""

    membership = Membership(None)

    def __init__(self) -> None:
        self.told: list[str] = []

    def start_over(self) -> None:
        self.told.append("start over")

    def delivered(self, position: object) -> None:
        self.told.append("delivered")


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (None, "committed", ["delivered"]),
        (TransactionAbortedError("timed out"), "aborted", ["start over"]),
        (TransactionAbortedError("a twin", is_fenced=True), "fenced", ["start over"]),
    ],
)
def test_the_end_of_a_transaction_is_told_with_its_duration(
    error: Exception | None, outcome: str, told: list[str]
) -> None:
    ends: list[tuple[str, float]] = []
    source = Source()
    ExactlyOnce(Transactions(error), source, lambda *end: ends.append(end)).deliver([], {})
    assert [name for name, _ in ends] == [outcome]
    assert ends[0][1] >= 0
    assert source.told == told


def test_a_hopeless_transaction_is_counted_as_aborted_and_raises() -> None:
    ends: list[tuple[str, float]] = []
    with pytest.raises(KafkaError, match="refused"):
        ExactlyOnce(Transactions(KafkaError("refused")), Source(), lambda *end: ends.append(end)).deliver(
            [], {}
        )
    assert [name for name, _ in ends] == ["aborted"]
