"""The store: what goes in comes out, in brief and in full, against brute force."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.explore.queries.fleet import FleetQuery, fleet
from detector.explore.queries.lanes import cells_of, lanes
from detector.explore.queries.series import SeriesQuery, series_view
from detector.explore.store.build import store_of
from detector.explore.store.database import Database, open_store
from detector.explore.store.layout import DAY_NS, HOUR_NS, STATES, Description, ExploreError
from tests.detector.explore.explored import CHANNELS, SHARPNESS, START_NS, incident, scores_of, write_backtest

SECOND = 1_000_000_000
SLOW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ["a", "b", "pump's", 'naïve "x"', "%_"]


@st.composite
def verdicts(draw: st.DrawFn) -> pd.DataFrame:
    """A few series of rows at random times of some days, each row of a series at another time."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    seed, days = draw(st.integers(0, 2**31)), draw(st.integers(1, 4))
    rng = np.random.default_rng(seed)
    series, times = [], []
    for one in names:
        num = draw(st.integers(1, 60))
        at = np.unique(rng.integers(0, days * 86_400, num)) * SECOND + START_NS - 2 * HOUR_NS
        series += [one] * len(at)
        times.append(at)
    frame = scores_of(np.array(series, dtype=object), np.concatenate(times), seed, draw(st.floats(0, 0.9)))
    return frame.sample(frac=1.0, random_state=seed % 2**31)


@contextmanager
def store(
    scores: pd.DataFrame, incidents: list[dict[str, object]] | None = None
) -> Iterator[tuple[Database, Description]]:
    directory = Path(tempfile.mkdtemp())
    try:
        source = write_backtest(directory / "out", scores, incidents or [])
        description = store_of(source, directory / "store")
        database = open_store(directory / "store")
        yield database, description
        database.close()
    finally:
        shutil.rmtree(directory)


def finite(values: pd.Series) -> np.ndarray:
    return np.clip(values.to_numpy(), -1e300, 1e300)


def strength(scores: pd.DataFrame) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = (finite(scores["error"]) / finite(scores["threshold"])) ** SHARPNESS
    return np.clip(np.fmax(ratio, scores["cumulative"].to_numpy()), None, 1e300)


def rank(states: pd.Series) -> np.ndarray:
    return states.map(STATES.index).to_numpy()


def same(found: object, expected: object) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=1e-9)


@SLOW
@given(verdicts())
def test_every_row_comes_out_as_it_went_in(scores: pd.DataFrame) -> None:
    with store(scores) as (database, description):
        found = pd.DataFrame(database.columns("SELECT *, epoch_ns(timestamp) AS ns FROM verdicts"))
        expected = scores.assign(strength=strength(scores))
        found, expected = found.sort_values(["series", "ns"]), expected.sort_values(["series", "timestamp"])
        for name in ("series", "state", "evidence", "paged"):
            assert found[name].tolist() == expected[name].tolist()
        assert found["ns"].tolist() == expected["timestamp"].tolist()
        kinds = ("actual", "expected", "contribution")
        for name in ["score", "p_value", "cumulative", *(f"{k}_{c}" for k in kinds for c in CHANNELS)]:
            same(found[name], finite(expected[name]))
        same(found["strength"], expected["strength"])
        assert (description.rows, description.series) == (len(scores), scores["series"].nunique())
        assert description.first_ns == scores["timestamp"].min()


