"""An assignment that was made with outdated metadata is noticed, once."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from kafka.cluster import ClusterMetadata

from connectors.kafka.admin.assignment import WatchedStickyAssignor

PARTITIONS = st.frozensets(st.integers(0, 5))


class Cluster(ClusterMetadata):
    """Metadata that knows one topic, or does not know it."""

    def __init__(self, known: frozenset[int]) -> None:
        super().__init__()
        self._known = known

    def topics(self, exclude_internal_topics: bool = True) -> set[str]:
        return {"readings"} if self._known else set()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(self._known) or None


@given(before=PARTITIONS, now=PARTITIONS)
def test_other_partitions_than_were_distributed_are_noticed_once(
    before: frozenset[int], now: frozenset[int]
) -> None:
    assignor = WatchedStickyAssignor("readings")
    assert not assignor.is_outdated(now), "a process that never led the group has distributed nothing"
    member = SimpleNamespace(member_id="one", metadata=assignor.metadata(["readings"]))
    given_out = assignor.assign(Cluster(before), [member])
    assert {one.partition for one in given_out["one"].partitions()} == before
    assert assignor.is_outdated(now) == (before != now)
    assert not assignor.is_outdated(now)
