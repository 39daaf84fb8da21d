"""Decisions through the API: the same records and checks as the commands, and every refusal."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.explore.deciding.writing import Writing, writing_of
from detector.explore.web.endpoints import PREFIX
from detector.explore.web.openapi import document
from detector.http.cross_site import MOST_BYTES
from detector.login import Login
from detector.offline.decisions_file import read_decisions
from streamgauge import main
from tests.detector.explore.explored import (
    ADA,
    CHANNELS,
    START_NS,
    incident,
    scores_of,
    served,
    write_backtest,
)

MINUTE_NS = 60_000_000_000
NUM = 200
HTTP = urllib3.PoolManager(retries=False)
HEADERS = {"Content-Type": "application/json", "X-Streamgauge": "decide"}
BEGIN, END = "2026-01-01T01:40:00Z", "2026-01-01T02:10:00Z"
PEAK, INSIDE = "2026-01-01T01:50:00Z", "2026-01-01T01:55:00.000Z"
ACCEPT = {"action": "accept", "incident": "aa11"}
MUTE = {"action": "mute", "series": "a", "for": "2h", "at": INSIDE}


def backtest(out: Path, **more: Any) -> Path:
    """Two series of minutes, and incidents of three reasons."""
    names = np.repeat(np.array(["a", "b"], dtype=object), NUM)
    scores = scores_of(names, np.tile(START_NS + np.arange(NUM) * MINUTE_NS, 2), 5, 0.0)
    incidents = [
        incident("aa11", "a", BEGIN, END, peak=PEAK),
        incident("bb22", "b", "2026-01-01T03:00:00Z", None, reason="mode"),
        incident("cc33", "b", BEGIN, END, reason="flatline", channels=[]),
    ]
    return write_backtest(out / "out", scores, incidents, **more)


@contextmanager
def explorer(tmp_path: Path, writing: Writing = ADA, **more: Any) -> Iterator[tuple[str, Path]]:
    out = backtest(tmp_path, **more)
    with served(out, writing) as site:
        yield site, out


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A site for tests that do not mind what others have written."""
    with explorer(tmp_path_factory.mktemp("shared")) as found:
        yield found


def post(site: str, body: object, headers: dict[str, str] = HEADERS) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = HTTP.request("POST", f"{site}{PREFIX}/decisions", body=data, headers=headers)
    return answer.status, answer.json()


def listed(site: str, **fields: str) -> dict[str, Any]:
    answer = HTTP.request("GET", f"{site}{PREFIX}/decisions", fields=fields)
    assert answer.status == 200
    found: dict[str, Any] = answer.json()
    return found


