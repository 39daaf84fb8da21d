"""The API over HTTP: what it answers, what it refuses, its headers and its document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from urllib3.util import parse_url

from detector.explore.web.app import site_of
from detector.explore.web.endpoints import ENDPOINTS, PREFIX
from detector.explore.web.openapi import document
from detector.explore.web.opened import Opened
from detector.explore.web.pages import PAGES, STATIC
from detector.http.policy import HEADERS
from tests.detector.explore.explored import CHANNELS, START_NS, incident, scores_of, served, write_backtest

MINUTE_NS = 60_000_000_000
HTTP = urllib3.PoolManager(retries=False)
NUM = 200
START_MS = START_NS // 1_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Four series of minutes; `a` has an incident of half an hour, in which `b` moves and `c` does not."""
    names = np.repeat(np.array(["a", "b", "c", "d/é & co"], dtype=object), NUM)
    scores = scores_of(names, np.tile(START_NS + np.arange(NUM) * MINUTE_NS, 4), 5, 0.0)
    scores = scores.assign(error=0.5, threshold=1.0, cumulative=0.1, score=0.25, state="ok", paged=False)
    inside = np.tile((np.arange(NUM) >= 100) & (np.arange(NUM) < 130), 4)
    scores.loc[inside & (names == "a"), ["error", "score", "state"]] = [3.0, 9.0, "anomalous"]
    scores.loc[inside & (names == "b"), ["error", "score"]] = [2.0, 4.0]
    scores.loc[names == "c", ["error", "score"]] = [5.0, 25.0]  # always unusual
    begin, end = "2026-01-01T01:40:00Z", "2026-01-01T02:10:00Z"
    incidents = [
        incident("aa11", "a", begin, end, severity="critical"),
        incident("bb22", "c", "2026-01-01T03:00:00Z", None),
    ]
    mute = {"id": "m", "action": "mute", "series": "a", "incident": None, "who": "ann", "why": "works"}
    mute |= {"at": begin, "until": end}
    out = tmp_path_factory.mktemp("site")
    with served(write_backtest(out / "out", scores, incidents, decisions=[mute])) as address:
        yield address


def get(site: str, path: str, **fields: Any) -> tuple[int, Any]:
    answer = HTTP.request("GET", f"{site}{PREFIX}{path}", fields=fields)
    return answer.status, answer.json()


def test_the_source_says_what_is_shown(site: str) -> None:
    status, body = get(site, "/source")
    assert status == 200
    assert (body["model"], body["channels"], body["rows"], body["series"]) == (
        "pump",
        list(CHANNELS),
        4 * NUM,
        4,
    )
    assert (body["first"], body["last"]) == (START_MS, START_MS + NUM * 60_000)


