"""Groups of series against brute force, over the API, and the choices of the one who starts the explorer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError
from detector.explore.display import Display
from detector.explore.queries.fleet import FleetQuery, fleet
from detector.explore.queries.groups import groups
from detector.explore.queries.names import BY_SLASH
from detector.explore.source import source_of
from detector.explore.store.layout import HOUR_NS, STATES, ExploreError
from detector.explore.web.endpoints import PREFIX
from detector.explore.web.serve import opened
from tests.detector.explore.explored import ADA, START_NS, incident, scores_of, serving, write_backtest
from tests.detector.explore.test_store import SLOW, store, strength

MINUTE_NS = 60_000_000_000
NAMES = ["p/l1/a", "p/l1/b", "p/l2/c", "q/x", "q/pump's", "alone", "p/l1"]
PATTERNS = {
    BY_SLASH: lambda one: one.rpartition("/")[0] or one,
    "^([^/]+)/": lambda one: one.partition("/")[0],
}
HTTP = urllib3.PoolManager(retries=False)


def scores(names: list[str], num: int, seed: int) -> pd.DataFrame:
    """Rows of a minute of each series, with modes of operation."""
    series = np.repeat(np.array(names, dtype=object), num)
    frame = scores_of(series, np.tile(START_NS + np.arange(num) * MINUTE_NS, len(names)), seed, 0.2)
    return frame.assign(mode=np.random.default_rng(seed).choice(["run", "rest", ""], len(frame)))


@SLOW
@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True),
    st.integers(0, 99),
    st.sampled_from(sorted(PATTERNS)),
)
def test_a_group_is_what_its_series_are_together(names: list[str], seed: int, pattern: str) -> None:
    frame = scores(names, 150, seed)
    frame = frame.assign(strength=strength(frame), group=frame["series"].map(PATTERNS[pattern]))
    with store(frame.drop(columns=["strength", "group"])) as (database, about):
        query = FleetQuery(
            about.first_ns, about.last_ns, pattern=pattern, cells=8, sort="series", order="asc"
        )
        found = groups(database, query)
        opened_up = {
            one["group"]: fleet(
                database, FleetQuery(about.first_ns, about.last_ns, pattern=pattern, group=one["group"])
            )
            for one in found["groups"]
        }
    assert [one["group"] for one in found["groups"]] == sorted(frame["group"].unique())
    assert (found["total"], found["series"]) == (frame["group"].nunique(), len(names))
    cell = (frame["timestamp"] - round(found["lanes"]["from"] * 1e6)) // round(found["lanes"]["step"] * 1e6)
    for one in found["groups"]:
        mine = frame[frame["group"] == one["group"]]
        newest = mine[mine["timestamp"] == mine["timestamp"].max()]
        assert one["series"] == mine["series"].nunique()
        assert one["state"] == max(newest["state"], key=STATES.index)
        assert one["states"] == newest["state"].value_counts().to_dict()
        assert one["modes"] == newest["mode"][newest["mode"] != ""].value_counts().to_dict()
        assert (one["rows"], one["paged"]) == (len(mine), mine["paged"].sum())
        assert one["strength"] == pytest.approx(mine["strength"].max())
        lane = mine.groupby(cell[mine.index])["strength"].max().reindex(range(found["lanes"]["num"]))
        np.testing.assert_allclose(np.array(one["lane"]["strength"], float), lane.to_numpy(), rtol=1e-9)
        assert {each["series"] for each in opened_up[one["group"]]["series"]} == set(mine["series"])


@pytest.mark.parametrize("step_ns", [MINUTE_NS, HOUR_NS])
def test_pages_of_groups_are_the_whole_without_a_gap(step_ns: int) -> None:
    names = [f"plant-{at % 7}/pump-{at}" for at in range(30)]
    frame = scores(names, 5, 1)
    frame = frame.assign(timestamp=START_NS + (frame["timestamp"] - START_NS) // MINUTE_NS * step_ns)
    with store(frame) as (database, about):
        span = (about.first_ns, about.last_ns)
        whole = groups(database, FleetQuery(*span, pattern=BY_SLASH, sort="strength"))["groups"]
        pages = [
            groups(database, FleetQuery(*span, pattern=BY_SLASH, sort="strength", size=3, page=at))
            for at in range(4)
        ]
    assert [one["group"] for page in pages for one in page["groups"]] == [one["group"] for one in whole]
    assert {(page["total"], page["series"]) for page in pages} == {(7, 30)}  # also of the page after the last
    strengths = [one["strength"] for one in whole]
    assert strengths == sorted(strengths, reverse=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two lines of a plant and a series alone; one series of the first line has an open incident."""
    frame = scores(["plant/l1/a", "plant/l1/b", "plant/l2/c", "alone"], 60, 4)
    found = [incident("aa11", "plant/l1/a", "2026-01-01T00:10:00Z", None, severity="critical")]
    found.append(incident("bb22", "alone", "2026-01-01T00:20:00Z", "2026-01-01T00:25:00Z", reason="silent"))
    out = write_backtest(tmp_path_factory.mktemp("groups") / "out", frame, found)
    with serving(
        opened(source_of(str(out)), ADA, display=Display(runbooks="https://wiki.example/books/"))
    ) as address:
        yield address


