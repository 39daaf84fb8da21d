"""Server-sent events: what is new, trouble, bounds; an archive that another process writes."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3

from connectors.kafka.admin.watched_group import GroupFacts
from detector.artifact.registry import publish
from detector.config.load import Config
from detector.explore.archive import health as health_module
from detector.explore.archive.health import Health, Seen, Trouble, diagnosis
from detector.explore.archive.live import Pulse
from detector.explore.source import source_of
from detector.explore.store.layout import description_of
from detector.explore.web.endpoints import NotFoundError
from detector.explore.web.events import BusyError, Events
from detector.explore.web.opened import Opened
from detector.http.messages import Request, Stream
from detector.http.server import HttpServer, Protection, listen
from detector.http.site import Route, Site
from streamgauge import main
from tests.detector.explore.archive.written import GROUP, archive_in, batch, empty, scores_message
from tests.detector.explore.explored import record, served
from tests.security.http_client import connect, wait_for
from tests.support.kafka_broker import free_ports
from tests.support.sines import linear_artifact

HTTP = urllib3.PoolManager(retries=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose broker does not run, and an archive that somebody else writes."""
    publish(linear_artifact(), tmp_path / "models" / "pump")
    path = tmp_path / "plant.toml"
    path.write_text(
        f'[model]\npath = "{tmp_path}/models/pump"\n[kafka]\ntopic = "readings"\n'
        f'bootstrap_servers = ["127.0.0.1:{free_ports(1)[0]}"]\n[output]\nprefix = "{GROUP}"\n'
    )
    empty(tmp_path / "plant-explorer")
    return path


