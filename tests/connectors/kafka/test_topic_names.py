"""The expression for the client and the rule for everybody else name the same topics."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.kafka.admin.topic_names import expression_of, reads

NAMES = st.text("ab-._1", min_size=1, max_size=4)
PATTERNS = st.text("ab-._1*?[]!", min_size=1, max_size=5)


@given(st.lists(PATTERNS, min_size=1, max_size=3), NAMES, st.lists(NAMES, max_size=2))
@example(["*"], "__consumer_offsets", [])
@example(["__mine"], "__mine", [])
@example(["a*"], "ab", ["ab"])
@example(["ab"], "ab", ["ab"])
@example(["a", "b*"], "ab", [])
@example(["a.b"], "a-b", [])
def test_the_expression_matches_what_is_read(wanted: list[str], topic: str, excluded: list[str]) -> None:
    found = re.compile(expression_of(wanted, excluded)).match(topic) is not None
    assert found == reads(wanted, topic, excluded)


def test_patterns_never_take_topics_of_kafka_or_those_that_are_excluded() -> None:
    assert reads(["plant-*"], "plant-7")
    assert not reads(["*"], "__transaction_state")
    assert not reads(["*"], "out.scores", ["out.scores"])
    assert reads(["*"], "out.scores-2", ["out.scores"])