def get(site: str, path: str, **fields: Any) -> Any:
    answer = HTTP.request("GET", f"{site}{PREFIX}{path}", fields=fields)
    assert answer.status == 200, answer.data
    return answer.json()


def test_the_group_in_trouble_is_first_and_opens(site: str) -> None:
    assert get(site, "/source")["group_by"] == BY_SLASH
    found = get(site, "/groups")["groups"]
    assert [one["group"] for one in found][:2] == ["plant/l1", "alone"]
    first, alone = found[0], next(one for one in found if one["group"] == "alone")
    assert (first["series"], first["troubled"], first["incidents"], first["firing"]) == (2, 1, 1, 1)
    assert (first["severity"], first["only"], alone["only"]) == ("critical", None, "alone")
    inside = get(site, "/fleet", group="plant/l1")
    assert [one["series"] for one in inside["series"]] == ["plant/l1/a", "plant/l1/b"]
    assert [one["id"] for one in get(site, "/incidents", group="plant/l1")["incidents"]] == ["aa11"]
    assert get(site, "/incidents", group="nobody")["incidents"] == []


def test_search_and_trouble_choose_the_series_of_groups(site: str) -> None:
    assert [(one["group"], one["series"]) for one in get(site, "/groups", search="/A")["groups"]] == [
        ("plant/l1", 1)
    ]
    assert {one["group"] for one in get(site, "/groups", trouble="true")["groups"]} == {"plant/l1", "alone"}
    nobody = get(site, "/groups", search="nobody")
    assert (nobody["total"], nobody["series"], nobody["groups"]) == (0, 0, [])


def test_an_incident_links_the_runbook_of_its_alert_and_names_the_modes(site: str) -> None:
    one = get(site, "/incidents/aa11")
    assert one["runbooks"] == [
        {"alert": "StreamgaugeAnomaly", "link": "https://wiki.example/books/StreamgaugeAnomaly.md"}
    ]
    assert sum(mode["rows"] for mode in one["modes"]) == 50
    assert {mode["mode"] for mode in one["modes"]} == {"run", "rest", None}
    assert get(site, "/incidents/bb22")["runbooks"][0]["alert"] == "StreamgaugeSeriesSilent"
    assert set(one["window"]["mode"]) <= {"run", "rest", None}
    newest = get(site, "/fleet", search="plant/l1/a")["series"][0]
    assert newest["mode"] == get(site, "/series", name="plant/l1/a")["mode"][-1]


def test_every_runbook_that_an_incident_names_is_a_page_and_an_alert() -> None:
    root = Path(__file__).parent.parent.parent.parent
    rules = (root / "deploy/prometheus/rules/streamgauge-alerts.yml").read_text()
    reasons = (
        "score",
        "cumulative",
        "season",
        "drift",
        "mode",
        "flatline",
        "out_of_range",
        "missing",
        "silent",
        "stream_silent",
    )
    found = set()
    for reason in reasons:
        told = {
            "reason": reason,
            "lasting_since": "2026-01-01T00:00:00Z",
            "decision": None,
            "unjudged": {"why": "mode"},
        }
        found |= {one["alert"] for one in Display().runbooks_of(told)}
    assert len(found) == 6
    for name in found:
        assert (root / f"docs/runbooks/{name}.md").is_file()
        assert f"alert: {name}\n" in rules


def test_links_of_runbooks_take_the_form_that_was_asked_for() -> None:
    told = {"reason": "score", "lasting_since": None, "decision": None}
    assert (
        Display(runbooks="https://x/{alert}/").runbooks_of(told)[0]["link"] == "https://x/StreamgaugeAnomaly/"
    )
    assert Display().runbooks_of(told)[0]["link"] is None
    for wrong in ("javascript:alert(1)", "wiki/"):
        with pytest.raises(ConfigError, match="--runbooks"):
            Display(runbooks=wrong)


@pytest.mark.parametrize("pattern", ["(", "no group", "(?<=a)(b)"])
def test_an_expression_that_names_no_groups_is_refused_with_the_option(pattern: str, tmp_path: Path) -> None:
    out = write_backtest(tmp_path / "out", scores(["a/b"], 3, 0), [])
    with pytest.raises(ExploreError, match="--group-by"):
        opened(source_of(str(out)), ADA, display=Display(group_by=pattern))


def test_without_an_expression_each_series_is_its_own_group(tmp_path: Path) -> None:
    out = write_backtest(tmp_path / "out", scores(["a/b", "a/c"], 3, 0), [])
    shown = opened(source_of(str(out)), ADA, display=Display(group_by=""))
    try:
        found = groups(shown.database, FleetQuery(shown.description.first_ns, shown.description.last_ns))
        assert [one["only"] for one in found["groups"]] == [one["group"] for one in found["groups"]]
    finally:
        shown.close()


def test_a_configuration_without_a_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "streamgauge.toml"
    fallback = '[fallback]\nenabled = true\n[kafka]\ntopic = "readings"\n'
    file.write_text(fallback)
    with pytest.raises(ConfigError, match=r"\[fallback\]: the explorer shows models, and there is none yet"):
        source_of(str(file))
    file.write_text('[[models]]\npath = "models/pump"\nseries = ["pump-*"]\n' + fallback)
    assert source_of(str(file)).group is not None
