"""The buttons of decisions in Chromium, to the file and to a replay of it; other sites are refused."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from detector.explore.deciding.writing import writing_of
from detector.incidents.decision import Decision
from detector.offline.decisions_file import read_decisions
from streamgauge import main
from tests.detector.explore.explored import real_backtest, served

pytestmark = pytest.mark.browser
READY = "body:not([aria-busy])"
FAULTY = "pump-2"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return real_backtest(tmp_path)


@pytest.fixture
def site(out: Path) -> Iterator[str]:
    with served(out) as address:
        yield address


def incidents(out: Path, series: str = FAULTY) -> list[dict[str, Any]]:
    found = json.loads((out / "incidents.json").read_text())["incidents"]
    return [one for one in found if one["series"] == series]


def written(out: Path) -> list[Decision]:
    path = out / "decisions.jsonl"
    return read_decisions(path) if path.exists() else []


def go(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(READY)
    expect(page.locator("#decided tbody tr").first).to_be_visible()


def at_incident(page: Page, site: str, out: Path) -> str:
    name: str = incidents(out)[0]["id"]
    go(page, f"{site}/incident?id={name}")
    return name


def decide(page: Page, button: str, **fields: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()
    for name, value in fields.items():
        page.locator(f"#ask-{name}").fill(value)
    page.locator("#ask button[type=submit]").click()
    expect(page.locator("#ask")).to_be_hidden()


@pytest.mark.parametrize(
    ("button", "action", "told"),
    [
        ("Accept", "accept", "accepted (flow"),
        ("Reject", "reject", "rejected as a fault"),
        ("False alarm", "false-alarm", "false alarm"),
        ("Real", "real", "real"),
        ("Mute series", "mute", "muted until"),
    ],
)
def test_each_button_writes_its_record_and_the_page_lists_it(
    page: Page, site: str, out: Path, button: str, action: str, told: str
) -> None:
    name = at_incident(page, site, out)
    expect(page.locator("#decided")).to_contain_text("Nobody has decided anything")
    decide(page, button, why="a valve was tested")
    (found,) = written(out)
    assert (found.action, found.series, found.who) == (action, FAULTY, "ada")
    assert found.why == "a valve was tested"
    assert found.incident == ("" if action == "mute" else name)
    row = page.locator("#decided tbody tr")
    expect(row).to_have_count(1)
    for text in (told, "ada", "a valve was tested"):
        expect(row).to_contain_text(text)
    is_opinion = action in ("real", "false-alarm")
    expect(row).to_contain_text("without effect" if is_opinion else "pending until the backtest is repeated")
    expect(page.locator("#told")).to_contain_text("decisions.jsonl")
    if is_opinion:
        expect(page.locator("#summary")).to_contain_text(f"people say: {told}")
        go(page, f"{site}/series?name={FAULTY}")
        expect(page.locator("#incidents")).to_contain_text(f"people say: {told}")


def test_the_command_of_the_page_repeats_the_backtest_with_the_accepted_level(
    page: Page, site: str, out: Path
) -> None:
    at_incident(page, site, out)
    decide(page, "Accept", why="new pump")
    command = shlex.split(page.locator("#replay pre").inner_text())
    assert main(command[1:]) == 0
    found = incidents(out)[0]
    assert (found["ending"], found["decision"]["why"]) == ("accepted", "new pump")
    with served(out) as again:
        go(page, f"{again}/incident?id={incidents(out)[0]['id']}")
        expect(page.locator("#decided tbody tr")).to_contain_text("in effect from the row of")
        expect(page.locator("#replay")).to_be_empty()


def test_a_mute_of_the_series_page_leaves_no_incident_in_the_replay(page: Page, site: str, out: Path) -> None:
    assert incidents(out)
    go(page, f"{site}/series?name={FAULTY}")
    decide(page, "Mute series", **{"for": "1h", "why": "filter is changed"})
    expect(page.locator("#decided tbody tr")).to_contain_text("muted until")
    assert main(shlex.split(page.locator("#replay pre").inner_text())[1:]) == 0
    assert incidents(out) == []


def test_the_dialog_works_with_keys_alone_and_gives_the_focus_back(page: Page, site: str, out: Path) -> None:
    at_incident(page, site, out)
    button = page.get_by_role("button", name="Reject", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Reject: it is a fault")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label(re.compile("^Reason"))).to_be_focused()
    page.keyboard.type("worn - 0 +")
    for _ in range(2):
        page.keyboard.press("Tab")
        if page.locator("#ask button[type=submit]:focus").count():
            break
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert [one.why for one in written(out)] == ["worn - 0 +"]


def test_every_field_of_the_dialogs_has_a_label(page: Page, site: str, out: Path) -> None:
    at_incident(page, site, out)
    for button in page.locator("#actions button").all():
        button.click()
        expect(page.locator("#ask")).to_have_accessible_name(re.compile(r"\w+"))
        for control in page.locator("#ask input, #ask textarea").all():
            expect(control).to_have_accessible_name(re.compile(r"\w+"))
        page.keyboard.press("Escape")


def test_a_refusal_is_said_in_the_dialog_and_can_be_corrected(browser: Browser, site: str, out: Path) -> None:
    page = browser.new_page()  # Chromium writes refused requests to the console
    go(page, f"{site}/series?name={FAULTY}")
    page.get_by_role("button", name="Mute series").click()
    page.locator("#ask-for").fill("soon")
    page.locator("#ask button[type=submit]").click()
    expect(page.locator("#ask [role=alert]")).to_contain_text("'soon' is not a duration")
    assert written(out) == []
    page.locator("#ask-for").fill("30m")
    page.locator("#ask button[type=submit]").click()
    expect(page.locator("#ask")).to_be_hidden()
    assert [one.action for one in written(out)] == ["mute"]
    page.close()


def test_a_read_only_explorer_has_no_buttons(page: Page, out: Path) -> None:
    with served(out, writing_of("ada", "", True, False)) as site:
        at_incident(page, site, out)
        expect(page.locator("#actions button")).to_have_count(0)
        expect(page.locator("#actions")).to_contain_text("--read-only")


def test_the_page_fits_a_phone(browser: Browser, site: str, out: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    at_incident(page, site, out)
    decide(page, "Accept", why="a long reason " * 20)
    page.get_by_role("button", name="Mute series").click()
    assert page.locator("html").evaluate("page => page.scrollWidth") <= 390
    page.close()


class Elsewhere(BaseHTTPRequestHandler):
    """An empty page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