def written(out: Path) -> bytes:
    path = out / "decisions.jsonl"
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ACCEPT, {"action": "accept", "incident": "aa11", "channels": ("flow",), "at_ns": PEAK}),
        (ACCEPT | {"at": INSIDE}, {"at_ns": INSIDE}),
        (ACCEPT | {"channels": [CHANNELS[1]]}, {"channels": (CHANNELS[1],)}),
        ({"action": "reject", "incident": "aa11"}, {"action": "reject", "channels": ()}),
        ({"action": "reject", "incident": "bb22"}, {"series": "b"}),
        ({"action": "false-alarm", "incident": "cc33"}, {"action": "false-alarm", "incident": "cc33"}),
        ({"action": "real", "incident": "aa11"}, {"action": "real", "series": "a"}),
        (MUTE, {"action": "mute", "series": "a", "at_ns": INSIDE, "until_ns": "2026-01-01T03:55:00Z"}),
        (MUTE | {"at": START_NS // 10**6, "for": "0s"}, {"at_ns": "2026-01-01T00:00:00Z"}),
    ],
)
def test_a_decision_is_a_record_that_a_replay_reads(
    tmp_path: Path, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    with explorer(tmp_path) as (site, out):
        status, told = post(site, body | {"why": "a test: ü\u2028"})
        assert status == 201, told
        (decision,) = read_decisions(out / "decisions.jsonl")
        for name, value in expected.items():
            is_time = name.endswith("_ns")
            wanted = int(np.datetime64(value[:19]).astype("datetime64[ns]").astype(int)) if is_time else value
            assert getattr(decision, name) == wanted, name
        assert (decision.who, decision.why) == ("ada", "a test: ü\u2028")
        (entry,) = listed(site)["decisions"]
        assert entry["id"] == decision.id == told["decision"]["id"]
        assert entry["outcome"] == ("kept" if body["action"] in ("real", "false-alarm") else "pending")
        assert entry["decided"] == pytest.approx(decision.decided_at_ns / 1e6)


WRONG = [
    (b"", 400, None),
    (b"[]", 400, None),
    (b'{"action": "accept"', 400, None),
    (b'{"action": "\xff"}', 400, None),
    ({}, 400, "action"),
    ({"action": "explode"}, 400, "action"),
    ({"action": "accept"}, 400, "incident"),
    ({"action": "accept", "incident": ""}, 400, "incident"),
    ({"action": "accept", "incident": "none"}, 404, "incident"),
    (ACCEPT | {"surprise": 1}, 400, "surprise"),
    (ACCEPT | {"channels": ["heat"]}, 400, "channels"),
    (ACCEPT | {"channels": ["flow"] * 65}, 400, "channels"),
    (ACCEPT | {"series": "a"}, 400, "series"),
    (ACCEPT | {"for": "2h"}, 400, "for"),
    (ACCEPT | {"at": BEGIN}, 400, "at"),
    (ACCEPT | {"at": END}, 400, "at"),
    (ACCEPT | {"at": "soon"}, 400, "at"),
    (ACCEPT | {"why": "x" * 1001}, 400, "why"),
    (ACCEPT | {"why": 5}, 400, "why"),
    (ACCEPT | {"why": "a\0b"}, 400, "why"),
    ({"action": "reject", "incident": "aa11", "channels": ["flow"]}, 400, "channels"),
    ({"action": "accept", "incident": "bb22"}, 409, "incident"),
    ({"action": "accept", "incident": "cc33"}, 409, "incident"),
    ({"action": "reject", "incident": "cc33"}, 409, "incident"),
    ({"action": "real", "incident": "aa11", "at": INSIDE}, 400, "at"),
    ({"action": "mute", "series": "a"}, 400, "for"),
    ({"action": "mute", "for": "1h"}, 400, "series"),
    (MUTE | {"series": "zz"}, 404, "series"),
    (MUTE | {"incident": "aa11"}, 400, "incident"),
    (MUTE | {"channels": ["flow"]}, 400, "channels"),
    (MUTE | {"for": "soon"}, 400, "for"),
    (MUTE | {"for": "-1s"}, 400, "for"),
    (MUTE | {"for": "367d"}, 400, "for"),
    (MUTE | {"at": None}, 400, "at"),
    (MUTE | {"at": "2030-01-01T00:00:00Z"}, 400, "at"),
    (MUTE | {"at": -1}, 400, "at"),
    (MUTE | {"at": 1e300}, 400, "at"),
]


@pytest.mark.parametrize(("body", "status", "field"), WRONG, ids=str)
def test_a_wrong_body_is_refused_with_its_field_and_nothing_is_written(
    shared: tuple[str, Path], body: object, status: int, field: str | None
) -> None:
    before = written(shared[1])
    found, told = post(shared[0], body)
    assert (found, told["error"].get("parameter")) == (status, field), told
    assert written(shared[1]) == before


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["accept", "mute", "real", "aa11", "bb22", "a", "b", "2h", INSIDE, BEGIN, "flow"]),
    st.lists(st.sampled_from(["flow", "", "heat"]), max_size=3),
)
BODIES = st.dictionaries(
    st.sampled_from(["action", "incident", "series", "channels", "for", "at", "why", "who"]), VALUES
)


@settings(max_examples=150, deadline=None)
@given(body=st.one_of(BODIES, st.sampled_from([ACCEPT, MUTE]).flatmap(lambda one: BODIES.map(one.__or__))))
def test_any_body_is_either_one_more_record_or_a_refusal(
    shared: tuple[str, Path], body: dict[str, Any]
) -> None:
    before = written(shared[1])
    status, told = post(shared[0], body)
    if status == 201:
        assert written(shared[1]).startswith(before)
        assert read_decisions(shared[1] / "decisions.jsonl")[-1].id == told["decision"]["id"]
    else:
        assert status in (400, 404, 409), told
        assert written(shared[1]) == before


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(shared: tuple[str, Path], body: bytes) -> None:
    assert post(shared[0], body)[0] == 400


