"""The what-if over HTTP: start, progress, result, cancel, and who may start one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from detector.explore.background.child import Report
from detector.explore.background.jobs import BusyError, Jobs
from detector.explore.web.endpoints import PREFIX
from tests.detector.explore.explored import incident, real_backtest, scores_of, served, write_backtest

HTTP = urllib3.PoolManager(retries=False)
JSON = {"Content-Type": "application/json", "X-Streamgauge": "decide"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(real_backtest(tmp_path_factory.mktemp("whatif"))) as address:
        yield address


def call(site: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = JSON if method != "GET" else {}
    answer = HTTP.request(method, f"{site}{PREFIX}{path}", body=data, headers={**kind, **named})
    return answer.status, answer.json()


def until(found: Callable[[], Any]) -> Any:
    """The first value that is true, within ten minutes: the new process loads the model."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not happen within ten minutes")


def over(site: str, job: str) -> Any:
    def ended() -> Any:
        status, body = call(site, "GET", f"/whatif/{job}")
        assert status == 200
        return body if body["state"] != "running" else None

    return until(ended)


def test_the_present_settings_and_the_choice_of_budgets(site: str) -> None:
    status, body = call(site, "GET", "/whatif")
    assert status == 200
    assert body["why_not"] is None
    assert body["alarm_budget"] in body["budgets"]
    assert (body["rules"]["for_rows"], body["rules"]["min_duration"]) == (1, "0s")


def test_a_question_is_answered_once_and_kept(site: str) -> None:
    status, started = call(
        site, "POST", "/whatif", {"alarm_budget": "1/hour", "incidents": {"quiet_rows": 20}}
    )
    assert status == 202
    body = over(site, started["id"])
    assert (body["state"], body["message"]) == ("done", None)
    result = body["result"]
    _, stored = call(site, "GET", "/incidents")
    assert result["present"]["incidents"] == stored["total"]
    assert result["repeats"]
    assert 'alarm_budget = "1/hour"' in result["toml"]
    assert "quiet_rows = 20  # was 8" in result["toml"]
    again = {"alarm_budget": "1/hour", "incidents": {"for_rows": 1, "quiet_rows": 20}}
    status, same = call(site, "POST", "/whatif", again)
    assert (status, same["id"], same["result"]) == (200, started["id"], result)


def test_one_runs_at_a_time_and_it_can_be_cancelled(site: str) -> None:
    status, first = call(site, "POST", "/whatif", {"alarm_budget": "2/hour"})
    assert status == 202
    status, refused = call(site, "POST", "/whatif", {"alarm_budget": "3/hour"})
    assert (status, refused["error"]["job"]) == (409, first["id"])
    status, ended = call(site, "DELETE", f"/whatif/{first['id']}")
    assert (status, ended["state"], ended["result"]) == (200, "cancelled", None)
    status, _ = call(site, "POST", "/whatif", {"alarm_budget": "3/hour", "series": "pump-2"})
    assert status == 202
    job = call(site, "POST", "/whatif", {"alarm_budget": "3/hour", "series": "pump-2"})[1]["id"]
    assert over(site, job)["state"] == "done"


WRONG: list[tuple[Any, int, str]] = [
    ({"alarm_budget": "often"}, 400, "alarm_budget"),
    ({"alarm_budget": 3}, 400, "alarm_budget"),
    ({"incidents": {"for_rows": 0}}, 400, "incidents"),
    ({"incidents": {"fold_series": 3}}, 400, "incidents"),
    ({"incidents": [1]}, 400, "incidents"),
    ({"from": "yesterday"}, 400, "from"),
    ({"from": 5, "to": 4}, 400, "to"),
    ({"budget": "1/week"}, 400, "budget"),
    ([], 400, "body"),
]


@pytest.mark.parametrize(("body", "status", "name"), WRONG)
def test_a_wrong_question_is_refused_and_named(site: str, body: Any, status: int, name: str) -> None:
    found, answer = call(site, "POST", "/whatif", body)
    assert (found, answer["error"]["parameter"]) == (status, name)


def test_what_is_unknown_is_404(site: str) -> None:
    assert call(site, "POST", "/whatif", {"series": "nobody"})[0] == 404
    for method in ("GET", "DELETE"):
        assert call(site, method, "/whatif/0123456789abcdef")[0] == 404


def test_other_sites_can_start_and_cancel_nothing(site: str) -> None:
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}):
        assert call(site, "POST", "/whatif", {}, **headers)[0] == 403
        assert call(site, "DELETE", "/whatif/1", **headers)[0] == 403
    assert call(site, "DELETE", "/whatif/1", X_Streamgauge="no")[0] == 403
    assert call(site, "POST", "/whatif", {}, Origin="http://evil.example")[0] == 403
    assert call(site, "POST", "/whatif", {}, Content_Type="text/plain")[0] == 415
    assert call(site, "POST", "/whatif", {"series": "x" * 70_000})[0] == 413
    own = {"Origin": site, "Sec_Fetch_Site": "same-origin"}
    assert call(site, "POST", "/whatif", {"series": "nobody"}, **own)[0] == 404


def test_a_backtest_of_an_older_release_says_why_nothing_can_be_asked(tmp_path: Path) -> None:
    import numpy as np

    names = np.repeat(np.array(["a"], dtype=object), 5)
    scores = scores_of(names, 1_767_225_600_000_000_000 + np.arange(5) * 60_000_000_000, 1, 0.0)
    incidents = [incident("aa", "a", "2026-01-01T00:01:00Z", None)]
    with served(write_backtest(tmp_path / "out", scores, incidents)) as site:
        assert "run the backtest again" in call(site, "GET", "/whatif")[1]["why_not"]
        status, body = call(site, "POST", "/whatif", {})
        assert status == 409
        assert "run the backtest again" in body["error"]["message"]


def slow(task: dict[str, Any], report: Report) -> dict[str, Any]:
    report(1, 2)
    Path(task["file"]).write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def dies(task: dict[str, Any], report: Report) -> dict[str, Any]:
    os._exit(7)


def fails(task: dict[str, Any], report: Report) -> dict[str, Any]:
    raise ValueError("no such budget")


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_cancelled_job_and_one_that_runs_at_the_end_leave_no_process(tmp_path: Path) -> None:
    jobs, file = Jobs(), tmp_path / "process"
    for end in (lambda: jobs.cancel("a"), jobs.close):
        jobs.start("a", slow, {"file": str(file)})
        process = int(until(lambda: file.exists() and file.read_text()))
        with pytest.raises(BusyError):
            jobs.start("b", slow, {})
        assert until(lambda: (jobs.status("a") or {})["of"] == 2)  # a thread takes what the process sends
        end()
        assert until(lambda: not is_alive(process))  # noqa: B023  # it is called at once
        assert (jobs.status("a") or {})["state"] == "cancelled"
        file.unlink()


def test_a_job_that_takes_too_long_dies_or_fails_says_so(tmp_path: Path) -> None:
    slowly, jobs = Jobs(0.5), Jobs()
    slowly.start("a", slow, {"file": str(tmp_path / "process")})
    found = until(lambda: (one := slowly.status("a")) and one["state"] == "failed" and one)
    assert "shorter range" in found["message"]
    for work, words in ((dies, "code 7"), (fails, "no such budget")):
        jobs.start(words, work, {})
        found = until(lambda: (one := jobs.status(words)) and one["state"] == "failed" and one)  # noqa: B023
        assert words in found["message"]