ATTEMPTS = {
    "as JSON": """async ([url, body]) => { try { const answer = await fetch(url, {method: "POST", body,
        headers: {"Content-Type": "application/json", "X-Streamgauge": "decide"}}); return answer.status; }
        catch (error) { return "refused by the browser"; } }""",
    "as text": """async ([url, body]) => { const answer = await fetch(url, {method: "POST", body,
        mode: "no-cors", headers: {"Content-Type": "text/plain"}}).catch(() => null);
        return answer && answer.type; }""",
    "beacon": """async ([url, body]) => navigator.sendBeacon(url, new Blob([body], {type: "text/plain"}))""",
    "form": """async ([url, body]) => { const form = document.createElement("form"); form.method = "POST";
        form.action = url; form.enctype = "text/plain"; form.target = "sink";
        const frame = document.createElement("iframe"); frame.name = "sink"; document.body.append(frame);
        const field = document.createElement("input"); field.name = body.slice(0, -2) + ',"why":"';
        field.value = '"}'; form.append(field); document.body.append(form); form.submit();
        return "sent"; }""",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("way", ATTEMPTS)
def test_a_page_of_another_site_writes_nothing(
    browser: Browser, site: str, out: Path, elsewhere: int, way: str, host: str
) -> None:
    body = json.dumps({"action": "reject", "incident": incidents(out)[0]["id"]})
    page = browser.new_page()
    page.goto(f"http://{host}:{elsewhere}/")
    with page.expect_event("request", lambda one: one.url.endswith("/decisions"), timeout=60_000):
        told = page.evaluate(ATTEMPTS[way], [f"{site}/api/v1/decisions", body])
    if way == "as JSON":
        assert told == "refused by the browser"
    page.close()
    assert written(out) == []
    own = browser.new_page()
    own.goto(site)
    allowed = own.evaluate(ATTEMPTS["as JSON"], [f"{site}/api/v1/decisions", body])
    own.close()
    assert allowed == 201, "the same request from the own page is what was refused"
    assert len(written(out)) == 1