def test_the_fleet_shows_trouble_first_with_its_lane(site: str) -> None:
    status, body = get(site, "/fleet", cells=10)
    assert status == 200
    assert [one["series"] for one in body["series"]] == ["a", "c", "b", "d/é & co"]
    assert body["series"][0]["severity"] == "critical"
    lanes = body["lanes"]
    cell = int((START_MS + 110 * 60_000 - lanes["from"]) // lanes["step"])
    lane = body["series"][0]["lane"]
    assert lane["state"][cell] == "anomalous"
    assert lane["strength"][cell] == pytest.approx(9.0)
    assert len(lane["strength"]) == lanes["num"]


def test_a_series_has_channels_bands_incidents_and_decisions(site: str) -> None:
    status, body = get(site, "/series", name="a")
    assert status == 200
    assert body["rows"] == len(body["time"]) == NUM
    assert {one["name"]: one["band"] for one in body["channels"]} == dict(
        zip(CHANNELS, (2.0, 0.5), strict=True)
    )
    assert [one["id"] for one in body["incidents"]] == ["aa11"]
    assert body["incidents"][0]["sentence"] == "a: flow is 9, expected 3 to 7"
    assert [(one["who"], one["action"]) for one in body["decisions"]] == [("ann", "mute")]
    _, own = get(site, "/series", name="b", channel=CHANNELS[1])
    assert [(one["name"], one["band"]) for one in own["channels"]] == [(CHANNELS[1], 5.0)]
    _, few = get(
        site, "/series", name="a", points=20, **{"from": "2026-01-01T01:00:00Z", "to": START_MS + 9_000_000}
    )
    assert few["rows"] == 90
    assert 0 < len(few["time"]) <= 21
    assert max(few["score_max"]) == 9.0


def test_names_with_signs_and_letters_are_found(site: str) -> None:
    status, body = get(site, "/series", name="d/é & co")
    assert (status, body["rows"]) == (200, NUM)


def test_an_incident_shows_what_moved_with_it_but_not_what_is_always_unusual(site: str) -> None:
    status, body = get(site, "/incidents/aa11")
    assert status == 200
    assert body["evidence"]["channels"][0]["name"] == "flow"
    assert body["window"]["from"] < body["start"] < body["end"] < body["window"]["to"]
    others = {one["series"]: one for one in body["others"]}
    assert list(others) == ["b", "c"]  # `c` is stronger, and was before
    assert (others["b"]["strength"], others["b"]["strength_before"]) == (4.0, 0.25)
    assert others["b"]["seconds_after"] == 0
    assert others["c"]["incident"] is None


def test_incidents_are_listed_newest_first_by_range_and_series(site: str) -> None:
    assert [one["id"] for one in get(site, "/incidents")[1]["incidents"]] == ["bb22", "aa11"]
    assert [one["id"] for one in get(site, "/incidents", series="a")[1]["incidents"]] == ["aa11"]
    late = get(site, "/incidents", **{"from": "2026-01-01T02:30:00Z"})[1]
    assert [one["id"] for one in late["incidents"]] == ["bb22"]  # it is still open


WRONG = [
    ("/fleet", {"size": "0"}, "size"),
    ("/fleet", {"size": "1e3"}, "size"),
    ("/fleet", {"page": "-1"}, "page"),
    ("/fleet", {"sort": "series; DROP TABLE x"}, "sort"),
    ("/fleet", {"state": "fine"}, "state"),
    ("/fleet", {"trouble": "yes"}, "trouble"),
    ("/fleet", {"from": "yesterday"}, "from"),
    ("/fleet", {"from": "9" * 25}, "from"),
    ("/fleet", {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
    ("/fleet", {"nonsense": "1"}, "nonsense"),
    ("/fleet", {"search": "x" * 500}, "search"),
    ("/series", {}, "name"),
    ("/series", {"name": "a\0b"}, "name"),
    ("/series", {"name": "a", "points": "5"}, "points"),
    ("/incidents", {"size": "٣"}, "size"),
]


@pytest.mark.parametrize(("path", "fields", "name"), WRONG)
def test_a_wrong_parameter_is_named(site: str, path: str, fields: dict[str, str], name: str) -> None:
    status, body = get(site, path, **fields)
    assert status == 400
    assert body["error"]["parameter"] == name
    assert body["error"]["message"].startswith(f"`{name}` ")


def test_what_does_not_exist_is_404_in_json(site: str) -> None:
    heat = {"name": "a", "channel": "heat"}
    for path, fields in (
        ("/series", {"name": "zz"}),
        ("/series", heat),
        ("/incidents/0000", {}),
        ("/nothing", {}),
    ):
        status, body = get(site, path, **fields)
        assert (status, body["error"]["status"]) == (404, 404)
    twice = HTTP.request("GET", f"{site}{PREFIX}/fleet?size=1&size=2")
    assert (twice.status, twice.json()["error"]["parameter"]) == (400, "size")


def test_all_but_decisions_is_only_read(site: str) -> None:
    for endpoint in ENDPOINTS:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            if (endpoint.path, method) == ("/decisions", "POST"):
                continue  # tests/detector/explore/test_deciding.py
            assert HTTP.request(method, f"{site}{PREFIX}{endpoint.path}").status == 405


def test_every_answer_has_the_headers_of_security(site: str) -> None:
    paths = [
        *PAGES,
        "/static/fleet.js",
        "/static/none",
        f"{PREFIX}/source",
        f"{PREFIX}/fleet?x=1",
        "/nothing",
    ]
    for path in paths:
        headers = HTTP.request("GET", f"{site}{path}").headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS, path
        assert "server" not in headers
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_a_foreign_host_name_is_refused(site: str) -> None:
    """A page of another site whose name was pointed at 127.0.0.1 must not read the answers."""
    foreign = HTTP.request("GET", f"{site}{PREFIX}/source", headers={"Host": "evil.example"})
    assert foreign.status == 400
    local = HTTP.request(
        "GET", f"{site}{PREFIX}/source", headers={"Host": f"localhost:{parse_url(site).port}"}
    )
    assert local.status == 200


def test_no_path_leads_out_of_the_static_files(site: str) -> None:
    for path in (
        "/static/../web/app.py",
        "/static/%2e%2e/web/app.py",
        "/static/..%2fweb%2fapp.py",
        "/static//etc/passwd",
    ):
        assert HTTP.urlopen("GET", f"{site}{path}", assert_same_host=False).status in (400, 404)


def routes() -> set[str]:
    site = site_of(Opened(None, None, None, None))  # type: ignore[arg-type]  # no request is answered
    return {route.path for route in site.routes if route.path.startswith(PREFIX)}


def test_the_document_describes_every_route_and_no_other(site: str) -> None:
    status, body = get(site, "/openapi.json")
    assert status == 200
    assert body == json.loads(json.dumps(document()))
    assert set(body["paths"]) == routes()
    identifiers = [path["get"]["operationId"] for path in body["paths"].values()]
    assert len(set(identifiers)) == len(identifiers)
    for path, described in body["paths"].items():
        named = {one["name"] for one in described["get"].get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


def test_answers_have_what_the_document_promises(site: str) -> None:
    given = {"/series": {"name": "a"}}
    for endpoint in ENDPOINTS:
        status, body = get(site, endpoint.path.replace("{id}", "aa11"), **given.get(endpoint.path, {}))
        required = document()["paths"][f"{PREFIX}{endpoint.path}"]["get"]["responses"]["200"]
        assert status == 200
        assert set(required["content"]["application/json"]["schema"]["required"]) <= body.keys()


def test_numbers_outside_of_the_documented_bounds_are_refused_and_those_at_them_taken(site: str) -> None:
    given = {"/series": {"name": "a"}}
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{id}", "aa11")
        for one in document()["paths"][f"{PREFIX}{endpoint.path}"]["get"]["parameters"]:
            if one["schema"].get("type") != "integer":
                continue
            least, most = one["schema"]["minimum"], one["schema"]["maximum"]
            tried = {
                value: get(site, path, **{**given.get(endpoint.path, {}), one["name"]: value})[0]
                for value in (least, most, most + 1)
            }
            assert tried == {least: 200, most: 200, most + 1: 400}, (path, one["name"])


def test_the_assets_are_small_and_hold_no_inline_script_or_style() -> None:
    files = [path for path in STATIC.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 250_000
    assert (STATIC / "uplot.LICENSE.txt").read_text().startswith("The MIT License")
    for page in PAGES.values():
        html = page.html()
        assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=|https?://", html) == []


def test_the_pages_speak_of_files_that_exist() -> None:
    for page in PAGES.values():
        for name in re.findall(r'"/static/([^"]+)"', page.html()):
            assert (STATIC / name).is_file(), (page.name, name)
    for module in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', module.read_text()):
            assert (STATIC / name).is_file(), (module.name, name)


def test_a_directory_that_is_no_backtest_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import streamgauge

    assert streamgauge.main(["explore", str(tmp_path), "--port", "0", "--no-browser"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "streamgauge backtest MODEL DATA --out" in message


def test_without_the_extra_the_message_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    import streamgauge

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "duckdb" else found(name))
    assert streamgauge.main(["explore", str(tmp_path)]) == 2
    assert "pip install 'streamgauge[explore]'" in capsys.readouterr().err
