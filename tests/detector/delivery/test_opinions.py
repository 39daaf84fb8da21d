"""What people said that incidents were: counted by the newest opinion on each."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from detector.delivery.decision_records import decode_decision, encode_decision
from detector.delivery.decisions.opinions import Opinions
from detector.incidents.decision import OPINIONS, Decision

ACTIONS = st.sampled_from(("accept", "reject", "mute", *OPINIONS))
SAID = st.lists(st.tuples(ACTIONS, st.sampled_from("abc")), max_size=20)


@given(said=SAID, cut=st.integers(0, 20))
def test_the_newest_opinion_on_an_incident_counts_however_the_topic_is_cut(
    said: list[tuple[str, str]], cut: int
) -> None:
    decisions = [(at, Decision(str(at), action, "s", 0, of)) for at, (action, of) in enumerate(said)]  # type: ignore[arg-type]
    opinions = Opinions()
    opinions.take_in(decisions[:cut], 7)
    opinions.take_in(decisions[cut:], 7)
    newest = {of: action for action, of in said if action in OPINIONS}
    assert opinions.counts == Counter(newest.values())
    assert opinions.real == {of for of, action in newest.items() if action == "real"}


def test_another_topic_replaces_what_was_known() -> None:
    opinions = Opinions()
    opinions.take_in([(0, Decision("1", "real", "s", 0, "a"))], 7)
    opinions.take_in([], 8)
    assert opinions.counts == {}
    assert opinions.real == frozenset()


def test_an_opinion_survives_the_topic() -> None:
    said = Decision("1", "false-alarm", "s", 10**18, "a", who="ada", why="a test", decided_at_ns=10**18)
    assert decode_decision(encode_decision(said)) == said
