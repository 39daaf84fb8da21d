"""The explorer: seconds until the first view, a year of a series, and memory while a stream goes on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import urllib3

from benchmarks.measurement import Measurement
from benchmarks.pages.backtest_files import START_NS, Rows, noisy_rows, write_backtest
from benchmarks.pages.running_group import running_group
from benchmarks.pictures import plant_day
from detector.explore.deciding.writing import Writing
from detector.explore.display import Display
from detector.explore.source import source_of
from detector.explore.web.serve import Explorer, listen, opened, protected

_HALF_HOUR_NS, _MINUTE_NS, _HOUR_NS = 1_800_000_000_000, 60_000_000_000, 3_600_000_000_000
_CHANNELS = ("flow", "pressure")
_YEAR_CHANNELS = ("flow", "pressure", "current", "speed")
_DAYS, _YEAR_ROWS = 2, 525_600
_PLANTS = "^([^/]+)/"
_HTTP = urllib3.PoolManager(retries=10)
_MIB = 2**20


def measure(quick: bool) -> list[Measurement]:
    """Measure the views of many series and of a long one over HTTP, and the memory of the process."""
    return [*_fleet(500 if quick else 100_000), _year(20_000 if quick else _YEAR_ROWS), _memory(quick)]


def _fleet(num_series: int) -> list[Measurement]:
    """Measure the first view of the fleet, and the slowest of some later ones."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory)
        rows = write_backtest(source, _many_series(num_series), _CHANNELS, _HALF_HOUR_NS)
        with _served(source) as served:
            first, later = _views(served.site, _names(num_series)[num_series // 2])
    slowest = max(later, key=later.__getitem__)
    detail = {"series": num_series, "rows": rows, "store_seconds": round(served.seconds, 1)}
    return [
        Measurement("explorer, first view", first, "s", ceiling=1.0, detail={**detail}),
        Measurement(
            "explorer, slowest later view", later[slowest], "s", ceiling=1.0, detail={"view": slowest}
        ),
    ]


def _year(num_rows: int) -> Measurement:
    """Measure the first view of a whole year of one series, a row a minute."""
    rng = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as directory:
        rows = noisy_rows("pump", num_rows, _MINUTE_NS, _YEAR_CHANNELS, rng)
        write_backtest(Path(directory), [rows], _YEAR_CHANNELS, _MINUTE_NS)
        with _served(Path(directory)) as served:
            first = _seconds(served.site, "series?name=pump")
            again = median(_seconds(served.site, "series?name=pump") for _ in range(5))
    detail: dict[str, float | int | str] = {
        "rows": num_rows,
        "store_seconds": round(served.seconds, 1),
        "again": round(again, 3),
    }
    return Measurement("explorer, a year of a series", first, "s", ceiling=1.0, detail=detail)


def _memory(quick: bool) -> Measurement:
    """Measure how much the explorer of a running group grows after the first hour of the demo's stream.

    A day of the plant is sent as fast as the daemon takes it, an hour at a time. After each hour the pages of
    the fleet and of a series are asked for.
    """
    num_hours = 2 if quick else 24
    plant, start_ns = plant_day.plant_with_faults(), plant_day.START_NS
    sizes: list[float] = []
    sent = 0
    with tempfile.TemporaryDirectory() as directory:
        with chdir(directory):
            model = plant_day.model().resolve()
        with running_group(Path(directory) / "group", model) as group:
            for hour in range(num_hours):
                begin_ns = start_ns + hour * _HOUR_NS
                readings = plant.readings(begin_ns, begin_ns + _HOUR_NS)
                group.send(readings)
                sent += len(readings)
                group.wait_for_rows(sent - plant.num_pumps)  # the newest row of each is still open
                for path in ("fleet?cells=84", f"series?name={plant.series[0]}", "incidents"):
                    _seconds(f"{group.site}/", path)
                sizes.append(group.explorer.memory_info().rss / _MIB)
    detail: dict[str, float | int | str] = {
        "hours": num_hours,
        "readings": sent,
        "first_hour": round(sizes[0]),
        "last_hour": round(sizes[-1]),
        "most": round(max(sizes)),
    }
    return Measurement("explorer, growth over a day", sizes[-1] - sizes[0], "MiB", ceiling=64, detail=detail)


@dataclass(frozen=True, slots=True)
class _Served:
    """An explorer that answers: its address with a slash, and how long its store took to make."""

    site: str
    seconds: float


@contextmanager
def _served(source: Path) -> Iterator[_Served]:
    begun = time.perf_counter()
    shown = opened(source_of(str(source)), Writing("bench"), display=Display(_PLANTS))
    built = time.perf_counter() - begun
    with closing(Explorer(shown, listen("127.0.0.1", 0), protected())) as explorer:
        _HTTP.request("GET", explorer.address)  # connected, without a query
        yield _Served(explorer.address, built)


def _seconds(site: str, path: str) -> float:
    begun = time.perf_counter()
    answer = _HTTP.request("GET", f"{site}api/v1/{path}")
    assert answer.status == 200, answer.data
    return time.perf_counter() - begun


def _views(site: str, series: str) -> tuple[float, dict[str, float]]:
    """Return the seconds of the first view, and the median seconds of each later one."""
    first = _seconds(site, "fleet?cells=84")
    day = f"from={START_NS // 1_000_000}&to={START_NS // 1_000_000 + 86_400_000}"
    paths = {
        "search": "fleet?search=999&cells=84",
        "one day": f"fleet?{day}&cells=84",
        "last page": "fleet?page=10&sort=series&order=asc&cells=84",
        "series": f"series?name={series}",
        "groups": "groups?cells=84",
        "groups of one day": f"groups?{day}&cells=84",
        "groups by name": "groups?sort=series&order=asc&page=1&size=5&cells=84",
        "open group": f"fleet?group={series.partition('/')[0]}&cells=84",
    }
    return first, {name: median(_seconds(site, path) for _ in range(5)) for name, path in paths.items()}


def _many_series(num_series: int) -> Iterator[Rows]:
    """Yield two days of many series, all series of half an hour at a time."""
    rng = np.random.default_rng(7)
    names = np.array(_names(num_series), dtype=object)
    for row in range(_DAYS * 24 * _HOUR_NS // _HALF_HOUR_NS):
        error = rng.standard_exponential(num_series) / 4
        times = np.full(num_series, START_NS + row * _HALF_HOUR_NS)
        yield Rows(names, times, error, dict.fromkeys(_CHANNELS, (error, error, error)))


def _names(num_series: int) -> list[str]:
    """Return names in 20 plants, each of as many series: the groups of one page are the whole fleet."""
    return [f"plant-{20 * at // num_series:02d}/pump-{at:06d}" for at in range(num_series)]