FOREIGN = [
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 403),
    ({"Origin": "http://[broken"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 403),
    ({"X-Streamgauge": "other"}, 403),
    ({"X-Streamgauge": None}, 403),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "application/json; charset=utf-16"}, 415),
    ({"Content-Type": None}, 415),
    ({"Content-Encoding": "gzip"}, 415),
    ({"Host": "evil.example"}, 400),
]


@pytest.mark.parametrize(("changed", "status"), FOREIGN, ids=str)
def test_what_a_page_of_another_site_can_send_is_refused(
    shared: tuple[str, Path], changed: dict[str, str | None], status: int
) -> None:
    before = written(shared[1])
    headers = {name: value for name, value in (HEADERS | changed).items() if value is not None}
    answer = HTTP.request("POST", f"{shared[0]}{PREFIX}/decisions", body=json.dumps(ACCEPT), headers=headers)
    assert answer.status == status
    assert written(shared[1]) == before


def test_no_answer_allows_another_site_to_ask(shared: tuple[str, Path]) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET", "POST"):
        answer = HTTP.request(method, f"{shared[0]}{PREFIX}/decisions", headers=asked)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert answer.status == {"OPTIONS": 405, "GET": 200, "POST": 403}[method]


def test_the_own_page_may_write(shared: tuple[str, Path]) -> None:
    own = {"Origin": shared[0], "Sec-Fetch-Site": "same-origin"}
    assert post(shared[0], ACCEPT, HEADERS | own)[0] == 201


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(shared: tuple[str, Path], is_chunked: bool) -> None:
    before = written(shared[1])
    body = json.dumps(ACCEPT | {"why": "x" * MOST_BYTES}).encode()
    data = iter([body[:9000], body[9000:]]) if is_chunked else body
    answer = HTTP.request("POST", f"{shared[0]}{PREFIX}/decisions", body=data, headers=HEADERS)  # type: ignore[arg-type]
    assert answer.status == (411 if is_chunked else 413)
    assert written(shared[1]) == before


def test_a_read_only_explorer_says_so_and_writes_nothing(tmp_path: Path) -> None:
    for reason in (writing_of("ada", "", True, False), writing_of("ada", "", False, True)):
        with explorer(tmp_path, reason) as (site, out):
            status, told = post(site, ACCEPT)
            assert status == 403
            assert reason.refused in told["error"]["message"]
            assert listed(site)["writing"]["refused"] == reason.refused
            assert written(out) == b""


def test_the_name_comes_from_the_header_of_the_proxy_and_from_nowhere_else(tmp_path: Path) -> None:
    with explorer(tmp_path, Writing("ada", "X-Forwarded-User")) as (site, out):
        assert post(site, ACCEPT)[0] == 403
        assert post(site, ACCEPT, HEADERS | {"X-Forwarded-User": " "})[0] == 403
        assert post(site, ACCEPT, HEADERS | {"X-Forwarded-User": "x" * 201})[0] == 403
        twice = urllib3.HTTPHeaderDict(HEADERS)
        twice.add("X-Forwarded-User", "eve")
        twice.add("X-Forwarded-User", "bob")
        assert post(site, ACCEPT, twice)[0] in (201, 403)  # a client may join both into one value
        assert post(site, ACCEPT, HEADERS | {"X-Forwarded-User": "grace"})[0] == 201
        assert read_decisions(out / "decisions.jsonl")[-1].who == "grace"
        assert listed(site)["writing"]["who"] is None


def test_with_a_password_every_path_needs_it(tmp_path: Path) -> None:
    out = backtest(tmp_path)
    with served(out, ADA, Login.of("ops", "p:w ü")) as site:
        right = {"Authorization": "Basic " + base64.b64encode("ops:p:w ü".encode()).decode()}
        wrong = [{}, {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}]
        wrong += [{"Authorization": "Basic " + base64.b64encode(b"ops:p").decode()}]
        for path in ("/", "/static/page.js", f"{PREFIX}/source", f"{PREFIX}/decisions", "/nothing"):
            for headers in wrong:
                answer = HTTP.request("GET", f"{site}{path}", headers=headers)
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic")
                assert "Content-Security-Policy" in answer.headers
        assert HTTP.request("GET", f"{site}/", headers=right).status == 200
        assert post(site, ACCEPT, HEADERS)[0] == 401
        assert written(out) == b""
        assert post(site, ACCEPT, HEADERS | right)[0] == 201


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    with explorer(tmp_path) as (site, out), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(site, ACCEPT), range(24)))
        assert {status for status, _ in answers} == {201}
        found = {one.id for one in read_decisions(out / "decisions.jsonl")}
        assert found == {told["decision"]["id"] for _, told in answers}


