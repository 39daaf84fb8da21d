"""Every query of every dashboard against a Prometheus that scrapes the daemon while a bearing runs hot."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kafka import KafkaAdminClient

from detector.config import Config
from tests.daemon import PATIENCE_SECONDS, Daemon, running, wait_for
from tests.dashboards.broken_pump import BLAMED, BROKEN, streaming, train
from tests.dashboards.prometheus_server import FILLED, JOB, Found, Prometheus, scraping
from tests.dashboards.reading import Question, all_questions
from trainer.plant import CHANNELS

HAS_NOTIFIERS = "notify" in Config.model_fields
pytestmark = [pytest.mark.dashboards, pytest.mark.slow]
SEVERAL = {**FILLED, "job": ".+", "instance": ".+", "series": BROKEN, "channel": ".+"}


@dataclass(frozen=True, slots=True)
class Live:
    """What the dashboards look at."""

    daemon: Daemon
    prometheus: Prometheus

    def answer(self, question: Question) -> list[Found] | list[str]:
        """What Grafana would get."""
        expr = question.filled(SEVERAL)
        if question.kind == "variable":
            return self.prometheus.label_values(expr, question.label)
        return self.prometheus.now(expr) if question.now else self.prometheus.over_time(expr)


class _Receiver(BaseHTTPRequestHandler):
    """Says yes to every notification."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing."""


@contextmanager
def receiving() -> Iterator[str]:
    """The address of a webhook."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=60)


def told(receiver: str) -> str:
    """The configuration of a notifier, where the daemon can have one."""
    table = f'[[notify]]\nname = "hook"\nkind = "webhook"\nurl = "{receiver}"\n'
    return table if HAS_NOTIFIERS else ""


@pytest.fixture(scope="module")
def live(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The daemon with a trained model on a real Kafka, and a Prometheus that has seen the incident open."""
    directory = tmp_path_factory.mktemp("dashboards")
    topic = f"dashboards-{uuid.uuid4().hex[:12]}"
    with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 2, "configs": {}}})
        admin.wait_for_topics([topic])
    config = f"""
[model]
path = "{train(directory)}"
[kafka]
bootstrap_servers = ["{kafka_bootstrap}"]
topic = "{topic}"
group_id = "{topic}"
[output]
prefix = "out-{topic}"
"""
    with (
        receiving() as receiver,
        running(config + told(receiver), directory) as daemon,
        scraping(daemon, directory) as prometheus,
        streaming(kafka_bootstrap, topic),
    ):
        firing = f'streamgauge_incident_firing{{series="{BROKEN}"}}'
        wait_for(lambda: prometheus.now(firing), f"an incident of {BROKEN}; see {daemon.log}")
        yield Live(daemon, prometheus)


def test_a_query_of_what_does_not_exist_is_found_empty(live: Live) -> None:
    for kind in ("panel", "variable", "annotation"):
        assert not live.answer(Question(kind, "planted", "streamgauge_scoore", label="series"))


def _is_excused(question: Question) -> bool:
    """A daemon that cannot have a notifier has nothing to show of one."""
    return "streamgauge_notif" in question.expr and not HAS_NOTIFIERS


def test_every_query_of_every_dashboard_returns_data(live: Live) -> None:
    asked = [question for question in all_questions() if not _is_excused(question)]
    deadline = time.monotonic() + PATIENCE_SECONDS
    empty, slowest = asked, 0.0
    while empty and time.monotonic() < deadline:
        before = time.monotonic()
        empty = [question for question in empty if not live.answer(question)]
        slowest = max(slowest, time.monotonic() - before)
    kinds = Counter(question.kind for question in asked)
    print(f"\n{len(asked)} queries executed and answered with data: {dict(kinds)}; one round {slowest:.1f} s")
    assert [f"{question.where}: {question.filled(SEVERAL)}" for question in empty] == []


def test_fleet_shows_which_series_misbehaves_and_its_channel(live: Live) -> None:
    def shown(title: str) -> list[Found]:
        (question,) = [q for q in all_questions() if q.where == f"Streamgauge / Fleet: {title}"]
        return live.prometheus.now(question.filled(SEVERAL))

    wait_for(
        lambda: {one.labels["channel"] for one in shown("Incidents that are open, A")} == {BLAMED},
        f"an incident that blames {BLAMED}",
    )
    (incident,) = shown("Incidents that are open, A")
    assert incident.labels["series"] == BROKEN
    scores = {one.labels["series"]: one.values[0] for one in shown("Series by score, A")}
    assert max(scores, key=scores.__getitem__) == BROKEN
    assert scores[BROKEN] > 1
    assert {one.labels["series"] for one in shown("Series by score, B")} == set(scores)


def test_series_shows_the_channel_outside_its_band_while_the_incident_is_marked(live: Live) -> None:
    of_one = [q for q in all_questions() if q.where.startswith("Streamgauge / Series: ")]
    values = {**SEVERAL, "channel": BLAMED}

    def newest(title: str) -> float:
        (question,) = [q for q in of_one if q.where.endswith(title)]
        (found,) = live.prometheus.over_time(question.filled(values))
        return found.values[-1]

    wait_for(lambda: newest("$channel, A") > newest("$channel, C"), "a bearing hotter than its band")
    assert newest("$channel, D") < newest("$channel, B") < newest("$channel, C")
    (marked,) = [q for q in of_one if q.kind == "annotation" and "incident" in q.expr]
    assert {BLAMED} <= {one.labels["channel"] for one in live.prometheus.over_time(marked.filled(values))}


def test_variables_offer_what_there_is(live: Live) -> None:
    offered = {q.where.rpartition("$")[2]: live.answer(q) for q in all_questions() if q.kind == "variable"}
    assert offered["job"] == [JOB]
    assert offered["instance"] == [live.daemon.address.removeprefix("http://")]
    assert offered["series"] == [f"pump-0{number}" for number in range(1, 5)]
    assert offered["channel"] == sorted(CHANNELS)
