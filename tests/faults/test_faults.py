"""A few schedules of the slow tier (`make faults`), and what would make the harness itself worthless."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition, errors

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from detector.config.engine_options import engine_options
from detector.config.load import load_config
from detector.engine.engine import EngineOptions
from tests.faults.cluster import EVERY_RULE, Cluster
from tests.faults.expected import Output, at_their_rows, compare, expected_output
from tests.faults.groups.committed import Commit, commits_of, went_back
from tests.faults.harness import LATENESS, Plan, Report, look_at_commits, run_schedule
from tests.faults.plant import STEP, artifact_of
from tests.faults.run import line
from tests.faults.stream import decisions_about, make_stream


@pytest.mark.parametrize("seed", range(5))
def test_under_faults_the_committed_output_is_that_of_an_undisturbed_run(
    cluster: Cluster, seed: int, tmp_path: Path
) -> None:
    report = run_schedule(cluster, Plan(seed, 6_000, num_series=60, num_slices=6, num_faults=4), tmp_path)
    assert report.is_right, line(report)
    assert report.comparison["verdicts"].expected > 4_000
    assert report.comparison["dead letters"].expected > 0
    assert report.comparison["decisions"].expected > 4
    assert report.context["rows in transition"] > 100
    assert report.context["rows of idle modes"] > 100
    # Something was disrupted: whoever was killed, cut off or joined made partitions change hands or a
    # transaction fail.
    assert report.taken_up > 4 or report.aborted > 0, line(report)


def test_models_loaded_under_way_and_members_killed_meanwhile_change_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    plan = Plan(11, 6_000, num_series=60, num_slices=8, faults=("reload",) * 4)
    report = run_schedule(cluster, plan, tmp_path)
    assert report.is_right, line(report)
    assert sum("loaded by 0" not in one for one in report.evidence) >= 2, line(report)


@pytest.mark.kafka_changes
def test_under_faults_two_models_say_what_each_says_alone(cluster: Cluster, tmp_path: Path) -> None:
    """With [[models]]: kills in transactions, members that join and leave, a new version of one model."""
    faults = ("kill_in_transaction", "join", "reload", "kill", "leave")
    plan = Plan(20, 6_000, num_series=60, num_slices=8, faults=faults, has_two_models=True)
    report = run_schedule(cluster, plan, tmp_path)
    assert report.is_right, line(report)
    assert report.comparison["verdicts"].expected > 4_000
    assert report.comparison["dead letters"].expected > 0
    assert report.comparison["decisions"].expected > 4
    assert report.taken_up > 4 or report.aborted > 0, line(report)


@pytest.mark.parametrize(
    ("breakages", "faults"),
    [
        (("offsets_outside",), ("kill_in_transaction",) * 4),
        (("no_replay",), ("kill",) * 3),
        (("no_fencing", "slow"), ("zombie",) * 3),
        (("decided_again",), ("kill",) * 3),
    ],
    ids=lambda given: given[0],
)
def test_a_broken_daemon_is_found_out(
    cluster: Cluster, breakages: tuple[str, ...], faults: tuple[str, ...], tmp_path: Path
) -> None:
    plan = Plan(101, 6_000, num_series=60, num_members=2, num_slices=8, faults=faults, breakages=breakages)
    report = run_schedule(cluster, plan, tmp_path)
    if report.set_back:  # by a zombie; whether the group then hangs is another question
        assert breakages[0] == "no_fencing", line(report)
        return
    assert not report.problem, line(report)
    is_about_decisions = breakages[0] == "decided_again"
    kind = report.comparison["decisions" if is_about_decisions else "verdicts"]
    wrong = kind.lost + kind.doubled + kind.different
    assert wrong or (is_about_decisions and kind.unexpected), line(report)


def test_at_least_once_loses_nothing_and_may_double(cluster: Cluster, tmp_path: Path) -> None:
    """Only what comes twice may differ from an undisturbed run; nothing is missing, nothing is another."""
    plan = Plan(7, 4_000, num_series=40, num_slices=5, faults=("kill", "kill"), mode="at_least_once")
    report = run_schedule(cluster, plan, tmp_path)
    assert not report.problem
    for one in report.comparison.values():
        assert (one.lost, one.unexpected, one.different) == (0, 0, 0), line(report)


def test_a_stream_is_known_and_has_everything() -> None:
    stream, again = (make_stream(3, "t", 5_000, num_series=50) for _ in range(2))
    assert stream == again
    options = EngineOptions(lateness_ns=2 * STEP * 10**9)
    output = expected_output(stream, artifact_of(3), options)
    assert len(output.verdicts) > 4_000
    assert {kind for _, kind, *_ in output.incidents} >= {"opened", "resolved"}
    assert len({reason for *_, reason in output.letters}) >= 4
    states = {state for *_, state in output.verdicts}
    assert states >= {"ok", "anomalous", "warming", "gap", "transition", "idle"}
    context = expected_output(make_stream(6, "t", 6_000, num_series=20), artifact_of(6), options).context()
    assert min(context.values()) > 0, context


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_every_decision_about_such_a_stream_changes_something(seed: int) -> None:
    stream, artifact = make_stream(seed, "t", 6_000, num_series=60), artifact_of(seed)
    options = EngineOptions(lateness_ns=2 * STEP * 10**9)
    plain = expected_output(stream, artifact, options)
    known, mutes = decisions_about(plain.opened, stream, seed, artifact.spec.scoring.delay)
    decided = expected_output(stream, artifact, options, [*known, *mutes])
    assert len(decided.decisions) >= len(mutes) + len(known) // 2  # some incidents end before
    assert {key[1] for key in decided.decisions} == {"accept", "reject", "mute"}
    assert compare(plain, decided)["incidents"].unexpected > 4
    assert compare(plain, decided)["verdicts"].different or compare(plain, decided)["verdicts"].lost
    again = expected_output(stream, artifact, options, at_their_rows([*known, *mutes], decided))
    assert all(one.is_right for one in compare(decided, again).values())


def test_every_incident_rule_has_something_to_say_of_such_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "member.toml"
    grid = f'[grid]\nlateness = "{LATENESS}"\n'
    path.write_text(f'[model]\npath = "x"\n[kafka]\ntopic = "t"\n{grid}{EVERY_RULE}')
    options = engine_options(load_config(path, {}))
    stream = make_stream(3, "t", 6_000, num_series=60)
    with_rules = expected_output(stream, artifact_of(3), options).incidents
    held_by = {rule for _, _, _, _, _, _, _, *rules in with_rules for rule in rules}
    assert held_by == {"maintenance", "cooldown"}
    assert {flapping for _, _, _, _, _, _, flapping, *_ in with_rules} == {False, True}
    for rules in (
        {"settle_rows": 0},
        {"channels": {}},
        {"min_duration_ns": 0},
    ):
        others = replace(options, rules=replace(options.rules, **rules))
        assert expected_output(stream, artifact_of(3), others).incidents != with_rules, rules


@pytest.mark.kafka_changes
def test_a_group_that_hangs_is_a_failure_of_its_own(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sets anything back, and nobody gets on: each reading takes a second."""
    monkeypatch.setattr("tests.faults.harness._DRAIN_SECONDS", 5.0)
    plan = Plan(102, 2_000, num_series=40, num_members=2, num_slices=5, faults=(), breakages=("stuck",))
    report = run_schedule(cluster, plan, tmp_path)
    assert report.is_hanging, line(report)
    assert "the group hangs: after 5 s it has committed" in report.problem
    assert report.set_back == []
    assert not report.is_right


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), max_size=30))
def test_a_committed_offset_that_goes_back_is_seen(history: list[tuple[int, int]]) -> None:
    commits = [Commit("t", partition, offset) for partition, offset in history]
    expected = [
        at
        for at, (partition, offset) in enumerate(history)
        if any(other == partition and before > offset for other, before in history[:at])
    ]
    found = went_back(commits)
    assert len(found) == len(expected)
    assert all(f"to {history[at][1]}" in words for at, words in zip(expected, found, strict=True))