def pulses(answer: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    """The bodies of the events of a stream."""
    text = ""
    for chunk in answer.stream(64):
        text += chunk.decode()
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            lines = dict(line.split(": ", 1) for line in event.splitlines())
            assert lines["event"] == "pulse"
            yield json.loads(lines["data"])


def test_pages_learn_of_rows_that_another_process_archives_and_that_the_broker_is_silent(
    config: Path,
) -> None:
    store = source_of(str(config)).store
    with (store / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with served(config) as site:
            about = HTTP.request("GET", f"{site}/api/v1/source").json()
            assert (about["kind"], about["rows"]) == ("live", 0)
            assert [one["setting"] for one in about["missing"]] == ['[output] detail = "full"']
            answer = HTTP.request("GET", f"{site}/api/v1/events", preload_content=False)
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.headers["Cache-Control"] == "no-store"
            found = pulses(answer)
            assert next(found)["rows"] == 0
            archive = archive_in(store)
            archive.append(batch([scores_message("a", range(30))]))
            archive.close()
            new = next(one for one in found if one["rows"])
            assert (new["rows"], new["series"]) == (30, 1)
            assert HTTP.request("GET", f"{site}/api/v1/series?name=a").json()["rows"] == 30
            trouble = next(one["trouble"] for one in found if one["trouble"])
            assert trouble["kind"] == "broker"
            assert "does not answer" in trouble["words"]
            answer.close()


def test_the_watch_over_the_group_goes_on_after_an_error_and_states_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [RuntimeError("odd"), GroupFacts(None, 5)]

    def answer(*_: object) -> GroupFacts:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(health_module, "watch", answer)
    group = source_of(str(config)).group
    assert group is not None
    health = Health(group, 10**9, lambda: "")
    seen: list[str] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            seen.append(health.trouble.words if health.trouble else "")
            if len(seen) == 2:
                self.set()
            return self.is_set()

    health.run(Stop())
    assert seen == ["Nobody watches over the group: RuntimeError: odd.", ""]


class Running:
    """A running group that only has a pulse."""

    def __init__(self) -> None:
        self.pulse, self.is_leaving = Pulse(1, description_of(record()), 0, None), False


def opened(live: Running | None) -> Opened:
    return Opened(None, None, None, None, live)  # type: ignore[arg-type]  # only the pulse is read


def stream_of(events: Events) -> Stream:
    found = events(Request("GET", "/api/v1/events")).stream
    assert found is not None
    return found


def test_one_page_too_many_is_refused_until_another_closes() -> None:
    events = Events(opened(Running()), most=1)
    first = stream_of(events)
    with pytest.raises(BusyError, match="1 pages listen already"):
        stream_of(events)
    first.close()  # before it took anything
    stream_of(events).close()
    assert events.num_open == 0


def test_a_page_hears_a_beat_and_the_end() -> None:
    live = Running()
    stream = iter(stream_of(Events(opened(live), beat_seconds=0.0)))
    assert next(stream).startswith(b"retry: 2000\nevent: pulse\ndata: {")
    assert next(stream).endswith(b"}\n\n")
    live.is_leaving = True
    assert list(stream) == []


@pytest.mark.parametrize("reads", [False, True])
def test_a_page_that_does_not_read_or_has_gone_is_dropped(reads: bool) -> None:
    """The pulses are large, so the buffers of the connection are soon full."""
    live = Running()
    live.pulse = replace(live.pulse, trouble=Trouble("broker", 0, "x" * 8_000_000))
    events = Events(opened(live), beat_seconds=0.0)
    site = Site([Route("/events", events)])
    with closing(HttpServer(listen("127.0.0.1", 0), site, Protection(patience_seconds=1.0))) as server:
        with connect(server) as page:
            page.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            if reads:
                assert b"text/event-stream" in page.recv(65_536)
            else:
                wait_for(lambda: events.num_open == 1, "the page")
                wait_for(lambda: events.num_open == 0, "its end")
        wait_for(lambda: events.num_open == 0, "the end of a page that has gone")


def test_a_backtest_has_no_events() -> None:
    with pytest.raises(NotFoundError, match="backtest"):
        stream_of(Events(opened(None)))


WELL = {"unreachable": "", "archive": "", "group": GroupFacts(1, 5), "is_fed": True, "is_read": True}
CASES: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, ""),
    ({"unreachable": "no route", "group": GroupFacts(0, 0), "is_fed": False}, "broker", "no route"),
    ({"archive": "disk full", "is_fed": False}, "archive", "disk full"),
    ({"group": GroupFacts(0, 5), "archive": "no topic"}, "daemon", "No process of group streamgauge runs"),
    ({"is_fed": False}, "silent", "Readings arrive in topic readings"),
    ({"is_fed": False, "is_read": False}, "silent", "nobody sends readings"),
    ({"is_fed": False, "is_read": None, "group": GroupFacts(None, None)}, "silent", "stands still"),
]


@pytest.mark.parametrize(("seen", "kind", "words"), CASES)
def test_the_nearest_cause_of_silence_is_named(seen: dict[str, Any], kind: str | None, words: str) -> None:
    config = Config.model_validate({"model": {"path": "x"}, "kafka": {"topic": "readings"}})
    found = diagnosis(Seen(**{**WELL, **seen}), config)
    assert (found and found[0]) == kind
    assert words in (found[1] if found else "")


def test_silence_is_no_trouble_where_only_anomalies_are_published() -> None:
    values = {"model": {"path": "x"}, "kafka": {"topic": "t"}, "output": {"scores": "anomalous"}}
    assert diagnosis(Seen(**{**WELL, "is_fed": False}), Config.model_validate(values)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--keep", "1h"], "--keep: 1h is not between 1d and 3660d"),
        (["--keep", "soon"], "--keep: "),
        (["--max-size", "5"], "'5' is no size: write one such as 500MB or 10GB"),
        (["--store", "{models}"], "models: holds other files; name another place with --store"),
    ],
)
def test_wrong_flags_are_named(
    config: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [one.replace("{models}", str(config.parent / "models")) for one in flags]
    try:
        code = main(["explore", str(config), "--no-browser", "--port", "0", *given])
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code in (1, 2)
    assert words in capsys.readouterr().err
