"""Every query of every dashboard against a Prometheus that scrapes the daemon while a pump is broken."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from detector.config.load import Config
from tests.dashboards.broken_pump import BLAMED, BROKEN, streaming, train
from tests.dashboards.prometheus_server import FILLED, JOB, SPAN_SECONDS, Found, Prometheus, scraping
from tests.dashboards.reading import FILES, ROOT, Question, all_questions, board
from tests.dashboards.sketch import sketch
from tests.support.daemon import PATIENCE_SECONDS, Daemon, running, wait_for
from trainer.demo.plant import CHANNELS

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
shadow = true
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

    def blamed() -> set[str]:
        found = shown("Open incidents by series, A")
        return {one.labels["channel"] for one in found if one.labels["series"] == BROKEN}

    def scores() -> dict[str, float]:
        return {one.labels["series"]: one.values[0] for one in shown("Series by score, A")}

    wait_for(lambda: blamed() == {BLAMED}, f"an incident that blames {BLAMED}")
    wait_for(lambda: scores().get(BROKEN, 0.0) > 1, f"an anomalous {BROKEN}")
    wait_for(lambda: max(now := scores(), key=now.__getitem__) == BROKEN, f"{BROKEN} at the top")
    wait_for(
        lambda: {one.labels["series"] for one in shown("Series by score, B")} == set(scores()),
        "both columns to know the same series",
    )


def test_series_shows_the_channel_outside_its_band_while_the_incident_is_marked(live: Live) -> None:
    of_one = [q for q in all_questions() if q.where.startswith("Streamgauge / Series: ")]
    values = {**SEVERAL, "channel": BLAMED}

    def newest(title: str) -> float:
        (question,) = [q for q in of_one if q.where.endswith(title)]
        (found,) = live.prometheus.over_time(question.filled(values))
        return found.values[-1]

    def is_outside() -> bool:
        return not newest("$channel, D") < newest("$channel, A") < newest("$channel, C")

    wait_for(is_outside, "a pressure outside its band")
    # The row may change between two queries.
    wait_for(
        lambda: newest("$channel, D") < newest("$channel, B") < newest("$channel, C"),
        "what was expected within its band",
    )
    (marked,) = [q for q in of_one if q.kind == "annotation" and "incident" in q.expr]

    def marks() -> set[str]:
        return {one.labels["channel"] for one in live.prometheus.over_time(marked.filled(values))}

    wait_for(lambda: BLAMED in marks(), f"a mark that names {BLAMED}")


def test_variables_offer_what_there_is(live: Live) -> None:
    expected = {
        "job": [JOB],
        "instance": [live.daemon.address.removeprefix("http://")],
        "series": [f"pump-0{number}" for number in range(1, 5)],
        "channel": sorted(CHANNELS),
    }
    asked = [q for q in all_questions() if q.kind == "variable"]

    def offered() -> dict[str, list[object]]:
        return {q.where.rpartition("$")[2]: live.answer(q) for q in asked}

    # A series that has no score yet is offered with its first one.
    wait_for(lambda: expected.items() <= offered().items(), f"the variables to offer {expected}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_can_be_drawn(live: Live, path: Path) -> None:
    """Into build/dashboards; with DASHBOARDS_SECONDS=180 when there is so much to see."""
    seconds = float(os.environ.get("DASHBOARDS_SECONDS", "0"))
    picture = ROOT / "build/dashboards" / f"{path.stem}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.unlink(missing_ok=True)
    up = f"count_over_time(up[{SPAN_SECONDS}s])"
    deadline = time.monotonic() + seconds + PATIENCE_SECONDS
    while live.prometheus.now(up)[0].values[0] < seconds and time.monotonic() < deadline:
        time.sleep(1.0)

    def answer(question: Question, channel: str) -> list[Found]:
        expr = question.filled({**SEVERAL, "channel": channel})
        return live.prometheus.now(expr) if question.now else live.prometheus.over_time(expr)

    sketch(board(path), answer, picture)
    assert picture.stat().st_size > 10_000