@SLOW
@given(verdicts(), st.integers(1, 40), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_downsampling_keeps_the_least_and_greatest_value_of_every_bucket(
    scores: pd.DataFrame, points: int, cut: tuple[float, float]
) -> None:
    series = scores["series"].iloc[0]
    first, last = scores["timestamp"].min(), scores["timestamp"].max() + 1
    begin, end = sorted(int(first + share * (last - first)) for share in cut)
    end = max(end, begin + 1)
    mine = scores[(scores["series"] == series) & scores["timestamp"].between(begin, end - 1)]
    with store(scores) as (database, description):
        view = series_view(database, description, SeriesQuery(series, begin, end, points, CHANNELS))
    assert view["rows"] == len(mine)
    width = round(view["bucket"] * 1e6)
    assert (width == 0) == (len(mine) <= points)
    keys = mine["timestamp"] // width * width if width else mine["timestamp"]
    groups = [group for _, group in mine.assign(strength=strength(mine)).groupby(keys)]
    assert len(groups) <= points + 1
    same(
        view["time"],
        [
            group["timestamp"].iloc[0] // width * width / 1e6 if width else group["timestamp"].iloc[0] / 1e6
            for group in groups
        ],
    )
    assert view["state"] == [STATES[rank(group["state"]).max()] for group in groups]
    for channel in view["channels"]:
        for kind, key in (("actual", "actual"), ("expected", "expected")):
            values = [group[f"{kind}_{channel['name']}"] for group in groups]
            same(channel[f"{key}_min"], [one.min() for one in values])
            same(channel[f"{key}_max"], [one.max() for one in values])
    same(view["strength_max"], [np.fmax.reduce(group["strength"].to_numpy()) for group in groups])
    same(
        view["score_min"],
        [
            finite(group["score"])[~group["score"].isna()].min(initial=np.inf)
            if group["score"].notna().any()
            else np.nan
            for group in groups
        ],
    )


@SLOW
@given(verdicts(), st.integers(1, 60), st.sampled_from([0.02, 0.3, 1.0]))
def test_lanes_have_the_strongest_row_of_every_cell(scores: pd.DataFrame, most: int, share: float) -> None:
    first, last = int(scores["timestamp"].min()), int(scores["timestamp"].max()) + 1
    cells = cells_of(first, first + max(1, int(share * (last - first))), most)
    assert cells.start_ns <= first
    assert cells.num <= most + 1
    names = sorted(scores["series"].unique())
    with store(scores) as (database, _):
        found = lanes(database, names, cells)
    number = (scores["timestamp"] - cells.start_ns) // cells.step_ns
    for name in names:
        for cell in range(cells.num):
            mine = scores[(scores["series"] == name) & (number == cell)]
            got = {key: found[name][key][cell] for key in ("strength", "paged", "state")}
            if mine.empty:
                assert got == {"strength": None, "paged": None, "state": None}
                continue
            greatest = np.fmax.reduce(strength(mine))
            assert got["state"] == STATES[rank(mine["state"]).max()]
            assert got["paged"] == mine["paged"].sum()
            assert (
                (got["strength"] is None)
                if math.isnan(greatest)
                else got["strength"] == pytest.approx(greatest)
            )


@SLOW
@given(
    verdicts(), st.sampled_from(["strength", "series", "paged", "judged"]), st.sampled_from(["asc", "desc"])
)
def test_pages_of_the_fleet_hold_every_series_once_in_order(
    scores: pd.DataFrame, sort: str, order: str
) -> None:
    first, last = int(scores["timestamp"].min()), int(scores["timestamp"].max()) + 1
    names = scores["series"].nunique()
    with store(scores) as (database, _):
        pages = [
            fleet(database, FleetQuery(first, last, sort=sort, order=order, page=page, size=2, cells=4))
            for page in range(-(-names // 2))
        ]
        beyond = fleet(database, FleetQuery(first, last, sort=sort, order=order, page=99, size=2, cells=4))
    rows = [one for page in pages for one in page["series"]]
    assert sorted(one["series"] for one in rows) == sorted(scores["series"].unique())
    assert beyond["series"] == []
    assert {page["total"] for page in (*pages, beyond)} == {names}
    newest = scores.sort_values("timestamp").groupby("series").tail(1).set_index("series")
    for one in rows:
        mine = scores[scores["series"] == one["series"]]
        assert (one["rows"], one["paged"]) == (len(mine), mine["paged"].sum())
        assert one["state"] == newest.loc[one["series"], "state"]
    values = [one["judged"] / one["rows"] if sort == "judged" else one[sort] for one in rows]
    known = [value for value in values if value is not None]
    assert values[: len(known)] == known  # unknown ones come last
    assert known == sorted(known, reverse=order == "desc")


def hour(num: int) -> pd.DataFrame:
    series = np.repeat(np.array(["a", "b"], dtype=object), num)
    return scores_of(series, np.tile(START_NS + np.arange(num) * 60 * SECOND, 2), 3, 0.0)


def test_search_state_and_trouble_narrow_the_fleet() -> None:
    scores = hour(30).assign(state="ok")
    scores.loc[scores["series"] == "b", "state"] = "gap"
    troubled = [incident("1", "b", "2026-01-01T00:10:00Z", None, severity="critical")]
    last = START_NS + HOUR_NS
    with store(scores, troubled) as (database, _):

        def names(**filters: object) -> list[str]:
            return [one["series"] for one in fleet(database, FleetQuery(START_NS, last, **filters))["series"]]

        assert names() == ["b", "a"]  # the one with an incident first
        assert names(search="B") == ["b"]
        assert names(search="%") == []
        assert names(state="ok") == ["a"]
        assert names(trouble=True) == ["b"]
        found = fleet(database, FleetQuery(START_NS, last, search="b"))
        assert found["states"] == {"gap": 1}
        assert [(one["severity"], one["firing"], one["incidents"]) for one in found["series"]] == [
            ("critical", True, 1)
        ]
        before = fleet(database, FleetQuery(START_NS, START_NS + 60 * SECOND))
        assert [one["incidents"] for one in before["series"]] == [0, 0]


def test_a_store_is_made_again_only_when_the_backtest_is_another(tmp_path: Path) -> None:
    source, kept = write_backtest(tmp_path / "out", hour(30), []), tmp_path / "store"
    store_of(source, kept)
    segment = next(kept.glob("verdicts/*/*.parquet"))
    made = segment.stat().st_mtime_ns
    store_of(source, kept)
    assert segment.stat().st_mtime_ns == made
    write_backtest(source, hour(40), [])
    os.utime(source / "scores.parquet", ns=(1, 1))
    assert store_of(source, kept).rows == 80
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_segments_are_by_utc_day_and_sorted_for_any_reader(tmp_path: Path) -> None:
    scores = hour(3000)
    store_of(write_backtest(tmp_path / "out", scores, []), tmp_path / "store")
    days = sorted(path.name for path in (tmp_path / "store/verdicts").iterdir())
    assert days == ["day=2026-01-01", "day=2026-01-02", "day=2026-01-03"]
    table = pq.read_table(tmp_path / "store/verdicts/day=2026-01-02/segment-0.parquet").to_pandas()
    assert table[["series", "timestamp"]].equals(
        table[["series", "timestamp"]].sort_values(["series", "timestamp"])
    )
    assert str(table["timestamp"].dtype) == "datetime64[ns, UTC]"
    assert len(table) == 2 * DAY_NS // (60 * SECOND)


def test_what_is_no_backtest_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ExploreError, match="streamgauge backtest MODEL DATA --out"):
        store_of(tmp_path, tmp_path / "store")
    source = write_backtest(tmp_path / "out", hour(3), [])
    (source / "incidents.json").write_text("{")
    with pytest.raises(ExploreError, match=r"incidents\.json: is not JSON"):
        store_of(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    with pytest.raises(ExploreError, match="holds other files"):
        store_of(write_backtest(tmp_path / "out", hour(3), []), foreign)
    assert (foreign / "letter.txt").read_text() == "mine"


def test_the_database_reads_the_store_and_no_other_file(tmp_path: Path) -> None:
    source = write_backtest(tmp_path / "out", hour(3), [])
    store_of(source, tmp_path / "store")
    database = open_store(tmp_path / "store")
    with pytest.raises(ExploreError, match="Permission Error"):
        database.execute("SELECT * FROM read_text('/etc/hostname')")
    with pytest.raises(ExploreError, match="locked"):
        database.execute("SET enable_external_access = true")
    database.close()
