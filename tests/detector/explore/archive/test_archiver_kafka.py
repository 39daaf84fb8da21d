"""The archiver against a real Kafka: killed at any moment, aborted transactions, topics made again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer

from connectors.kafka.admin.watched_group import GroupFacts, watch
from connectors.kafka.connection import Connection
from detector.config.load import load_config
from detector.delivery.messages import Topics
from detector.explore.archive.archiver import Archiver
from detector.explore.source import Group
from tests.detector.explore.archive.written import (
    alert,
    archive_in,
    empty,
    held,
    minutes_of,
    mute,
    rows_of,
    scores_message,
)
from tests.support.daemon import ROOT, wait_for

ARCHIVE = """
import sys, threading
from pathlib import Path
from detector.explore.archive.archive import Archive, Limits
from detector.explore.archive.archiver import Archiver
from detector.explore.storage.directory import DirectoryStorage
from tests.detector.explore.archive.test_archiver_kafka import group_of
store = Path(sys.argv[3])
storage = DirectoryStorage(store)
archive = Archive(storage, storage.look()[0], Limits())
Archiver(group_of(sys.argv[1], sys.argv[2], store), archive, 0.05).run(threading.Event())
"""
NUM_SERIES, NUM_PARTS, PART = 3, 30, 5


def group_of(bootstrap: str, prefix: str, store: Path) -> Group:
    """The group whose outputs begin with `prefix`."""
    path = store.parent / f"{prefix}.toml"
    path.write_text(
        f'[model]\npath = "none"\n[kafka]\nbootstrap_servers = ["{bootstrap}"]\ntopic = "{prefix}"\n'
        f'[output]\nprefix = "{prefix}"\n'
    )
    config = load_config(path)
    return Group(config, Connection((bootstrap,)), Topics.of(prefix))


def make_topics(bootstrap: str, prefix: str) -> Topics:
    topics = Topics.of(prefix)
    names = {topics.scores: 3, topics.alerts: 2, topics.decisions: 1}
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({one: {"num_partitions": num} for one, num in names.items()})
        admin.wait_for_topics(list(names))
    return topics


@contextmanager
def archiving(group: Group, store: Path) -> Iterator[Archiver]:
    """An archiver in a thread."""
    archive, stop = archive_in(store), threading.Event()
    archiver = Archiver(group, archive, 0.05)
    thread = threading.Thread(target=archiver.run, args=(stop,))
    thread.start()
    try:
        yield archiver
    finally:
        stop.set()
        thread.join()
        archive.close()


def is_whole(store: Path, num: int) -> Callable[[], bool]:
    return lambda: (found := held(store)) is not None and found.description.rows >= num


def test_kill_9_at_any_moment_loses_no_row_and_doubles_none(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    prefix = kafka_topic()
    topics, store = make_topics(kafka_bootstrap, prefix), tmp_path / "store"
    empty(store)
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    expected = []
    command = [sys.executable, "-c", ARCHIVE, kafka_bootstrap, prefix, str(store)]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ))
    try:
        for at in range(NUM_PARTS):
            for number in range(NUM_SERIES):
                minutes = range(at * PART, (at + 1) * PART)
                expected += [(f"s{number}", minute) for minute in minutes]
                producer.send(topics.scores, scores_message(f"s{number}", minutes), partition=number)
            producer.send(topics.alerts, alert("opened", f"i{at}", "s0", at), partition=at % 2)
            producer.flush()
            if at in (9, 19):
                manifest = held(store)
                assert manifest is not None
                wait_for(is_whole(store, manifest.description.rows + 1), "the archive to grow")
                process.kill()
                process.wait()
                process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ))
        wait_for(is_whole(store, len(expected)), "all rows")
        wait_for(lambda: len(rows_of(store, "incidents", "id")) >= NUM_PARTS, "all incidents")
    finally:
        process.kill()
        process.wait()
        producer.close()
    assert minutes_of(store) == sorted(expected)
    assert [name for (name,) in rows_of(store, "incidents", "id")] == sorted(
        f"i{n}" for n in range(NUM_PARTS)
    )


def test_an_aborted_transaction_is_not_shown_and_what_is_committed_is(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    prefix = kafka_topic()
    topics, store = make_topics(kafka_bootstrap, prefix), tmp_path / "store"
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=prefix)
    producer.init_transactions()
    for minute, is_kept in ((1, False), (2, True), (3, False), (4, True)):
        producer.begin_transaction()
        producer.send(topics.scores, scores_message("a", [minute]), partition=0)
        producer.send(topics.alerts, alert("opened", f"i{minute}", "a", minute), partition=0)
        producer.send(topics.decisions, mute(f"m{minute}", "a", minute), partition=0)
        producer.flush()
        producer.commit_transaction() if is_kept else producer.abort_transaction()
    producer.close()
    with archiving(group_of(kafka_bootstrap, prefix, store), store) as archiver:
        wait_for(lambda: len(rows_of(store, "decisions", "id")) == 2, "the decisions")
        wait_for(is_whole(store, 2), "the rows")
        assert archiver.problem == ""
    assert minutes_of(store) == [("a", 2), ("a", 4)]
    assert rows_of(store, "incidents", "id") == [("i2",), ("i4",)]


def test_a_topic_that_was_made_again_is_read_from_its_beginning_and_no_group_is_joined(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    prefix = kafka_topic()
    topics, store = make_topics(kafka_bootstrap, prefix), tmp_path / "store"
    group = group_of(kafka_bootstrap, prefix, store)
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    producer.send(topics.scores, scores_message("a", range(50)), partition=0)
    producer.flush()
    with archiving(group, store):
        wait_for(is_whole(store, 50), "the rows")

    def seen() -> GroupFacts:
        return watch(group.connection, group.config.kafka.group_id, [prefix])

    wait_for(lambda: seen().members is not None, "a coordinator of groups")
    assert seen() == GroupFacts(members=0, readings=0)
    with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
        admin.delete_topics([topics.scores])
        wait_for(lambda: topics.scores not in admin.list_topics(), "the end of the topic")
        admin.create_topics({topics.scores: {"num_partitions": 1}})
        admin.wait_for_topics([topics.scores])
    producer.send(topics.scores, scores_message("a", range(49, 52)), partition=0)
    producer.flush()
    producer.close()
    with archiving(group, store):
        wait_for(is_whole(store, 52), "the rows of the new topic")
    assert minutes_of(store) == [("a", minute) for minute in range(52)]


def test_a_topic_that_is_missing_is_said_and_read_when_it_is_there(
    kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    prefix, store = kafka_topic(), tmp_path / "store"
    empty(store)
    with archiving(group_of(kafka_bootstrap, prefix, store), store) as archiver:
        wait_for(lambda: "do not exist" in archiver.problem, "the complaint")
        topics = make_topics(kafka_bootstrap, prefix)
        with KafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
            producer.send(topics.scores, scores_message("a", [1]), partition=2)
        wait_for(is_whole(store, 1), "the row")
        wait_for(lambda: archiver.problem == "", "the end of the complaint")