def test_the_file_begins_with_what_the_backtest_repeated(tmp_path: Path) -> None:
    mute = {"id": "m", "action": "mute", "series": "a", "incident": None, "who": "bob", "why": "works"}
    mute |= {"at": BEGIN, "until": END, "outcome": "applied", "decided_at": BEGIN}
    command = "streamgauge backtest models/pump 'my data' --decisions old.jsonl --out here"
    with explorer(tmp_path, decisions=[mute], command=command) as (site, out):
        assert [one["outcome"] for one in listed(site)["decisions"]] == ["applied"]
        told = post(site, ACCEPT)[1]
        assert [one.id for one in read_decisions(out / "decisions.jsonl")] == ["m", told["decision"]["id"]]
        assert [one["outcome"] for one in listed(site)["decisions"]] == ["pending", "applied"]
        assert told["command"] == (
            "streamgauge backtest models/pump 'my data' --out here --decisions"
            f" {out.resolve() / 'decisions.jsonl'}"
        )
        assert stat.S_ISREG((out / "decisions.jsonl").stat().st_mode)


def test_a_file_without_its_last_line_end_is_continued(tmp_path: Path) -> None:
    with explorer(tmp_path) as (site, out):
        post(site, ACCEPT)
        (out / "decisions.jsonl").write_bytes(written(out).rstrip(b"\n"))
        post(site, MUTE)
        assert [one.action for one in read_decisions(out / "decisions.jsonl")] == ["accept", "mute"]


def test_what_cannot_be_written_or_read_is_said_in_words(tmp_path: Path) -> None:
    with explorer(tmp_path) as (site, out):
        (out / "decisions.jsonl").mkdir()
        status, told = post(site, ACCEPT)
        assert (status, "cannot be written" in told["error"]["message"]) == (503, True)
        (out / "decisions.jsonl").rmdir()
        (out / "decisions.jsonl").write_text("no record\n")
        answer = HTTP.request("GET", f"{site}{PREFIX}/decisions")
        assert (answer.status, "line 1" in answer.json()["error"]["message"]) == (503, True)
        assert HTTP.request("GET", f"{site}{PREFIX}/incidents").status == 200


def test_lists_have_the_newest_opinion_on_each_incident(tmp_path: Path) -> None:
    with explorer(tmp_path) as (site, _):
        for action in ("real", "false-alarm"):
            assert post(site, {"action": action, "incident": "aa11"})[0] == 201
        found = HTTP.request("GET", f"{site}{PREFIX}/incidents").json()["incidents"]
        assert {one["id"]: one["opinion"] for one in found} == {
            "aa11": "false-alarm",
            "bb22": None,
            "cc33": None,
        }
        assert HTTP.request("GET", f"{site}{PREFIX}/incidents/aa11").json()["opinion"] == "false-alarm"
        assert len(listed(site, incident="aa11")["decisions"]) == 2
        assert listed(site, series="b")["decisions"] == []
        assert set(listed(site, incident="cc33")["obstacles"]) == {"accept", "reject"}


def test_the_document_describes_the_body_and_every_refusal() -> None:
    described = document()["paths"][f"{PREFIX}/decisions"]["post"]
    assert set(described["responses"]) >= {
        "201",
        "400",
        "401",
        "403",
        "404",
        "408",
        "409",
        "411",
        "413",
        "415",
        "503",
    }
    wish = document()["components"]["schemas"]["Wish"]
    assert set(wish["properties"]) == {"action", "incident", "series", "channels", "for", "at", "why"}
    assert wish["additionalProperties"] is False
    assert "mute" in json.dumps(wish)


@pytest.mark.parametrize("words", [("--username", "ops"), ("--password-file", "/nowhere")])
def test_a_login_needs_both_name_and_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert main(["explore", str(tmp_path), "--port", "0", "--no-browser", *words]) == 2
    assert "--username and --password-file" in capsys.readouterr().err
