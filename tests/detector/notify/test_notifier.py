"""Notifiers with a real Kafka and a real receiver: nothing is lost, order is kept, a change has one key."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, groupby
from typing import Any

import pytest

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.records import Message
from detector.config.load import Config
from detector.notify.notifier import Notifier
from detector.notify.notifiers import parts_of, reader_of
from tests.detector.notify.notices import message
from tests.support.daemon import wait_for
from tests.support.receiver import Got, Receiver, Reply, receiving

BOUND = 40
LIVES = ("opened", "escalated", "resolved")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Stream:
    """An alerts topic for one test, and notifiers that read it."""

    def __init__(self, bootstrap: str, make_topic: Callable[..., str]) -> None:
        self._connection = Connection((bootstrap,))
        self._bootstrap, self._make_topic = bootstrap, make_topic
        self.prefix = ""

    def with_partitions(self, num_partitions: int) -> Stream:
        """Create a new topic whose name ends in .alerts."""
        self.prefix = self._make_topic(num_partitions, suffix=".alerts").removesuffix(".alerts")
        return self

    def send(self, *messages: Message) -> None:
        producer = Producer(self._connection)
        producer.produce(list(messages))
        producer.close()

    def change(self, *args: Any, **options: Any) -> Message:
        return message(*args, topic=f"{self.prefix}.alerts", **options)

    @contextmanager
    def notifier(
        self, url: str, kind: str = "webhook", before: Sequence[Message] = (), **options: Any
    ) -> Iterator[Notifier]:
        """Run a notifier. The messages `before` are sent after it is built and before it starts."""
        rules = {"incidents": {"fold_series": 3}} if "fold" in options else {}
        config = Config.model_validate(
            {
                "model": {"path": "x"},
                "kafka": {
                    "bootstrap_servers": [self._bootstrap], "topic": "x", "group_id": self.prefix,
                    "session_timeout": "6s",
                },
                "output": {"prefix": self.prefix},
                **rules,
                "notify": [{"name": "n", "kind": kind, "url": url, **options}],
            }
        )  # fmt: skip
        [(section, receiver, poster)] = parts_of(config)
        connect = partial(reader_of, config, self._connection, "n", time.time_ns() // 1_000_000)
        notifier = Notifier(section, receiver, poster, connect, lambda attempt: 0.05, BOUND)
        self.send(*before)
        notifier.start()
        try:
            yield notifier
        finally:
            notifier.stop()
            assert notifier.join(60)


@pytest.fixture
def stream(kafka_bootstrap: str, kafka_topic: Callable[..., str]) -> Stream:
    return Stream(kafka_bootstrap, kafka_topic).with_partitions(2)


def all_delivered(notifier: Notifier, delivered: int) -> Callable[[], bool]:
    return lambda: (notifier.stats.delivered, notifier.stats.backlog) == (delivered, 0)


def events(receiver: Receiver) -> dict[str, list[str]]:
    """Return the events that arrived for each series, in order of arrival."""
    arrived = sorted(((got.json["series"], at, got.json["event"]) for at, got in enumerate(receiver.taken)))
    return {series: [event for _, _, event in some] for series, some in groupby(arrived, lambda one: one[0])}


def test_changes_arrive_once_in_order_and_a_successor_continues(stream: Stream, receiver: Receiver) -> None:
    with stream.notifier(receiver.url) as notifier:
        stream.send(*(stream.change(kind, f"pump-{n}") for kind in LIVES for n in range(10)))
        wait_for(all_delivered(notifier, 30), "30 deliveries")
    assert events(receiver) == {f"pump-{n}": list(LIVES) for n in range(10)}
    stream.send(*(stream.change(kind, f"pump-{n}", 1) for kind in LIVES for n in range(10)))
    with stream.notifier(receiver.url) as notifier:
        wait_for(all_delivered(notifier, 30), "30 more")
        assert notifier.stats.last_success is not None
    assert len({got.key for got in receiver.got}) == len(receiver.got) == 60


def test_a_receiver_that_was_down_gets_every_change_once_in_order(stream: Stream) -> None:
    with receiving() as first:
        url = first.url
    with stream.notifier(url) as notifier:
        stream.send(*(stream.change(kind, f"pump-{n}") for kind in LIVES for n in range(5)))
        wait_for(lambda: notifier.stats.failed >= 3 and notifier.stats.backlog == 15, "failed attempts")
        assert notifier.stats.delivered == 0
        with receiving(int(url.rpartition(":")[2])) as again:
            wait_for(all_delivered(notifier, 15), "15 deliveries")
    assert events(again) == {f"pump-{n}": list(LIVES) for n in range(5)}
    assert len({got.key for got in again.got}) == len(again.got) == 15


def test_server_errors_are_retried_and_refused_changes_are_dropped_and_counted(
    stream: Stream, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(got: Got) -> Reply:
        if got.json["series"] == "pump-1":
            return Reply(400, b"no such thing")
        attempts = sum(one.key == got.key for one in receiver.got)
        return Reply(500 if attempts < 3 else 200)

    receiver.answer = answer
    with caplog.at_level(logging.INFO, "streamgauge"), stream.notifier(receiver.url) as notifier:
        stream.send(*(stream.change(kind, f"pump-{n}") for kind in LIVES for n in range(3)))
        wait_for(all_delivered(notifier, 6), "6 deliveries")
        stats = notifier.stats
    assert (stats.failed, stats.dropped) == (12, 3)
    assert events(receiver) == {f"pump-{n}": list(LIVES) for n in (0, 2)}
    assert sum(got.json["series"] == "pump-1" for got in receiver.got) == 3
    assert caplog.text.count("notifier failing") < 12  # changes, not attempts
    assert "notifier recovered" in caplog.text


def test_a_series_that_always_fails_does_not_delay_the_others_and_is_dropped(
    stream: Stream, receiver: Receiver
) -> None:
    receiver.answer = lambda got: Reply(500 if got.json["series"] == "pump-0" else 200)
    with stream.notifier(receiver.url) as notifier:
        stream.send(*(stream.change(kind, f"pump-{n}") for kind in LIVES for n in range(4)))
        wait_for(lambda: notifier.stats.delivered == 9 and notifier.stats.failed > 5, "the others")
        assert (notifier.stats.backlog, notifier.stats.dropped) == (3, 0)
    with stream.notifier(receiver.url, give_up_after=0) as notifier:
        wait_for(lambda: notifier.stats.dropped == 3, "dropped changes")


def test_a_receiver_gets_the_pause_that_it_asks_for(stream: Stream, receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(429, headers={"Retry-After": "3000"})
    with stream.notifier(receiver.url) as notifier:
        stream.send(stream.change("opened"))
        wait_for(lambda: notifier.stats.failed == 1, "an attempt")
        stream.send(*(stream.change("opened", f"pump-{n}") for n in range(5, 10)))
        wait_for(lambda: notifier.stats.backlog == 6, "the others to wait")
        assert len(receiver.got) == 1


def test_filtered_changes_are_not_delivered(stream: Stream, receiver: Receiver) -> None:
    wanted = {"series": ["pump-1", "v*"], "min_severity": "critical", "send_resolved": False}
    with stream.notifier(receiver.url, **wanted) as notifier:
        for series in ("pump-1", "pump-2", "valve"):
            stream.send(
                stream.change("opened", series), stream.change("escalated", series, severity="critical")
            )
            stream.send(stream.change("resolved", series, severity="critical"))
        stream.send(Message(f"{stream.prefix}.alerts", b"pump-1", b"{oops"))
        wait_for(all_delivered(notifier, 2), "2 deliveries")
    assert events(receiver) == {"pump-1": ["escalated"], "valve": ["escalated"]}


def test_a_new_notifier_delivers_open_incidents_and_no_older_changes(
    stream: Stream, receiver: Receiver
) -> None:
    stream.send(*(stream.change(kind, f"pump-{n}") for n in range(5) for kind in LIVES))
    stream.send(*(stream.change("opened", f"pump-{n}", 1) for n in range(3)))
    with stream.notifier(receiver.url) as notifier:
        wait_for(all_delivered(notifier, 3), "3 open incidents")
        stream.send(stream.change("resolved", "pump-0", 1), stream.change("opened", "pump-4", 1))
        wait_for(all_delivered(notifier, 5), "2 more")
    assert events(receiver) == {
        "pump-0": ["opened", "resolved"], "pump-1": ["opened"], "pump-2": ["opened"], "pump-4": ["opened"],
    }  # fmt: skip


def test_a_change_that_the_topic_repeats_is_delivered_once(stream: Stream, receiver: Receiver) -> None:
    with stream.notifier(receiver.url) as notifier:
        stream.send(*(stream.change("opened") for _ in range(3)))
        wait_for(all_delivered(notifier, 1), "a delivery")
    with stream.notifier(receiver.url) as notifier:
        stream.send(stream.change("opened"), stream.change("resolved"))
        wait_for(all_delivered(notifier, 1), "the end")
    assert events(receiver) == {"pump-1": ["opened", "resolved"]}
    assert len(receiver.got) == 2


def test_the_backlog_in_memory_is_bounded_and_the_rest_is_counted(stream: Stream, receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(503)
    num = 3 * BOUND
    waiting = [stream.change("opened", f"pump-{n}") for n in range(num)]
    with stream.notifier(receiver.url, before=waiting) as notifier:
        wait_for(lambda: notifier.stats.backlog >= num, f"a backlog of {num}")
        assert len(notifier._backlog) == BOUND
        receiver.answer = lambda _: Reply()
        wait_for(all_delivered(notifier, num), f"{num} deliveries")
    assert len({got.key for got in receiver.taken}) == len(receiver.taken) == num


def test_two_processes_share_the_partitions_and_one_takes_over(stream: Stream, receiver: Receiver) -> None:
    def all_arrived(num: int) -> Callable[[], bool]:
        return lambda: len({got.key for got in receiver.taken}) == num

    with stream.notifier(receiver.url) as one:
        with stream.notifier(receiver.url) as two:
            for number in count(1):
                stream.send(*(stream.change("opened", f"pump-{n}", number) for n in range(20)))
                wait_for(all_arrived(20 * number), f"round {number}")
                if one.stats.delivered and two.stats.delivered:
                    break
        stream.send(*(stream.change("resolved", f"pump-{n}", number) for n in range(20)))
        wait_for(all_arrived(20 * number + 20), "the ends")
    last = [kinds[-1] for kinds in events(receiver).values()]
    assert last == ["resolved"] * 20


def test_firing_alerts_repeat_also_after_a_restart(stream: Stream, receiver: Receiver) -> None:
    def times_sent(severity: str, fires: bool) -> int:
        alerts = [alert for got in receiver.got for alert in got.json]
        return sum(
            alert["labels"]["severity"] == severity and (alert["endsAt"] > "2100") == fires
            for alert in alerts
        )

    lasting = {"repeat": 1, "expire_after": "36000d"}
    with stream.notifier(receiver.url, "alertmanager", **lasting) as notifier:
        stream.send(stream.change("opened"), stream.change("escalated", severity="critical"))
        wait_for(lambda: times_sent("critical", fires=True) >= 3, "repeats")
        assert all_delivered(notifier, 2)()
    assert {got.path for got in receiver.got} == {"/api/v2/alerts"}
    assert times_sent("warning", fires=True) >= 1
    receiver.got.clear()
    with stream.notifier(receiver.url, "alertmanager", **lasting) as notifier:
        wait_for(lambda: times_sent("critical", fires=True) >= 2, "repeats by a successor")
        assert times_sent("warning", fires=True) == 0
        assert notifier.stats.delivered == 0
        stream.send(stream.change("resolved", severity="critical"))
        wait_for(all_delivered(notifier, 1), "the end")
        receiver.got.clear()
        wait_for(lambda: times_sent("critical", fires=False) >= 1, "the end repeated")
        assert times_sent("critical", fires=True) == 0


def test_no_secret_is_logged_whatever_the_receiver_answers(
    stream: Stream, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(got: Got) -> Reply:
        echo = f"{got.path} {got.headers} {got.body!r}".encode()
        return Reply({"opened": 500, "escalated": 403}.get(json.loads(got.body)["event"], 400), echo)

    receiver.answer = answer
    secret = {"bearer_token": "hunter2-token", "headers": {"X-Key": "hunter2-key"}}
    caplog.set_level(logging.DEBUG)
    with stream.notifier(f"{receiver.url}/hunter2-path?x=hunter2-query", **secret) as notifier:
        stream.send(*(stream.change(kind, kind) for kind in LIVES))
        wait_for(lambda: notifier.stats.dropped == 1 and notifier.stats.failed > 4, "attempts")
    assert "notifier failing" in caplog.text
    assert "hunter2" not in caplog.text


def test_many_incidents_at_once_are_one_message_also_after_a_restart(
    stream: Stream, receiver: Receiver
) -> None:
    stream.with_partitions(1)
    names = [f"pump-{at}" for at in range(6)]
    with stream.notifier(
        receiver.url, fold=True, before=[stream.change("opened", name) for name in names]
    ) as one:
        wait_for(lambda: len(receiver.taken) == 3 and one.stats.backlog == 0, "the messages")
    with stream.notifier(receiver.url, fold=True) as one:
        stream.send(*(stream.change("resolved", name) for name in names))
        wait_for(lambda: len(receiver.taken) == 6 and one.stats.backlog == 0, "the messages")
    told = [
        (got.json["event"], got.json["series"], got.json["id"][-6:] == "-group") for got in receiver.taken
    ]
    assert told == [
        *(("opened", "pump-0", False), ("opened", "pump-1", False), ("opened", "pump-0", True)),
        *(("resolved", "pump-0", False), ("resolved", "pump-1", False), ("resolved", "pump-0", True)),
    ]
    assert receiver.taken[2].json["id"] == receiver.taken[5].json["id"]
    assert "3 series became anomalous together: first pump-0" in receiver.taken[2].json["summary"]