def test_commits_that_cannot_be_read_or_are_missing_are_a_problem_and_end_no_series_of_schedules() -> None:
    """A problem of before stays the one that is reported."""

    def unwell() -> list[Commit]:
        raise errors.KafkaTimeoutError("no answer")

    for read, problem in (
        (unwell, "cannot read the commits of the group: KafkaTimeoutError"),
        (list, "no commit"),
    ):
        report, hanging = Report(Plan(1)), Report(Plan(1), problem="the group hangs")
        for one in (report, hanging):
            look_at_commits(read, one)
        assert report.problem.startswith(problem)
        assert not report.is_right
        assert hanging.problem == "the group hangs"
    report = Report(Plan(1))
    look_at_commits(lambda: [Commit("t", 0, 5), Commit("t", 0, 4)], report)
    assert (report.problem, len(report.set_back)) == ("", 1)


@pytest.mark.kafka_changes
def test_the_commits_of_a_group_are_read_as_the_broker_keeps_them(cluster: Cluster, tmp_path: Path) -> None:
    topic = f"t-{tmp_path.name}-{uuid.uuid4().hex[:6]}"
    ensure_topics(Connection((cluster.bootstrap,)), [TopicSpec(topic, 2)])
    wanted = [(0, 5), (1, 7), (0, 9), (0, 4), (1, 7)]
    with KafkaAdminClient(bootstrap_servers=cluster.bootstrap) as admin:
        for partition, offset in wanted:
            offsets = {TopicPartition(topic, partition): OffsetAndMetadata(offset, "note", -1)}
            for group in (topic, f"{topic}-another"):
                admin.alter_group_offsets(group, offsets)
    commits = commits_of(cluster.bootstrap, topic)
    assert commits == [Commit(topic, *one) for one in wanted]
    assert went_back(commits) == [f"committed offset of {topic}, partition 0, went back: 9 to 4"]


def test_what_is_lost_doubled_or_different_is_seen() -> None:
    body = {"series": "a", "timestamp": [1, 2, 3], "state": ["ok"] * 3, "score": [0.1, 0.2, None]}
    expected, found = Output(), Output()
    expected.add_scores(body)
    found.add_scores(json.loads(json.dumps(body)))
    assert compare(expected, found)["verdicts"].is_right
    found.add_scores({"series": "a", "timestamp": [1], "state": ["ok"], "score": [0.1]})
    assert compare(expected, found)["verdicts"].doubled == 1
    other = Output()
    other.add_scores({**body, "score": [0.1, 0.3, None]})
    assert compare(expected, other)["verdicts"].different == 1
    other.add_scores({"series": "b", "timestamp": [1], "state": ["ok"], "score": [0.1]})
    assert compare(expected, other)["verdicts"].unexpected == 1
    assert compare(other, expected)["verdicts"].lost == 1
